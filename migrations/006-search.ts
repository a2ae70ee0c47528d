import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/**
 * Another rule for words, and row ids that have room for every event sequence. All texts must be indexed again. That
 * takes long, so it is only marked as due here, and a maintenance job does it.
 */
export const search: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const counter = sqlite ? 'integer primary key autoincrement' : 'bigint generated always as identity primary key';
  const strict = sqlite ? 'strict' : '';

  const statements = [
    ...['titles', 'openings', 'replies'].flatMap(name => wordTable(`search_${name}`, sqlite)),

    // The rowid of a title or an opening is the thread's opened_sequence. That of a reply has the thread's number in
    // the high bits and the number of the post in the low 22. Event sequences would not fit. Numbers ascend in the
    // order in which threads were opened.
    `create table search_threads (number ${counter}, opened_sequence ${int} not null unique) ${strict}`,
    `insert into search_threads (opened_sequence) select opened_sequence from threads order by opened_sequence`,

    // How far indexing again has come, as one row; none when it is done. Threads below opened_sequence are still to come,
    // with their posts up to last_sequence: later ones are indexed as they are written.
    // cursor, indexed: the page to go on with in the thread of opened_sequence, and how many of its posts have been read;
    // null and 0 if that thread is done.
    `create table search_progress (
      last_sequence ${int} primary key,
      opened_sequence ${int} not null,
      cursor ${text},
      indexed ${int} not null
    ) ${strict}`,
    `insert into search_progress select max(last_sequence), max(opened_sequence) + 1, null, 0 from threads having count(*) > 0`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};

/** As it was, and empty. */
function wordTable(table: string, sqlite: boolean): string[] {
  if (!sqlite) {
    return [
      `drop table ${table}`,
      `create table ${table} (rowid bigint primary key, words tsvector not null)`,
      `create index ${table}_words on ${table} using gin (words)`,
    ];
  }
  return [
    `drop table ${table}_words`,
    `drop table ${table}`,
    `create virtual table ${table} using fts5(words, content = '', columnsize = 0, detail = 'none', tokenize = 'ascii')`,
    `create virtual table ${table}_words using fts5vocab('${table}', 'row')`,
    `insert into ${table} (${table}, rank) values ('automerge', 16)`,
  ];
}

import type BetterSqlite from 'better-sqlite3';

/** Copies that share a transaction. */
const AT_ONCE = 50;

/** What tables count by themselves, and what refers to it; 0 and null stand for none. */
const numbers = /^(sequence|position|(message_)?number|\w+_sequence|last_agent_post|last_human_post|last_answered)$/;
/** Ids of what belongs to one history, and of what refers to it. */
const ids =
  /^(\w*(thread|run|event|message|question|correlation|causation|signal)_id|message_key|supersedes|ticket|first_ticket)$/;
/** Tables that do not hold history. */
export const kept = /^(sqlite_|kysely_|subscription|(counts|topics|lease_clock|link_secrets|push_keys)$)/;
/** On SQLite the rows of these cannot be read. */
const wordTables = /^search_(?!threads$)/;
/** Counted for each run and ticket, and not for all of them. */
export const countedOfEach = `subject in ('thread_run', 'thread_ticket')`;

/** The words of a text; `post` is the number of a reply. */
export interface Words {
  table: string;
  opened_sequence: number;
  post?: number;
  words: string;
}

/**
 * The value of a column in a copy, in SQL of both engines.
 * @param copy the number of the copy, from 1
 * @param distance more than any number that a table has given
 */
export function valueIn(column: string, copy: string, distance: number): string {
  if (numbers.test(column)) return `case when ${column} > 0 then ${column} + ${copy} * ${distance} else ${column} end`;
  if (ids.test(column)) return `${column} || '-' || cast(${copy} as integer)`;
  return column === 'place' ? `place - ${copy} * ${distance}` : column;
}

/** Adds so many copies of all rows, each with ids and sequences of its own. */
export function multiply(db: BetterSqlite.Database, copies: number, words: Words[]): void {
  for (const pragma of ['journal_mode = OFF', 'synchronous = OFF', 'foreign_keys = OFF', 'cache_size = -500000']) {
    db.pragma(pragma);
  }
  const distance = db.prepare('select 1 + max(seq) from sqlite_sequence').pluck().get() as number;
  const statements = tablesOf(db).map(table => copyStatement(db, table, distance));
  const indexes = new Map([...new Set(words.map(({ table }) => table))].map(table => [table, insertWords(db, table)]));
  const copyOnce = (copy: number) => {
    for (const statement of statements) statement.run({ copy });
    for (const { table, opened_sequence, post, words: text } of words) {
      const thread = opened_sequence + copy * distance;
      indexes.get(table)?.run(...(post === undefined ? [thread] : [post, thread]), text);
    }
  };
  for (let from = 1; from <= copies; from += AT_ONCE) {
    db.transaction(() => {
      for (let copy = from; copy < from + AT_ONCE && copy <= copies; copy += 1) copyOnce(copy);
    })();
  }
  countCopies(db, copies);
  // Nothing of the history waits for its subscriptions.
  db.exec('update subscriptions set position = (select max(sequence) from events)');
}

/** Ordinary tables that have rows. */
function tablesOf(db: BetterSqlite.Database): string[] {
  const names = db
    .prepare(`select name from sqlite_schema where type = 'table' order by name`)
    .pluck()
    .all() as string[];
  const copied = names.filter(name => !kept.test(name) && !wordTables.test(name));
  return copied.filter(name => db.prepare(`select 1 from ${name} limit 1`).get() !== undefined);
}

/** Copies the rows of a table as they were in the beginning, with its parameter telling the copies apart. */
function copyStatement(db: BetterSqlite.Database, table: string, distance: number): BetterSqlite.Statement {
  const first = `temp.first_${table}`;
  db.exec(`create table ${first} as select * from ${table} order by rowid`);
  const columns = (db.pragma(`table_info(${table})`) as { name: string }[]).map(({ name }) => name);
  const values = columns.map(column => valueIn(column, ':copy', distance));
  return db.prepare(`insert into ${table} (${columns}) select ${values} from ${first} where :copy > 0`);
}

function insertWords(db: BetterSqlite.Database, table: string): BetterSqlite.Statement {
  // As src/search/repository.ts makes the row ids of replies.
  const rowid =
    table === 'search_replies' ? '(select (number << 22) + ? from search_threads where opened_sequence = ?)' : '?';
  return db.prepare(`insert into ${table} (rowid, words) values (${rowid}, ?)`);
}

/** What is counted as things change, and not read from them. */
function countCopies(db: BetterSqlite.Database, copies: number): void {
  db.prepare('update topics set sent = sent * ?').run(copies + 1);
  db.exec(`create table temp.first_counts as select * from counts where ${countedOfEach}`);
  db.prepare(`update counts set count = count * ? where not ${countedOfEach}`).run(copies + 1);
  const copy = db.prepare(
    `insert into counts (subject, value, count) select subject, value || '-' || cast(? as integer), count from temp.first_counts`,
  );
  db.transaction(() => {
    for (let number = 1; number <= copies; number += 1) copy.run(number);
  })();
}

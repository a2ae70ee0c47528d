import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Less to write per signal. */
export const lean: Migration = async (db, engine) => {
  const statements = [
    // That a lane has one head is held by those who write it, and writes take turns.
    `drop index outbox_one_head_per_lane`,
    ...(engine === 'sqlite' ? ['titles', 'openings', 'replies'].flatMap(withoutPrefixes) : []),
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};

/**
 * The indexes of beginnings were four fifths of what a text cost. Merging segments later, and more of them at once, takes
 * another sixth. The words of each text come out of the old table.
 */
function withoutPrefixes(name: string): string[] {
  const [table, vocabulary] = [`search_${name}`, `search_${name}_words`];
  return [
    `create virtual table old_words using fts5vocab('${table}', 'instance')`,
    `create temporary table kept_words as select doc, group_concat(term, ' ') as words from old_words group by doc`,
    `drop table old_words`,
    `drop table ${vocabulary}`,
    `drop table ${table}`,
    `create virtual table ${table} using fts5(words, content = '', columnsize = 0, detail = 'none', tokenize = 'ascii')`,
    `create virtual table ${vocabulary} using fts5vocab('${table}', 'row')`,
    `insert into ${table} (${table}, rank) values ('automerge', 16)`,
    `insert into ${table} (rowid, words) select doc, words from kept_words order by doc`,
    `drop table kept_words`,
  ];
}

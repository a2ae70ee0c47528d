import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Fewer index writes per signal. */
export const lean: Migration = async (db, engine) => {
  const statements = [
    // The code keeps one head per lane, and writes are serialised, so no index needs to check it.
    `drop index outbox_one_head_per_lane`,
    ...(engine === 'sqlite' ? ['titles', 'openings', 'replies'].flatMap(withoutPrefixes) : []),
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};

/**
 * Rebuilds a search table without its prefix indexes, which were four fifths of the cost of a text. Merging segments
 * later and in larger batches (`automerge`) saves another sixth. The words come from the old table.
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

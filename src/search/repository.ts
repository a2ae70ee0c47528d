import { type Expression, type SqlBool, sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import type { Engine } from '../db/engine.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

/** Query words of at least this length also match longer words that begin with them. Characters. */
const SHORTEST_PREFIX = 4;

/** The tables of indexed words, one per field, strongest field first. */
export const searchTables = ['search_titles', 'search_openings', 'search_replies'] as const;
export type SearchTable = (typeof searchTables)[number];

/** The full-text index of an engine. Words have letters and digits only, so they cannot contain query syntax. */
interface WordIndex {
  /** The words as one text value. */
  text(words: string[]): string;
  /** Converts the text to the type of the column. */
  column(text: Expression<string>): Expression<string>;
  /** The condition for rows that match all words. */
  matches(reader: Reader, table: SearchTable, words: string[]): Promise<Expression<SqlBool>>;
}

const wordIndexes: Record<Engine, WordIndex> = {
  sqlite: {
    text: words => words.join(' '),
    column: text => text,
    async matches(reader, table, words) {
      const terms = await Promise.all(words.map(word => termOf(reader, table, word)));
      return sql<SqlBool>`${sql.ref(table)} match ${terms.join(' AND ')}`;
    },
  },
  postgres: {
    text: words => words.map(word => `'${word}'`).join(' '),
    column: text => sql<string>`${text}::tsvector`,
    async matches(_reader, _table, words) {
      const terms = words.map(word => `'${word}'${isPrefix(word) ? ':*' : ''}`);
      return sql<SqlBool>`words @@ ${terms.join(' & ')}::tsquery`;
    },
  },
};

function insertWordsStatements(engine: Engine) {
  const into = (table: SearchTable) =>
    statement(({ query, value }: StatementBuilder<{ rowid: number; text: string }>) =>
      query.insertInto(table).values({ rowid: value('rowid'), words: wordIndexes[engine].column(value('text')) }),
    );
  return {
    search_titles: into('search_titles'),
    search_openings: into('search_openings'),
    search_replies: into('search_replies'),
  };
}

const insertWordsStatement: Record<Engine, ReturnType<typeof insertWordsStatements>> = {
  sqlite: insertWordsStatements('sqlite'),
  postgres: insertWordsStatements('postgres'),
};

/** Indexes the words of a text under a row id. */
export function insertWords(tx: Tx, engine: Engine, table: SearchTable, rowid: number, words: string[]): void {
  tx.send(insertWordsStatement[engine][table], { rowid, text: wordIndexes[engine].text(words) });
}

/**
 * The texts that match all words, newest first.
 * @returns their row ids, with above < rowid < below
 */
export async function findTexts(
  reader: Reader,
  engine: Engine,
  table: SearchTable,
  words: string[],
  { above, below, limit }: { above: number; below: number; limit: number },
): Promise<number[]> {
  const matches = await wordIndexes[engine].matches(reader, table, words);
  const { rows } = await sql<{ rowid: number }>`
    select rowid from ${sql.table(table)}
    where ${matches} and rowid > ${above} and rowid < ${below}
    order by rowid desc limit ${limit}`.execute(reader.query);
  return rows.map(row => row.rowid);
}

/** A prefix with fewer indexed words than this is expanded to these words. */
const MAX_EXPANSIONS = 100;

/**
 * The FTS5 term for a word. For a prefix, FTS5 merges the complete lists of all words with the prefix, even for a small
 * limit. The list of a whole word it reads only as far as the limit needs. So a prefix is expanded to its words: `migr`
 * becomes `("migr" OR "migrate" OR "migration")`. A prefix with very many words stays a prefix, since each is rare.
 * The range starts at `word0` because no character of a word sorts before `0`.
 */
async function termOf(reader: Reader, table: SearchTable, word: string): Promise<string> {
  if (!isPrefix(word)) return `"${word}"`;
  const { rows } = await sql<{ term: string }>`
    select term from ${sql.table(`${table}_words`)}
    where term >= ${`${word}0`} and term <= ${`${word}\u{10ffff}`} limit ${MAX_EXPANSIONS}`.execute(reader.query);
  if (rows.length === MAX_EXPANSIONS) return `"${word}" *`;
  return `(${[word, ...rows.map(row => row.term)].map(term => `"${term}"`).join(' OR ')})`;
}

/** Short words are not prefixes: too many words begin with them. */
function isPrefix(word: string): boolean {
  return word.length >= SHORTEST_PREFIX;
}

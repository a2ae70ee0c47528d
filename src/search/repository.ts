import { type Expression, type SqlBool, sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import type { Engine } from '../db/engine.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

/** Words of this length and longer ones also stand for what begins with them. Characters. */
const SHORTEST_PREFIX = 4;

/** The tables of indexed words, the strongest first. */
export const searchTables = ['search_titles', 'search_openings', 'search_replies'] as const;
export type SearchTable = (typeof searchTables)[number];

/** How an engine stores and matches words. They are letters and digits only, so neither engine finds syntax in them. */
interface WordIndex {
  /** The text under which words are stored. */
  text(words: string[]): string;
  /** The column value that the text becomes. */
  column(text: Expression<string>): Expression<string>;
  /** The condition for rows that hold all of these words, or words that begin with them. */
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

/** Stores the words of a text. */
export function insertWords(tx: Tx, engine: Engine, table: SearchTable, rowid: number, words: string[]): void {
  tx.send(insertWordsStatement[engine][table], { rowid, text: wordIndexes[engine].text(words) });
}

/**
 * The texts that hold all of these words, or words that begin with them; the newest first, between two row ids
 * (`above` and `below` themselves left out).
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

/** Words with one beginning that are asked for one by one. */
const WORDS_EXPANDED = 100;

/**
 * What FTS5 is asked for a word. For a beginning it merges the lists of all words that begin so, however few texts are
 * wanted; the list of a whole word is read as far as it is needed. So a beginning is asked for by the words that it has,
 * unless they are very many, and then each is rare. All characters of words come after '0' or are it.
 */
async function termOf(reader: Reader, table: SearchTable, word: string): Promise<string> {
  if (!isPrefix(word)) return `"${word}"`;
  const { rows } = await sql<{ term: string }>`
    select term from ${sql.table(`${table}_words`)}
    where term >= ${`${word}0`} and term <= ${`${word}\u{10ffff}`} limit ${WORDS_EXPANDED}`.execute(reader.query);
  if (rows.length === WORDS_EXPANDED) return `"${word}" *`;
  return `(${[word, ...rows.map(row => row.term)].map(term => `"${term}"`).join(' OR ')})`;
}

/** Short words stand for themselves: too many others begin with them. */
function isPrefix(word: string): boolean {
  return word.length >= SHORTEST_PREFIX;
}

import { type Expression, type Selectable, type SqlBool, sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import type { Engine } from '../db/engine.ts';
import type { Schema } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import type { Term } from './words.ts';

/** The row id of a reply is the number of its thread, shifted by this, plus the number of the post. Bits. */
const POST_BITS = 22;
/** More than any number of a thread. */
const NUMBERS_END = 2 ** (62 - POST_BITS);
/** Posts from this number on are not indexed. */
export const POSTS_PER_THREAD = 2 ** POST_BITS;

/** The tables of indexed words, one per field, strongest field first. */
export const searchTables = ['search_titles', 'search_openings', 'search_replies'] as const;
/** These, and the words of questions. */
export type SearchTable = (typeof searchTables)[number] | 'search_questions';

/** The full-text index of an engine. Words have letters, digits and emoji only, so they cannot contain query syntax. */
interface WordIndex {
  /** The words as one text value. */
  text(words: string[]): string;
  /** Converts the text to the type of the column. */
  column(text: Expression<string>): Expression<string>;
  /** The condition for rows that match all terms. */
  matches(reader: Reader, table: SearchTable, terms: Term[]): Promise<Expression<SqlBool>>;
}

const wordIndexes: Record<Engine, WordIndex> = {
  sqlite: {
    text: words => words.join(' '),
    column: text => text,
    async matches(reader, table, terms) {
      const texts = await Promise.all(terms.map(term => fts5Term(reader, table, term)));
      return sql<SqlBool>`${sql.ref(table)} match ${texts.join(' AND ')}`;
    },
  },
  postgres: {
    text: words => words.map(word => `'${word}'`).join(' '),
    column: text => sql<string>`cast(${text} as tsvector)`,
    async matches(_reader, _table, terms) {
      const texts = terms.map(({ word, prefix }) => `'${word}'${prefix ? ':*' : ''}`);
      return sql<SqlBool>`words @@ ${texts.join(' & ')}::tsquery`;
    },
  },
};

interface OpeningWords {
  opened_sequence: number;
  text: string;
}

interface ReplyWords extends OpeningWords {
  post: number;
}

/** The row id of a reply. */
function replyRow({ value }: StatementBuilder<ReplyWords>) {
  return sql<number>`(select (number << ${sql.lit(POST_BITS)}) + cast(${value('post')} as bigint) from search_threads
    where opened_sequence = ${value('opened_sequence')})`;
}

function insertWordsStatements(engine: Engine) {
  const { column } = wordIndexes[engine];
  const into = (table: SearchTable) =>
    statement(({ query, value }: StatementBuilder<OpeningWords>) =>
      query.insertInto(table).values({ rowid: value('opened_sequence'), words: column(value('text')) }),
    );
  return {
    search_titles: into('search_titles'),
    search_openings: into('search_openings'),
    search_questions: into('search_questions'),
    search_replies: statement((builder: StatementBuilder<ReplyWords>) => {
      const words = column(builder.value('text'));
      return builder.query.insertInto('search_replies').values({ rowid: replyRow(builder), words });
    }),
  };
}

const insertWordsStatement: Record<Engine, ReturnType<typeof insertWordsStatements>> = {
  sqlite: insertWordsStatements('sqlite'),
  postgres: insertWordsStatements('postgres'),
};

/** Indexes the words of a title, of a first post or of a question; the latter by its sequence. */
export function insertOpeningWords(
  tx: Tx,
  engine: Engine,
  table: 'search_titles' | 'search_openings' | 'search_questions',
  opened_sequence: number,
  words: string[],
): void {
  tx.send(insertWordsStatement[engine][table], { opened_sequence, text: wordIndexes[engine].text(words) });
}

/** Indexes the words of a reply. Its thread must have a number. */
export function insertReplyWords(tx: Tx, engine: Engine, opened_sequence: number, post: number, words: string[]): void {
  const text = wordIndexes[engine].text(words);
  tx.send(insertWordsStatement[engine].search_replies, { opened_sequence, post, text });
}

/** FTS5 keeps no texts: to delete a row, it has to be told the words that it was inserted with. */
function deleteWordsStatements(engine: Engine) {
  const from = (table: SearchTable) =>
    statement((builder: StatementBuilder<ReplyWords>) => {
      const { query, value } = builder;
      const rowid = table === 'search_replies' ? replyRow(builder) : value('opened_sequence');
      const command = { [table]: sql.lit('delete'), rowid, words: value('text') };
      return engine === 'sqlite'
        ? query.insertInto(table).values(command as never)
        : query.deleteFrom(table).where('rowid', '=', rowid);
    });
  return {
    search_titles: from('search_titles'),
    search_openings: from('search_openings'),
    search_questions: from('search_questions'),
    search_replies: from('search_replies'),
  };
}

const deleteWordsStatement: Record<Engine, ReturnType<typeof deleteWordsStatements>> = {
  sqlite: deleteWordsStatements('sqlite'),
  postgres: deleteWordsStatements('postgres'),
};

/**
 * Removes the words of a text: the same as were indexed.
 * @param post the number of a reply; 0 for all others
 */
export function deleteWords(
  tx: Tx,
  engine: Engine,
  table: SearchTable,
  { opened_sequence, post, words }: { opened_sequence: number; post: number; words: string[] },
): void {
  if (words.length === 0) return;
  tx.send(deleteWordsStatement[engine][table], { opened_sequence, post, text: wordIndexes[engine].text(words) });
}

/** Forgets all words, on SQLite. */
export async function clearWords(tx: Tx): Promise<void> {
  for (const table of [...searchTables, 'search_questions'] as const) {
    await tx.query
      .insertInto(table)
      .values({ [table]: 'delete-all' } as never)
      .execute();
  }
}

/** Gives a thread the next number, unless it has one. */
export function numberThread(tx: Tx, opened_sequence: number): void {
  tx.send(numberThreadStatement, { opened_sequence });
}

const numberThreadStatement = statement(({ query, value }: StatementBuilder<{ opened_sequence: number }>) =>
  query
    .insertInto('search_threads')
    .values({ opened_sequence: value('opened_sequence') })
    .onConflict(conflict => conflict.column('opened_sequence').doNothing()),
);

interface Range {
  /** Exclusive bounds of the thread's `opened_sequence`. */
  above: number;
  below: number;
  /** Matching texts. */
  limit: number;
}

/**
 * The texts that match all terms, newest thread first. Replies come in the order of the numbers of their threads. That
 * is another order for threads that were opened at the same time.
 * @returns the `opened_sequence` of their threads, once per text
 */
export async function findTexts(
  reader: Reader,
  engine: Engine,
  table: SearchTable,
  terms: Term[],
  { above, below, limit }: Range,
): Promise<number[]> {
  const matches = await wordIndexes[engine].matches(reader, table, terms);
  const numbered = table === 'search_replies';
  const bits = sql.lit(numbered ? POST_BITS : 0);
  const [first, end] = numbered
    ? [(await lastNumber(reader, above)) + 1, await numbersEnd(reader, below)]
    : [above + 1, below];
  const { rows } = await sql<{ thread: number }>`
    select rowid >> ${bits} as thread from ${sql.table(table)}
    where ${matches} and rowid >= cast(${first} as bigint) << ${bits} and rowid < cast(${end} as bigint) << ${bits}
    order by rowid desc limit ${limit}`.execute(reader.query);
  const found = rows.map(row => row.thread);
  return numbered ? sequencesOf(reader, found) : found;
}

/** The number of the newest thread with at most this `opened_sequence`; 0 if there is none. */
async function lastNumber(reader: Reader, sequence: number): Promise<number> {
  if (sequence <= 0) return 0;
  const row = await reader.query
    .selectFrom('search_threads')
    .select('number')
    .where('opened_sequence', '<=', sequence)
    .orderBy('opened_sequence', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row?.number ?? 0;
}

/**
 * The numbers of the threads that come after this one in a walk end before the result. A thread that was opened at the
 * same time may have a higher number and a lower sequence. So the number of the very thread counts.
 */
async function numbersEnd(reader: Reader, below: number): Promise<number> {
  if (below === Number.MAX_SAFE_INTEGER) return NUMBERS_END;
  const own = await reader.query
    .selectFrom('search_threads')
    .select('number')
    .where('opened_sequence', '=', below)
    .executeTakeFirst();
  return own?.number ?? (await lastNumber(reader, below - 1)) + 1;
}

async function sequencesOf(reader: Reader, numbers: number[]): Promise<number[]> {
  if (numbers.length === 0) return [];
  const rows = await reader.query
    .selectFrom('search_threads')
    .selectAll()
    .where('number', 'in', [...new Set(numbers)])
    .execute();
  const sequences = new Map(rows.map(row => [row.number, row.opened_sequence]));
  return numbers.map(number => sequences.get(number) as number);
}

/** A prefix with fewer indexed words than this is expanded to these words. */
const MAX_EXPANSIONS = 100;

/**
 * The FTS5 term. For a prefix, FTS5 merges the complete lists of all words with the prefix, even for a small limit. The
 * list of a whole word it reads only as far as the limit needs. So a prefix is expanded to its words: `migr` becomes
 * `("migr" OR "migrate" OR "migration")`. A prefix with very many words stays a prefix, since each is rare.
 * The range starts at `word0` because no character of a word sorts before `0`.
 */
async function fts5Term(reader: Reader, table: SearchTable, { word, prefix }: Term): Promise<string> {
  if (!prefix) return `"${word}"`;
  const { rows } = await sql<{ term: string }>`
    select term from ${sql.table(`${table}_words`)}
    where term >= ${`${word}0`} and term <= ${`${word}\u{10ffff}`} limit ${MAX_EXPANSIONS}`.execute(reader.query);
  if (rows.length === MAX_EXPANSIONS) return `"${word}" *`;
  return `(${[word, ...rows.map(row => row.term)].map(term => `"${term}"`).join(' OR ')})`;
}

/** The sequence below which questions are still to be indexed; undefined if there is none. */
export async function findQuestionsLeft(reader: Reader): Promise<number | undefined> {
  return (await reader.query.selectFrom('search_questions_left').selectAll().executeTakeFirst())?.below;
}

export async function saveQuestionsLeft(tx: Tx, below: number): Promise<void> {
  await tx.query.updateTable('search_questions_left').set({ below }).execute();
}

export async function deleteQuestionsLeft(tx: Tx): Promise<void> {
  await tx.query.deleteFrom('search_questions_left').execute();
}

/** The progress of a reindex (see migration 006). */
export type Progress = Selectable<Schema['search_progress']>;

export function findProgress(reader: Reader): Promise<Progress | undefined> {
  return reader.query.selectFrom('search_progress').selectAll().executeTakeFirst();
}

export async function saveProgress(tx: Tx, { opened_sequence, cursor, indexed }: Progress): Promise<void> {
  await tx.query.updateTable('search_progress').set({ opened_sequence, cursor, indexed }).execute();
}

export async function deleteProgress(tx: Tx): Promise<void> {
  await tx.query.deleteFrom('search_progress').execute();
}

/** Gives these threads the next numbers, in ascending order. */
export async function assignNumbers(tx: Tx, opened_sequences: number[]): Promise<void> {
  await tx.run(numberThreadsStatement, { sequences: JSON.stringify(opened_sequences) });
}

const numberThreadsStatement = statement(({ query, elements }: StatementBuilder<{ sequences: string }>) => {
  const sequence = sql<number>`cast(value as bigint)`;
  const values = sql`(select ${sequence} as opened_sequence from ${elements('sequences')})`;
  const text = sql`insert into search_threads (opened_sequence)
    select opened_sequence from ${values} as one order by opened_sequence`;
  return { compile: () => text.compile(query) };
});

/** Makes all posts and questions up to this sequence due to be indexed. */
export async function insertProgress(tx: Tx, last_sequence: number): Promise<void> {
  const opened_sequence = last_sequence + 1;
  await tx.query
    .insertInto('search_progress')
    .values({ last_sequence, opened_sequence, cursor: null, indexed: 0 })
    .execute();
  await tx.query.insertInto('search_questions_left').values({ below: opened_sequence }).execute();
}

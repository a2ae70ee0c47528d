import { sql } from 'kysely';
import type { Engine, Reader, Tx } from '../db/database.ts';
import type { Parts } from '../db/statement.ts';

/** Words of this length and longer ones also stand for what begins with them. Characters. */
const SHORTEST_PREFIX = 4;

/** Where words are looked for, the strongest first. */
export const places = ['search_titles', 'search_openings', 'search_replies'] as const;
export type Place = (typeof places)[number];

/** Stores the words of a text. They are letters and digits only, so neither engine finds syntax in them. */
export function insertWords(tx: Tx, engine: Engine, place: Place, rowid: number, words: string[]): void {
  const text = engine === 'sqlite' ? words.join(' ') : words.map(word => `'${word}'`).join(' ');
  tx.send(newWords[place], { rowid, text });
}

const newWordsIn =
  (place: Place) =>
  ({ query, engine, value }: Parts<{ rowid: number; text: string }>) => {
    const words = engine === 'sqlite' ? value('text') : sql<string>`${value('text')}::tsvector`;
    return query.insertInto(place).values({ rowid: value('rowid'), words });
  };

const newWords: Record<Place, ReturnType<typeof newWordsIn>> = {
  search_titles: newWordsIn('search_titles'),
  search_openings: newWordsIn('search_openings'),
  search_replies: newWordsIn('search_replies'),
};

/**
 * The texts that hold all of these words, or words that begin with them; the newest first, between two row ids
 * (`above` and `below` themselves left out).
 */
export async function findTexts(
  reader: Reader,
  engine: Engine,
  place: Place,
  words: string[],
  { above, below, limit }: { above: number; below: number; limit: number },
): Promise<number[]> {
  const matches =
    engine === 'sqlite'
      ? sql`${sql.ref(place)} match ${(await Promise.all(words.map(word => termOf(reader, place, word)))).join(' AND ')}`
      : sql`words @@ ${words.map(word => `'${word}'${isPrefix(word) ? ':*' : ''}`).join(' & ')}::tsquery`;
  const { rows } = await sql<{ rowid: number }>`
    select rowid from ${sql.table(place)}
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
async function termOf(reader: Reader, place: Place, word: string): Promise<string> {
  if (!isPrefix(word)) return `"${word}"`;
  const { rows } = await sql<{ term: string }>`
    select term from ${sql.table(`${place}_words`)}
    where term >= ${`${word}0`} and term <= ${`${word}\u{10ffff}`} limit ${WORDS_EXPANDED}`.execute(reader.query);
  if (rows.length === WORDS_EXPANDED) return `"${word}" *`;
  return `(${[word, ...rows.map(row => row.term)].map(term => `"${term}"`).join(' OR ')})`;
}

/** Short words stand for themselves: too many others begin with them. */
function isPrefix(word: string): boolean {
  return word.length >= SHORTEST_PREFIX;
}

import { sql } from 'kysely';
import type { Engine, Reader, Tx } from '../db/database.ts';

/** Where words are looked for, the strongest first. */
export const places = ['search_titles', 'search_openings', 'search_replies'] as const;
export type Place = (typeof places)[number];

/** Stores the words of a text. They are letters and digits only, so neither engine finds syntax in them. */
export async function insertWords(tx: Tx, engine: Engine, place: Place, rowid: number, words: string[]): Promise<void> {
  const values =
    engine === 'sqlite' ? sql`${words.join(' ')}` : sql`${words.map(word => `'${word}'`).join(' ')}::tsvector`;
  await sql`insert into ${sql.table(place)} (rowid, words) values (${rowid}, ${values})`.execute(tx.query);
}

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
      ? sql`${sql.ref(place)} match ${words.map(word => `"${word}"${isPrefix(word) ? ' *' : ''}`).join(' ')}`
      : sql`words @@ ${words.map(word => `'${word}'${isPrefix(word) ? ':*' : ''}`).join(' & ')}::tsquery`;
  const { rows } = await sql<{ rowid: number }>`
    select rowid from ${sql.table(place)}
    where ${matches} and rowid > ${above} and rowid < ${below}
    order by rowid desc limit ${limit}`.execute(reader.query);
  return rows.map(row => row.rowid);
}

/** A single letter stands for itself: half of all texts have a word that begins with it. */
function isPrefix(word: string): boolean {
  return word.length > 1;
}

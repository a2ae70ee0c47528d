import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';

/** A range of places that a viewer has seen; both ends belong to it. */
export interface SeenRange {
  first_place: number;
  last_place: number;
}

/**
 * For each place: the `last_place` of the viewer's last range that starts at or before it; null without such a range.
 * The range holds the place only if its `last_place` is not less than the place.
 */
export async function rangeEnds(reader: Reader, viewer: string, places: number[]): Promise<Map<number, number | null>> {
  const asked = sql.join(places.map(place => sql`(cast(${place} as bigint))`));
  const { rows } = await sql<{ place: number; last_place: number | null }>`
    with asked(place) as (values ${asked})
    select place, (
      select last_place from seen where viewer = ${viewer} and first_place <= asked.place
      order by first_place desc limit 1
    ) as last_place from asked`.execute(reader.query);
  return new Map(rows.map(row => [row.place, row.last_place]));
}

/** The viewer's last range that starts at or before this place. */
export async function rangeAtOrBefore(reader: Reader, viewer: string, place: number): Promise<SeenRange | undefined> {
  return reader.query
    .selectFrom('seen')
    .select(['first_place', 'last_place'])
    .where('viewer', '=', viewer)
    .where('first_place', '<=', place)
    .orderBy('first_place', 'desc')
    .limit(1)
    .executeTakeFirst();
}

/** The viewer's first range that starts after this place. */
export async function rangeAfter(reader: Reader, viewer: string, place: number): Promise<SeenRange | undefined> {
  return reader.query
    .selectFrom('seen')
    .select(['first_place', 'last_place'])
    .where('viewer', '=', viewer)
    .where('first_place', '>', place)
    .orderBy('first_place')
    .limit(1)
    .executeTakeFirst();
}

/** Stores one range and deletes the ranges that start within it. */
export async function replaceSeen(tx: Tx, viewer: string, { first_place, last_place }: SeenRange): Promise<void> {
  await tx.query
    .deleteFrom('seen')
    .where('viewer', '=', viewer)
    .where('first_place', '>=', first_place)
    .where('first_place', '<=', last_place)
    .execute();
  await tx.query.insertInto('seen').values({ viewer, first_place, last_place }).execute();
}

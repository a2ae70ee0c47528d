import type { Reader, Tx } from '../db/database.ts';
import { rangeAfter, rangeAtOrBefore, rangeEnds, replaceSeen, type SeenRange } from './seen-repository.ts';

/** The number of neighbouring ranges that one mark merges at most, per side. It bounds the work of a write. */
const MAX_MERGES = 20;

export type Seen = ReturnType<typeof createSeen>;

/** The places of one priority: above < place < below. */
interface Span {
  above: number;
  below: number;
}

/** Whether a thread has a place p with after < p < before. */
type HasThreadBetween = (tx: Tx, after: number, before: number) => Promise<boolean>;

/**
 * Keeps which threads each viewer has seen, as ranges of places (see `placeOf`).
 *
 * A thread is seen while its place lies in one of the viewer's ranges. A new event gives the thread a new place outside
 * all ranges, so it becomes unseen without a write for any viewer.
 *
 * Example: threads have the places 10, 14 and 20, and ana marks 10 and 14 as seen. No thread stands between these two,
 * so one range 10-14 covers both. An event moves the thread at 14 to place 9: it is unseen again, and the range stays.
 *
 * Ranges need less space than one mark per thread: after seeing almost all threads, a viewer has few ranges. A list of
 * unseen threads skips a whole range at once. The `.newsrc` files of Usenet readers work the same way.
 */
export function createSeen() {
  return {
    /**
     * Marks the thread at this place as seen, and merges neighbouring ranges with no thread between them. Ranges merge
     * only within `span`, the places of the thread's priority. New places appear before all others of their priority.
     * So a range across two priorities would cover threads that the viewer has not seen.
     */
    async mark(tx: Tx, viewer: string, place: number, span: Span, hasThreadBetween: HasThreadBetween): Promise<void> {
      const previous = await rangeAtOrBefore(tx, viewer, place);
      if (previous && previous.last_place >= place) return;
      const seen: SeenRange = { first_place: place, last_place: place };
      for (let range = previous, merges = 0; range && merges < MAX_MERGES; merges += 1) {
        if (range.last_place <= span.above || (await hasThreadBetween(tx, range.last_place, seen.first_place))) break;
        seen.first_place = range.first_place;
        range = await rangeAtOrBefore(tx, viewer, range.first_place - 1);
      }
      for (let merges = 0; merges < MAX_MERGES; merges += 1) {
        const range = await rangeAfter(tx, viewer, seen.last_place);
        if (!range || range.first_place >= span.below) break;
        if (await hasThreadBetween(tx, seen.last_place, range.first_place)) break;
        seen.last_place = range.last_place;
      }
      await replaceSeen(tx, viewer, seen);
    },

    /** For each place, in the same order: the end of the viewer's range that holds it; null if it is unseen. */
    async seenUntil(reader: Reader, viewer: string, places: number[]): Promise<(number | null)[]> {
      if (places.length === 0) return [];
      const ends = await rangeEnds(reader, viewer, places);
      return places.map(place => {
        const end = ends.get(place) ?? null;
        return end !== null && end >= place ? end : null;
      });
    },
  };
}

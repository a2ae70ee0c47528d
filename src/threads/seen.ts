import type { Reader, Tx } from '../db/database.ts';
import { firstSeenAfter, lastSeenUpTo, rangeEnds, replaceSeen, type SeenRange } from './seen-repository.ts';

/** Ranges that one mark tries to join to its own, on either side. */
const JOINED = 20;

export type Seen = ReturnType<typeof createSeen>;

/** Places that may be joined to ranges: those of one priority, the ends left out. */
interface Span {
  above: number;
  below: number;
}

/** Whether any thread stands between two places (these left out). */
type Occupied = (tx: Tx, after: number, before: number) => Promise<boolean>;

/**
 * What each viewer has seen: ranges of places, as newsreaders keep them, instead of a mark per thread. A thread is seen
 * while its place is in one of the viewer's ranges; the place that it gets when something happens in it is in none. So
 * a viewer who has seen nearly everything has few ranges, and the unseen threads are found between them.
 */
export function createSeen() {
  return {
    /**
     * The viewer has seen what stands at this place. Ranges with no thread between them become one, within `span`: new
     * places appear at the front of each priority, so a range across two of them would hold what nobody has seen.
     */
    async mark(tx: Tx, viewer: string, place: number, span: Span, occupied: Occupied): Promise<void> {
      const below = await lastSeenUpTo(tx, viewer, place);
      if (below && below.last_place >= place) return;
      const seen: SeenRange = { first_place: place, last_place: place };
      for (let next = below, tries = 0; next && tries < JOINED; tries += 1) {
        if (next.last_place <= span.above || (await occupied(tx, next.last_place, seen.first_place))) break;
        seen.first_place = next.first_place;
        next = await lastSeenUpTo(tx, viewer, next.first_place - 1);
      }
      for (let tries = 0; tries < JOINED; tries += 1) {
        const next = await firstSeenAfter(tx, viewer, seen.last_place);
        if (!next || next.first_place >= span.below) break;
        if (await occupied(tx, seen.last_place, next.first_place)) break;
        seen.last_place = next.last_place;
      }
      await replaceSeen(tx, viewer, seen);
    },

    /** For each of these places, in order, the end of the viewer's range that holds it, or null if it is unseen. */
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

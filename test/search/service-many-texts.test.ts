import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '../../src/db/database.ts';
import { openDatabase } from '../../src/db/open.ts';
import { createSearch, SEARCH_START, type Search, type SearchPosition } from '../../src/search/service.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';

/** More threads than one look compares with a stronger place, and more matching replies than it reads. */
const THREADS = 9000;
const TALKATIVE = 201;

/** What is said about larches. It is spread so that a look ends at each of its limits somewhere. */
const hasTitle = (thread: number) => thread % 1000 === 0;
const hasOpening = (thread: number) => hasTitle(thread) || (thread % 97 !== 0 && thread !== TALKATIVE);
const replies = (thread: number) => (thread === TALKATIVE ? 700 : thread % 25 === 0 || thread % 97 === 0 ? 1 : 0);

// Beside HTTP: as many requests would take minutes.
describe.each(engines)('a search through very many texts on %s', engine => {
  let scratch: Scratch;
  let db: Database;
  let search: Search;
  beforeAll(async () => {
    scratch = await scratchDatabase(engine);
    db = await openDatabase(scratch.url, pino({ level: 'silent' }));
    search = createSearch({ db });
    await db.write(async tx => {
      for (let number = 1; number <= THREADS; number += 1) {
        const thread = { number, title: hasTitle(number) ? 'Larches' : '☞', kind: 'discussion' as const };
        search.index(tx, thread, { number: 1, body: hasOpening(number) ? 'A larch' : 'Trees' });
        for (let reply = 1; reply <= replies(number); reply += 1) {
          search.index(tx, thread, { number: 1 + reply, body: 'Larch!' });
        }
      }
    });
  });
  afterAll(async () => {
    await db.close();
    await scratch.drop();
  });

  /** All results from a position on, each with the rank at which it came. `looks`: how many the first request has made. */
  async function results(from: SearchPosition, looks = 0): Promise<[rank: number, thread: number][]> {
    const found: [number, number][] = [];
    let look = looks;
    for (let at: SearchPosition | null = from; at !== null; look += 1) {
      const { threads, nextPosition }: Awaited<ReturnType<Search['next']>> = await search.next(
        db.read,
        'larch',
        at,
        look,
      );
      for (const thread of threads) found.push([at.rank, thread]);
      at = nextPosition;
    }
    return found;
  }

  const newestFirst = Array.from({ length: THREADS }, (_, index) => THREADS - index);
  const rankOf = (thread: number) => (hasTitle(thread) ? 0 : hasOpening(thread) ? 1 : replies(thread) > 0 ? 2 : 3);
  const expected = [0, 1, 2].flatMap(rank =>
    newestFirst.filter(thread => rankOf(thread) === rank).map((thread): [number, number] => [rank, thread]),
  );

  it.each([0, 1, 2, 9])(
    'answers each of them once, in order, in steps that begin with the length of look %i',
    async looks => {
      expect(await results(SEARCH_START, looks)).toEqual(expected);
    },
  );

  it('goes on from any of them', async () => {
    for (const index of [0, 8, 9, 10, 499, 5003, expected.length - 60, expected.length - 2]) {
      const [rank, below] = expected[index] as [number, number];
      expect(await results({ rank, below }), `behind ${below}`).toEqual(expected.slice(index + 1));
    }
  });
});

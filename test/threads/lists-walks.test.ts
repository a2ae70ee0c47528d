import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Thread } from '../../src/threads/schemas.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { ownLists } from '../helpers/lists.ts';
import {
  conversation,
  everybody,
  fits,
  inListOrder,
  pathOf,
  priorities,
  states,
  type ThreadQuery,
} from '../helpers/threads.ts';

/** The same walks at every run. */
const SEED = 7;
const RUNS = 16;
/** Threads that are opened before each walk; the walk also meets those of the walks before. */
const OPENED = 6;

const reader = 'human:ana';

type Happening =
  | { act: 'open'; actor: object; priority: string }
  | { act: 'post'; pick: number; actor: object }
  | { act: 'change'; pick: number; fields: object }
  | { act: 'see'; pick: number };

const actor = fc.constantFrom(...everybody);
const priority = fc.constantFrom(...priorities);
/** A thread, counted from the newest; mostly one of few, in which several things happen then. */
const pick = fc.oneof(fc.nat(5), fc.nat(5), fc.nat(99));
const opening = fc.record({ act: fc.constant('open' as const), actor, priority });
const happening: fc.Arbitrary<Happening> = fc.oneof(
  opening,
  fc.record({ act: fc.constant('post' as const), pick, actor }),
  fc.record({ act: fc.constant('change' as const), pick, fields: fc.record({ priority }) }),
  fc.record({ act: fc.constant('change' as const), pick, fields: fc.record({ state: fc.constantFrom(...states) }) }),
  fc.record({
    act: fc.constant('change' as const),
    pick,
    fields: fc.record({ assignee: fc.constantFrom('ana', null), priority }, { requiredKeys: ['assignee'] }),
  }),
  fc.record({ act: fc.constant('see' as const), pick }),
);

const query = fc.constantFrom<ThreadQuery>(
  {},
  { priority: 'normal' },
  { state: 'new' },
  { kind: 'discussion' },
  { assignee: 'ana' },
  { run_id: 'run-1' },
  { run_id: 'run-1', state: 'new', priority: 'high' },
  { queue: 'unanswered' },
  { queue: 'unseen', viewer: reader },
  { queue: 'unseen', viewer: reader },
  { queue: 'unseen', viewer: reader, ticket: 'T-1' },
  { q: 'region' },
);

describe.each(engines)('a walk through threads on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const send: TestApp['send'] = (...request) => service.send(...request);
  const { open, post, change, view, mark } = conversation(send);
  const { walk } = ownLists(send);

  /** Every thread as it is now. */
  const threads = new Map<string, Thread>();
  const listed = (asked: ThreadQuery) =>
    [...threads.values()]
      .filter(thread => fits(thread, asked))
      .sort(inListOrder)
      .map(thread => thread.thread_id);

  /** @returns the thread in which it happened */
  async function happen(what: Happening): Promise<string> {
    const ids = [...threads.keys()];
    const id =
      what.act === 'open'
        ? (await open({ priority: what.priority, actor: what.actor, run_id: 'run-1', ticket: 'T-1' })).thread_id
        : (ids.at(-1 - (what.pick % ids.length)) as string);
    // Some of it is refused, in closed threads; then nothing has happened, which is fine as well.
    if (what.act === 'post') await post(id, { actor: what.actor });
    if (what.act === 'change') await change(id, what.fields);
    if (what.act === 'see') await mark(id, reader);
    threads.set(id, await view(id, reader));
    return id;
  }

  it('neither skips nor repeats what fitted throughout, whatever happens between its pages', async () => {
    await fc.assert(
      fc.asyncProperty(
        query,
        fc.integer({ min: 1, max: 4 }),
        fc.array(opening, { minLength: OPENED, maxLength: OPENED }),
        fc.array(fc.array(happening, { maxLength: 2 }), { minLength: 25, maxLength: 25 }),
        async (asked, limit, first, meanwhile) => {
          for (const one of first) await happen(one);
          const start = listed(asked);
          const touched = new Set<string>();
          let throughout = start;
          const pages = await walk(pathOf(asked), limit, async () => {
            for (const what of meanwhile.shift() ?? []) {
              touched.add(await happen(what));
              const fitting = new Set(listed(asked));
              throughout = throughout.filter(id => fitting.has(id));
            }
          });
          const rows = pages.flat() as Thread[];
          const seen = rows.map(row => row.thread_id);
          expect(new Set(seen).size, 'something came twice').toBe(seen.length);
          expect(
            throughout.filter(id => !seen.includes(id)),
            'something was skipped',
          ).toEqual([]);
          expect(
            rows.filter(row => !fits(row, asked)),
            'something did not fit when it came',
          ).toEqual([]);
          // Search has an order of its own.
          if (asked.q) return;
          const untouched = (id: string) => throughout.includes(id) && !touched.has(id);
          expect(seen.filter(untouched)).toEqual(start.filter(untouched));
        },
      ),
      { seed: SEED, numRuns: RUNS },
    );
  });

  it('brings no thread in which something happened and which was seen since', async () => {
    const ids: string[] = [];
    for (let count = 0; count < 5; count += 1) ids.unshift((await open({ run_id: 'seen-since' })).thread_id);
    const [, , third] = ids;
    const happenings = [
      async () => {
        await post(third as string);
        await mark(third as string, reader);
      },
    ];
    const asked = { queue: 'unseen', viewer: reader, run_id: 'seen-since' };
    const pages = await walk(pathOf(asked), 1, async () => happenings.shift()?.());
    expect(pages.flat().map(row => row.thread_id)).toEqual(ids.filter(id => id !== third));
  });
});

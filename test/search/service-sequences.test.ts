import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { ownLists } from '../helpers/lists.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { conversation } from '../helpers/threads.ts';

/** Sequences of events after which threads are opened. */
const sequences = [1, 2 ** 31 - 3, 2 ** 31 + 5, 2 ** 32, 2 ** 40, 2 ** 41 + 1, 2 ** 47];

describe.each(engines)('a search when very many events have been on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());
  const { open, post } = conversation((...request) => service.send(...request));

  const { walk } = ownLists((...request) => service.send(...request));

  /** The next event gets the sequence after this one. */
  const goOnAfter = (sequence: number) =>
    sqlBeside(
      service.url,
      engine === 'sqlite'
        ? `update sqlite_sequence set seq = ${sequence} where name = 'events'`
        : `select setval('events_sequence_seq', ${sequence})`,
    );

  it('finds titles, first posts and replies, in order and in pages of any size', async () => {
    const places: Record<'titles' | 'openings' | 'replies', string[]> = { titles: [], openings: [], replies: [] };
    await open();
    for (const sequence of sequences) {
      await goOnAfter(sequence + 100);
      places.titles.push((await open({ title: 'Larch', body: 'Tree' })).thread_id);
      places.openings.push((await open({ title: 'Tree', body: 'Larch' })).thread_id);
      places.replies.push((await open({ title: 'Tree', body: 'Which?' })).thread_id);
    }
    // Each in one that is older, with an event that is newer.
    for (const thread of places.replies) for (const body of ['Larch', 'Larches']) await post(thread, { body });
    const expected = [places.titles, places.openings, places.replies].flatMap(threads => threads.toReversed());
    for (const limit of [1, 2, 200]) {
      const pages = await walk('/threads?q=larch', limit);
      expect(pages.flat().map(thread => thread.thread_id)).toEqual(expected);
    }
    expect((await walk('/threads?q=tree+which', 200)).flat().map(thread => thread.thread_id)).toEqual(
      places.replies.toReversed(),
    );
  });
});

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { ownLists } from '../helpers/lists.ts';
import { expectProblem } from '../helpers/problems.ts';
import { conversation } from '../helpers/threads.ts';

/** What the model knows of a thread. */
interface Known {
  id: string;
  title: string[];
  posts: string[][];
}

/** Few words, so that many begin with, or are, another one. */
const vocabulary = ['a', 'ab', 'abc', 'abcd', 'abcde', 'abcdf', 'baba', 'babab', '401', '4010', '東', '京'];
const looks: Record<string, (word: string) => string> = {
  plain: word => word,
  loud: word => word.toUpperCase(),
  accented: word => `${word}\u0301`,
};
const separators = [' ', '. ', '-', '_', '/', "'", '"', ' & ', ' | ', ':* ', '\n', ' ('];

/** A text as the model has it, a list of words, and as somebody may have written it. */
const text = (maxLength: number) =>
  fc
    .array(
      fc.record({
        word: fc.constantFrom(...vocabulary),
        look: fc.constantFrom(...Object.keys(looks)),
        separator: fc.constantFrom(...separators),
      }),
      { minLength: 1, maxLength },
    )
    .map(parts => ({
      words: parts.map(({ word }) => word),
      written: parts.map(({ word, look, separator }) => `${looks[look]?.(word)}${separator}`).join(''),
    }));

/** Threads by number, and who gets the next post: nobody yet means a new thread. */
const acts = fc.array(fc.record({ to: fc.option(fc.nat(9)), title: text(2), body: text(3) }), {
  minLength: 1,
  maxLength: 16,
});

/** All threads in the order in which they were opened, found by looking at every word of every text. */
function expected(threads: Known[], query: string[]): string[] {
  const holds = (words: string[]) =>
    query.every(asked => words.some(word => word === asked || (asked.length > 3 && word.startsWith(asked))));
  const rankOf = ({ title, posts: [first = [], ...replies] }: Known) => {
    if (holds(title)) return 0;
    if (holds([...title, ...first])) return 1;
    return replies.some(reply => holds([...title, ...reply])) ? 2 : 3;
  };
  const newestFirst = threads.toReversed();
  return [0, 1, 2].flatMap(rank => newestFirst.filter(thread => rankOf(thread) === rank).map(({ id }) => id));
}

/** Words are taken apart and compared by the same code on both engines; PostgreSQL shows that it sorts them alike. */
const RUNS = { sqlite: 50, postgres: 20 };

describe.each(engines)('a walk through search results on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const send: TestApp['send'] = (...request) => service.send(...request);
  const { open, post } = conversation(send);
  const { walk, names, fresh } = ownLists(send);
  let runs = 0;

  const found = async (query: string, filters: string, limit: number) =>
    (await walk(`/threads?q=${encodeURIComponent(query)}${filters}`, limit)).flat().map(thread => thread.thread_id);

  it('answers what a look at every text finds, in that order, whatever the page size', {
    timeout: 60_000,
  }, async () => {
    const everything: Known[] = [];
    const queries = fc.array(text(3), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(acts, queries, fc.integer({ min: 1, max: 4 }), async (written, asked, limit) => {
        runs += 1;
        const ticket = `walk-${runs}`;
        const threads: Known[] = [];
        for (const { to, title, body } of written) {
          const thread = to === null ? undefined : threads[to % threads.length];
          if (thread) {
            expect((await post(thread.id, { body: body.written })).status).toBe(201);
            thread.posts.push(body.words);
          } else {
            const { thread_id } = await open({ title: title.written, body: body.written, ticket });
            threads.push({ id: thread_id, title: title.words, posts: [body.words] });
          }
        }
        everything.push(...threads);
        for (const { words, written: query } of asked) {
          expect(await found(query, `&ticket=${ticket}`, limit), query).toEqual(expected(threads, words));
        }
      }),
      { numRuns: RUNS[engine] },
    );
    // The runs went by their tickets; here all their threads are looked through at once.
    for (const [index, word] of vocabulary.entries()) {
      const query = [word, vocabulary[(index * 3) % vocabulary.length] as string];
      expect(await found(word, '', 17), word).toEqual(expected(everything, [word]));
      expect(await found(query.join(' '), '', 17), query.join(' ')).toEqual(expected(everything, query));
    }
  });

  it('neither skips nor repeats threads while matching threads and posts are being added', async () => {
    const places = fc.array(fc.constantFrom('title', 'first', 'reply', 'late reply'), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 3 }), places, places, async (limit, before, during) => {
        runs += 1;
        const word = `heron${runs}x`;
        const { thread_id: silent } = await open();
        const add = async (place: string) => {
          if (place === 'late reply') return post(silent, { body: word });
          const { thread_id } = await open({ ...(place === 'title' && { title: word }), body: place && word });
          return post(thread_id, { body: word });
        };
        for (const place of ['reply', ...before]) await add(place);
        const existing = await found(word, '', 200);
        const added = [...during];
        const pages = await walk(`/threads?q=${word}`, limit, async () => {
          const place = added.shift();
          if (place !== undefined) await add(place);
        });
        const seen = pages.flat().map(thread => thread.thread_id);
        expect(new Set(seen).size).toBe(seen.length);
        expect(seen.filter(id => existing.includes(id as string))).toEqual(existing);
        for (const page of pages.slice(0, -1)) expect(page).toHaveLength(limit);
      }),
      { numRuns: RUNS[engine] / 2 },
    );
  });

  describe('refuses a cursor', () => {
    const encoded = (key: unknown) => Buffer.from(JSON.stringify(key)).toString('base64url');
    const at = (cursor: string) => service.send('GET', `/threads?q=ibis&cursor=${cursor}`);
    beforeAll(async () => {
      for (const title of ['Ibis', 'Ibises']) await open({ title });
    });

    it.each(names)('of %s', async name => {
      const list = fresh(name);
      for (const seed of [1, 2]) await list.add(seed);
      const { body } = await service.send('GET', `${list.path}&limit=1`);
      expectProblem(await at(body.next_cursor), 'INVALID_CURSOR');
    });

    it('of its own, in a list without words, and that of such a list', async () => {
      const { body: page } = await service.send('GET', '/threads?q=ibis&limit=1');
      expect((await at(page.next_cursor)).body.items).toHaveLength(1);
      expectProblem(await service.send('GET', `/threads?cursor=${page.next_cursor}`), 'INVALID_CURSOR');
      const { body: plain } = await service.send('GET', '/threads?limit=1');
      expectProblem(await at(plain.next_cursor), 'INVALID_CURSOR');
    });

    it.each([
      ['nothing', ''],
      ['NUL', '%00'],
      ['text', encoded('threads found')],
      ['a key that is too short', encoded(['threads found', 0])],
      ['a key that is too long', encoded(['threads found', 0, 1, 2])],
      ['text in a key', encoded(['threads found', '0', '1'])],
      ['a fraction', encoded(['threads found', 0.5, 1])],
      ['no number', encoded(['threads found', 0, null])],
    ])('made of %s', async (_, cursor) => {
      expectProblem(await at(cursor), 'INVALID_CURSOR');
    });

    it.each([
      ['a rank below all', -1, 5],
      ['a rank beyond all', 3, 5],
      ['a number below all', 0, -1],
      ['the smallest number', 0, Number.MIN_SAFE_INTEGER],
      ['the smallest number, among replies', 2, Number.MIN_SAFE_INTEGER],
      ['the largest numbers', Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    ])('that no page can have had, or finds nothing more behind it: %s', async (_, rank, below) => {
      const { status, body } = await at(encoded(['threads found', rank, below]));
      if (status === 200) expect(body).toEqual({ items: [], next_cursor: null });
      else expect({ status, code: body.code }).toEqual({ status: 400, code: 'INVALID_CURSOR' });
    });
  });
});

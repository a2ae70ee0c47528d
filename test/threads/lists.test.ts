import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Thread } from '../../src/threads/schemas.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { ownLists } from '../helpers/lists.ts';
import { expectProblem } from '../helpers/problems.ts';
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

/** The same threads and the same queries at every run. */
const SEED = 5;

/** Values that differ in little: a filter takes them letter by letter, and nothing in them means anything to SQL. */
const tickets = ['T-1', 't-1', 'T-1%', "Ω '1'"];
const runs = ['run-1', 'run-2'];
const agents = ['builder', 'tester'];
const assignees = ['ana', 'bo'];
const titles = ['Which region', 'Region of the deployment', 'Which database', 'Deployment'];
const viewers = ['human:ana', 'human:bo'];

const some = (values: string[]) => fc.option(fc.constantFrom(...values), { nil: undefined });
const actor = fc.constantFrom(...everybody);
const state = fc.constantFrom(...states);
const viewer = fc.constantFrom(...viewers);
const plan = fc.record({
  control: fc.integer({ min: 0, max: 3 }).map(number => number === 0),
  fields: fc.record({
    title: fc.constantFrom(...titles),
    actor,
    ticket: some(tickets),
    run_id: some(runs),
    agent_name: some(agents),
    priority: some(priorities),
  }),
  replies: fc.array(fc.record({ actor, state: some(states) }), { maxLength: 3 }),
  change: fc.record({ assignee: some(assignees), priority: some(priorities) }),
  seenBy: fc.subarray(viewers),
});

describe.each(engines)('lists of threads on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const send: TestApp['send'] = (...request) => service.send(...request);
  const get = (url: string) => service.send('GET', url);
  const { open, post, change, view, signal, mark } = conversation(send);
  const { walk } = ownLists(send);
  const idsOf = (rows: Record<string, unknown>[]) => rows.map(row => row.thread_id as string);

  describe('with filters', () => {
    /** Every thread as the viewer (or nobody in particular) sees it, read one by one. */
    const views = new Map<string | undefined, Thread[]>();

    beforeAll(async () => {
      const ids: string[] = [];
      for (const { control, fields, replies, change: changed, seenBy } of fc.sample(plan, {
        seed: SEED,
        numRuns: 48,
      })) {
        const { actor: by, ticket, run_id = 'run-1', agent_name = `agent ${ids.length % 3}` } = fields;
        const thread = control
          ? (await signal('guidance_request', { ticket, run_id, agent_name, actor: by, question: 'Hm?' })).body.thread
          : await open(fields);
        // Some of what is planned is refused: a signal to an agent whose thread is closed, a move that is not allowed.
        // What the threads look like in the end is read, not foretold.
        if (!thread) continue;
        ids.push(thread.thread_id);
        for (const reply of replies) await post(thread.thread_id, reply);
        await change(thread.thread_id, changed);
        for (const name of seenBy) await mark(thread.thread_id, name);
      }
      for (const name of [undefined, ...viewers]) {
        views.set(name, await Promise.all([...new Set(ids)].map(id => view(id, name))));
      }
    });

    /** The list is what a filter and a sort of all threads make of them. */
    async function expectList(query: ThreadQuery, limit: number): Promise<number> {
      const expected = (views.get(query.viewer) ?? []).filter(thread => fits(thread, query)).sort(inListOrder);
      const pages = await walk(pathOf(query), limit);
      const listed = pages.flat();
      for (const page of pages.slice(0, -1)) expect(page).toHaveLength(limit);
      // A search has an order of its own.
      if (query.q !== undefined) {
        expect(idsOf(listed).sort()).toEqual(idsOf(expected).sort());
        listed.sort((a, b) => inListOrder(a as Thread, b as Thread));
      }
      expect(listed).toEqual(expected);
      return expected.length;
    }

    const columns = ['ticket', 'run_id', 'agent_name', 'state', 'priority', 'assignee', 'kind'] as const;

    it.each(columns)('%s finds the threads that have it, for each value', async column => {
      const all = views.get(undefined) ?? [];
      const values = [...new Set(all.map(thread => thread[column]))].filter(value => value !== null);
      expect(values.length).toBeGreaterThan(1);
      for (const value of values) expect(await expectList({ [column]: String(value) }, 3)).toBeGreaterThan(0);
    });

    it.each<ThreadQuery>([
      {},
      ...viewers.map(name => ({ viewer: name })),
      { queue: 'unanswered' },
      ...viewers.map(name => ({ queue: 'unanswered', viewer: name })),
      ...viewers.map(name => ({ queue: 'unseen', viewer: name })),
      { q: 'region' },
      { q: 'deploy' },
    ])('%j finds what fits, and not everything', async query => {
      for (const limit of [1, 4, 200]) expect(await expectList(query, limit)).toBeGreaterThan(2);
      const isFilter = query.queue !== undefined || query.q !== undefined;
      expect((await walk(pathOf(query), 200)).flat().length < (views.get(undefined)?.length ?? 0)).toBe(isFilter);
    });

    it('whatever is asked together must all fit', async () => {
      const extra = {
        queue: fc.constantFrom(undefined, undefined, 'unanswered', 'unseen'),
        q: fc.constantFrom(undefined, undefined, undefined, 'region', 'deploy', 'database'),
        viewer,
        isViewed: fc.boolean(),
      };
      const odd = fc.option(fc.record({ state, priority: fc.constantFrom(...priorities) }), { freq: 3 });
      let found = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.nat(),
          fc.subarray([...columns], { maxLength: 3 }),
          odd,
          fc.record(extra),
          fc.integer({ min: 1, max: 6 }),
          async (pick, chosen, other, { queue, q, viewer: name, isViewed }, limit) => {
            const all = views.get(undefined) ?? [];
            const like = all[pick % all.length] as Thread;
            const query: Record<string, unknown> = { queue, q, ...other };
            // Mostly the values of one thread, so that there is something to be found.
            for (const column of chosen) query[column] ??= like[column];
            if (isViewed || queue === 'unseen') query.viewer = name;
            const set = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
            found += (await expectList(Object.fromEntries(set) as ThreadQuery, limit)) > 0 ? 1 : 0;
          },
        ),
        { seed: SEED, numRuns: 120 },
      );
      expect(found).toBeGreaterThan(60);
    });

    it('what nobody has finds nothing', async () => {
      for (const query of [{ ticket: 'T-' }, { assignee: 'ANA' }, { run_id: '%' }, { q: 'regional' }]) {
        expect((await get(pathOf(query))).body).toEqual({ items: [], next_cursor: null });
      }
    });

    it('white space around a name does not count', async () => {
      expect((await get('/threads?ticket=%20T-1%09')).body).toEqual((await get('/threads?ticket=T-1')).body);
    });

    it.each([
      ['/threads', '/threads?q=region'],
      ['/threads?q=region', '/threads'],
      ['/threads?queue=unanswered', '/threads?q=deploy'],
      ['/threads?q=region', '/control-threads'],
      ['/threads?q=region', '/events'],
    ])('%s takes no cursor of %s', async (path, other) => {
      const join = (url: string) => `${url}${url.includes('?') ? '&' : '?'}limit=1`;
      const cursor = (await get(join(other))).body.next_cursor;
      expect(cursor).toEqual(expect.any(String));
      expectProblem(await get(`${join(path)}&cursor=${cursor}`), 'INVALID_CURSOR');
      for (const bad of ['', 'next', Buffer.from('["threads found",0]').toString('base64url')]) {
        expectProblem(await get(`${join(path)}&cursor=${bad}`), 'INVALID_CURSOR');
      }
    });
  });

  it.each([
    ['queue=unseen', '/viewer'],
    ['queue=unseen&q=region', '/viewer'],
    ['queue=unseen&viewer=', '/viewer'],
    ['viewer=%20', '/viewer'],
    ['queue=all', '/queue'],
    ['state=open', '/state'],
    ['state=new&state=closed', '/state'],
    ['priority=HIGH', '/priority'],
    ['kind=talk', '/kind'],
    ['assignee=', '/assignee'],
    [`ticket=${'x'.repeat(201)}`, '/ticket'],
    ['run_id=a%00b', '/run_id'],
    ['unanswered=true', '/unanswered'],
    ['sort=title', '/sort'],
  ])('?%s is refused', async (query, pointer) => {
    const answer = await get(`/threads?${query}`);
    expectProblem(answer, 'VALIDATION_FAILED');
    expect(answer.body.errors).toMatchObject([{ in: 'query', pointer }]);
  });
});

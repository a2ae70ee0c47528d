import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { ownLists } from '../helpers/lists.ts';
import { conversation, everybody, priorities, states } from '../helpers/threads.ts';
import { QueueModel } from './queue-model.ts';

/** The same histories at every run. */
const SEED = 1;
const RUNS = { sqlite: 15, postgres: 8 };
/** A history that disagrees is made shorter for so long, and then shown. Milliseconds. */
const SHRINKING = 15_000;

const viewers = ['human:ana', 'operator:bo', 'Ω/%?#'];
const agents = ['builder', 'tester'];

type Step =
  | { do: 'open'; actor: object; priority: string }
  | { do: 'post'; thread: number; actor: object; state?: string | undefined }
  | { do: 'change'; thread: number; fields: object }
  | { do: 'signal'; agent: string; type: string; actor?: object | undefined }
  | { do: 'cancel'; agent: string }
  | { do: 'mark'; thread: number; viewer: string; upTo: UpTo }
  | { do: 'look'; limit: number; viewer: string };
type UpTo = 'all' | 'newest' | 'earlier' | 'nothing' | 'the newest anywhere' | 'the future';

/** Plain objects, which are short to read in a report. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(model, { noNullPrototype: true });
const actor = fc.constantFrom(...everybody);
const priority = fc.constantFrom(...priorities);
const state = fc.constantFrom(...states);
const viewer = fc.constantFrom(...viewers);
const thread = fc.nat(9);
const agent = fc.constantFrom(...agents);
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const act = <D extends Step['do']>(name: D) => fc.constant(name);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: record({ do: act('open'), actor, priority }) },
  { weight: 7, arbitrary: record({ do: act('post'), thread, actor, state: maybe(state) }) },
  {
    weight: 5,
    arbitrary: record({
      do: act('change'),
      thread,
      fields: fc.record(
        { priority, state, assignee: fc.constantFrom('ana', null) },
        { requiredKeys: [], noNullPrototype: true },
      ),
    }),
  },
  {
    weight: 5,
    arbitrary: record({
      do: act('signal'),
      agent,
      type: fc.constantFrom('guidance_request', 'guidance_request', 'guidance_answer', 'completion', 'validation'),
      actor: maybe(actor),
    }),
  },
  { weight: 1, arbitrary: record({ do: act('cancel'), agent }) },
  {
    weight: 12,
    arbitrary: record({
      do: act('mark'),
      thread,
      viewer,
      upTo: fc.constantFrom<UpTo>('all', 'all', 'newest', 'earlier', 'nothing', 'the newest anywhere', 'the future'),
    }),
  },
  { weight: 4, arbitrary: record({ do: act('look'), limit: fc.integer({ min: 1, max: 3 }), viewer }) },
);

/** An empty service and its model; `take` takes a step on both, `look` compares them. */
function begin(service: TestApp) {
  const send: TestApp['send'] = (...request) => service.send(...request);
  const talk = conversation(send);
  const { walk } = ownLists(send);
  const model = new QueueModel();
  /** Who has written where, as far as the answers said that it was stored. */
  const written: string[] = [];

  async function take(what: Step): Promise<void> {
    switch (what.do) {
      case 'open': {
        const { thread_id } = await talk.open({ actor: what.actor, priority: what.priority });
        wrote(thread_id, what.actor);
        break;
      }
      case 'post': {
        const id = pick(what.thread);
        if (!id) return;
        const { status, body } = await talk.post(id, { actor: what.actor, state: what.state });
        if (status === 201) wrote(id, body.post.actor);
        else expect(body.code).toMatch(/^(THREAD_CLOSED|TRANSITION_NOT_ALLOWED)$/);
        break;
      }
      case 'change': {
        const id = pick(what.thread);
        if (!id) return;
        const { status, body } = await talk.change(id, what.fields);
        if (status !== 200) expect(body.code).toMatch(/^(THREAD_CLOSED|TRANSITION_NOT_ALLOWED)$/);
        break;
      }
      case 'signal': {
        const { status, body } = await talk.signal(what.type, { agent_name: what.agent, actor: what.actor });
        if (status === 201) wrote(body.thread.thread_id, body.signal.actor);
        else expect(body.code).toMatch(/^(THREAD_CLOSED|NO_OPEN_QUESTION|AMBIGUOUS_ANSWER)$/);
        break;
      }
      case 'cancel': {
        const { body } = await send('GET', `/questions?state=open&agent_name=${what.agent}&limit=1`);
        for (const { question_id } of body.items) await send('POST', `/questions/${question_id}/cancel`, {});
        break;
      }
      case 'mark': {
        const id = pick(what.thread);
        if (!id) return;
        const sequence = sequenceOf(id, what.upTo);
        const view = await talk.mark(id, what.viewer, sequence);
        model.mark(id, what.viewer, sequence);
        expect(view).toMatchObject({ ...model.thread(id), unseen: model.isUnseen(id, what.viewer) });
        break;
      }
      case 'look':
        await look(what.limit, [what.viewer]);
    }
    model.read(await talk.events(model.newest));
  }

  /** Every thread and every queue of these viewers is what the model says, in order, in pages of this size. */
  async function look(limit: number, by = viewers): Promise<void> {
    const ids = async (query: string) => (await walk(`/threads?${query}`, limit)).flat().map(row => row.thread_id);
    expect(await ids('queue=unanswered')).toEqual(model.listed(({ unanswered }) => unanswered));
    for (const viewer of by) {
      const asked = `viewer=${encodeURIComponent(viewer)}`;
      const unseen = model.listed(({ thread_id }) => model.isUnseen(thread_id, viewer));
      expect(await ids(`queue=unseen&${asked}`), `unseen by ${viewer}`).toEqual(unseen);
      const all = (await walk(`/threads?${asked}`, limit)).flat();
      const expected = model.listed(() => true).map(id => ({ ...model.thread(id), unseen: unseen.includes(id) }));
      expect(all).toMatchObject(expected);
      for (const row of all) expect(await talk.view(row.thread_id as string, viewer)).toEqual(row);
    }
    expect((await talk.events()).filter(isPost).map(event => textOf(event.thread_id, event.actor))).toEqual(written);
  }

  const pick = (index: number): string | undefined => model.ids[index % model.ids.length];
  const wrote = (id: string, by: object) => written.push(textOf(id, by));

  function sequenceOf(id: string, upTo: UpTo): number | undefined {
    const sequences = model.sequences(id);
    switch (upTo) {
      case 'all':
        return undefined;
      case 'newest':
        return sequences.at(-1);
      case 'earlier':
        return sequences.at(-2);
      case 'nothing':
        return 0;
      case 'the newest anywhere':
        return model.newest;
      case 'the future':
        return model.newest + 1000;
    }
  }

  return { take, look };
}

const isPost = ({ event_type: type }: { event_type: string }) => /^forum\.(post\.added|control\.signal)$/.test(type);
const textOf = (id: string | null, { type, name }: { type?: string; name?: string }) => `${id} ${type}:${name}`;

async function onNewService(engine: Engine, run: (begun: ReturnType<typeof begin>) => Promise<void>): Promise<void> {
  const service = await startApp(engine);
  try {
    await run(begin(service));
  } finally {
    await service.close();
  }
}

describe.each(engines)('queues on %s', engine => {
  it('hold what the log and the marks say, after any history', async () => {
    const history = fc.array(step, { minLength: 1, maxLength: 60, size: 'max' });
    await fc.assert(
      fc.asyncProperty(history, steps =>
        onNewService(engine, async ({ take, look }) => {
          for (const one of steps) await take(one);
          await look(2);
        }),
      ),
      { seed: SEED, numRuns: RUNS[engine], interruptAfterTimeLimit: SHRINKING },
    );
  });

  it('hold a thread again as soon as something happens in it, whatever was seen beside it', async () => {
    await onNewService(engine, async ({ take, look }) => {
      const [by] = everybody as [object];
      for (const rank of priorities) await take({ do: 'open', actor: by, priority: rank });
      for (const index of [3, 1, 2, 0]) {
        await take({ do: 'mark', thread: index, viewer: 'human:ana', upTo: 'all' });
      }
      for (const index of [0, 1, 2, 3]) {
        await take({ do: 'post', thread: index, actor: by });
        await look(2);
      }
    });
  });

  it('hold what is new among very many threads that have been seen, whatever the order in which they were', async () => {
    await onNewService(engine, async ({ take, look }) => {
      const count = 60;
      const viewer = 'human:ana';
      const [by] = everybody as [object];
      for (let index = 0; index < count; index += 1) {
        await take({ do: 'open', actor: by, priority: priorities[index % 4] as string });
      }
      // 37 has no factor in common with 60: every thread comes once, far from the one before.
      for (let index = 0; index < count; index += 1) {
        await take({ do: 'mark', thread: (index * 37) % count, viewer, upTo: 'all' });
      }
      await look(7, [viewer]);
      // News in each priority, and in one of them next to each other: some of it is seen, between some that is not.
      for (const index of [13, 26, 59, 0, 4, 8, 12, 16]) await take({ do: 'post', thread: index, actor: by });
      await look(7, [viewer]);
      for (const index of [26, 8, 12]) await take({ do: 'mark', thread: index, viewer, upTo: 'all' });
      await look(1, [viewer]);
    });
  });
});

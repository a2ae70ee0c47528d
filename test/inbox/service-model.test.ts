import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';
import { type Claim, InboxModel, type ModelItem } from './model.ts';

/** Sequences of steps on an engine. With this seed each of the breakages that were tried shows. */
const RUNS = { sqlite: 25, postgres: 10 };
const SEED = 17;

/** `question` and `items` pick among all that there ever were. */
type Step =
  | { does: 'ask' | 'message' }
  | { does: 'answer' | 'cancel' | 'acknowledge question'; question: number }
  | ({ does: 'claim' } & Claim)
  | { does: 'claim at once'; claims: Claim[] }
  | { does: 'acknowledge'; items: number[] }
  | { does: 'wait'; seconds: number };

const claim = fc.record({
  claimant: fc.constantFrom('a', 'b'),
  lease_seconds: fc.integer({ min: 1, max: 6 }),
  limit: fc.integer({ min: 1, max: 3 }),
});
const pick = fc.nat({ max: 11 });
const claiming = claim.map(one => ({ does: 'claim' as const, ...one }));
const message = fc.record({ does: fc.constant('message' as const) });
const waiting = fc.record({ does: fc.constant('wait' as const), seconds: fc.integer({ min: 1, max: 8 }) });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ does: fc.constant('ask' as const) }) },
  { weight: 2, arbitrary: message },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constantFrom('answer', 'answer', 'cancel', 'acknowledge question'),
      question: pick,
    }),
  },
  { weight: 4, arbitrary: claiming },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('claim at once' as const), claims: fc.tuple(claim, claim) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant('acknowledge' as const),
      items: fc.array(pick, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 3, arbitrary: waiting },
);

describe.each(engines)('the inbox on %s', engine => {
  const clock = new ManualClock();
  let service: TestApp;
  let runs = 0;
  beforeAll(async () => {
    service = await startApp(engine, { overrides: { clock } });
  });
  afterAll(() => service.close());

  it('does what its model does, whatever is asked of it', async () => {
    const histories = fc.array(step, { minLength: 5, maxLength: 24 });
    const property = fc.asyncProperty(histories, async steps => {
      runs += 1;
      const agent = await begin(service, clock, `model-${runs}`);
      for (const one of steps) {
        await agent.take(one);
        await agent.compare();
      }
      await agent.end();
    });
    await fc.assert(property, { seed: SEED, numRuns: RUNS[engine] });
  });
});

/** An agent of its own with its inbox, in the service and in the model. */
async function begin({ send }: TestApp, clock: ManualClock, run_id: string) {
  const model = new InboxModel();
  const asked: { question_id: string; state: 'open' | 'ended' }[] = [];
  const inbox = `/control-threads/${run_id}/builder/inbox`;
  let texts = 0;

  async function ok(method: 'GET' | 'POST' | 'PUT', path: string, body?: unknown) {
    const answer = await send(method, path, body);
    expect(answer.status, `${method} ${path}: ${JSON.stringify(answer.body)}`).toBeLessThan(300);
    return answer.body;
  }
  async function ask(): Promise<string> {
    const { question, thread } = await ok('POST', '/control-signals', signal('guidance_request', { run_id }));
    asked.push({ question_id: question.question_id, state: 'open' });
    return thread.thread_id;
  }
  const thread_id = await ask();

  /** What the model says of an item, as the service shows it. */
  function shown({ kind, about, holder, heldUntil }: ModelItem) {
    const claimed_until = holder !== undefined && heldUntil > clock.time ? new Date(heldUntil).toISOString() : null;
    return { kind, claimed_until, ...(kind === 'message' ? { post: { body: about } } : { question: { state: kind } }) };
  }

  async function claimed({ claimant, lease_seconds, limit }: Claim): Promise<{ item_id: string }[]> {
    return (await ok('POST', `${inbox}/claim`, { claimant, lease_seconds, limit })).items;
  }
  const ids = (items: { item_id?: string | undefined }[]) => items.map(({ item_id }) => item_id);

  async function claimAtOnce(claims: Claim[]): Promise<void> {
    const got = (await Promise.all(claims.map(claimed))).map(ids);
    // Writes follow one another, so one of the claims came first.
    const before = model.items.map(({ holder, heldUntil }) => ({ holder, heldUntil }));
    const orders = [claims, claims.toReversed()].map(order => {
      for (const [index, item] of model.items.entries()) Object.assign(item, before[index]);
      const taken = new Map(order.map(one => [one, ids(model.claim(one, clock.time))]));
      return {
        taken: claims.map(one => taken.get(one)),
        after: model.items.map(({ holder, heldUntil }) => ({ holder, heldUntil })),
      };
    });
    const found = orders.find(({ taken }) => JSON.stringify(taken) === JSON.stringify(got));
    expect(orders.map(({ taken }) => taken)).toContainEqual(got);
    for (const [index, item] of model.items.entries()) Object.assign(item, found?.after[index]);
  }

  return {
    async take(step: Step): Promise<void> {
      switch (step.does) {
        case 'ask':
          await ask();
          return;
        case 'message': {
          texts += 1;
          const body = `Message ${texts}.`;
          await ok('POST', `/threads/${thread_id}/posts`, { body, actor: { type: 'operator', name: 'ana' } });
          model.add('message', body);
          return;
        }
        case 'answer':
        case 'cancel': {
          const question = asked[step.question % asked.length];
          if (question?.state !== 'open') return;
          const path = `/questions/${question.question_id}`;
          if (step.does === 'answer') await ok('PUT', `${path}/answer`, { answer: 'x' });
          else await ok('POST', `${path}/cancel`);
          question.state = 'ended';
          model.add(step.does === 'answer' ? 'answered' : 'cancelled', question.question_id);
          return;
        }
        case 'acknowledge question': {
          const question = asked[step.question % asked.length];
          if (question?.state !== 'ended') return;
          await ok('POST', `/questions/${question.question_id}/acknowledge`);
          model.acknowledge(model.items.filter(({ about }) => about === question.question_id));
          return;
        }
        case 'claim':
          expect(await claimed(step)).toMatchObject(
            model.claim(step, clock.time).map(item => ({ item_id: item.item_id, ...shown(item) })),
          );
          return;
        case 'claim at once':
          await claimAtOnce(step.claims);
          return;
        case 'acknowledge': {
          const items = step.items.flatMap(number => model.items[number] ?? []);
          const item_ids = [...items.map(({ item_id }) => item_id), 'item_999999999'];
          const { acknowledged } = await ok('POST', `${inbox}/acknowledge`, { item_ids });
          expect(acknowledged).toBe(model.acknowledge(items));
          return;
        }
        case 'wait':
          clock.advance(step.seconds * 1000);
      }
    },

    /** Compares what the service lists with the model. */
    async compare(): Promise<void> {
      const { items } = await ok('GET', inbox);
      expect(items).toMatchObject(model.waiting.map(shown));
      for (const [index, item] of model.waiting.entries()) {
        item.item_id ??= items[index].item_id;
        expect(items[index].item_id).toBe(item.item_id);
        if (item.kind !== 'message') expect(items[index].question.question_id).toBe(item.about);
      }
    },

    /** Compares which questions are acknowledged. */
    async end(): Promise<void> {
      const { items: questions } = await ok('GET', `/questions?run_id=${run_id}&limit=200`);
      const received = model.items.filter(({ kind, isDone }) => kind !== 'message' && isDone);
      const acknowledged = questions.filter((one: { acknowledged_at: string | null }) => one.acknowledged_at !== null);
      expect(acknowledged.map((one: { question_id: string }) => one.question_id).toSorted()).toEqual(
        received.map(({ about }) => about).toSorted(),
      );
    },
  };
}

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { SOON_MS, settled, timed } from '../helpers/waits.ts';

interface Listed {
  question_id: string;
  question: string;
  run_id: string;
  agent_name: string;
  priority: string;
  state: string;
  asked_at: string;
  acknowledged_at: string | null;
}

const RANKS = ['urgent', 'high', 'normal', 'low'];
const TICKETS = ['T-1', 'T-2', undefined];

describe.each(engines)('lists of questions on %s', engine => {
  const clock = new ManualClock();
  let service: TestApp;
  /** All questions in the order of their asking, each with its ticket. */
  let all: (Listed & { ticket: string | undefined })[];

  beforeAll(async () => {
    service = await startApp(engine, { overrides: { clock } });
    const tickets = new Map<string, string | undefined>();
    for (let n = 0; n < 48; n += 1) {
      clock.advance(1000);
      const ticket = TICKETS[n % 3];
      const fields = {
        run_id: `run-${n % 2}`,
        agent_name: ['builder', 'tester'][n % 5 < 2 ? 0 : 1],
        priority: RANKS[n % 4],
        question: `Question ${n}: which ${n % 7 === 0 ? 'continent' : 'region'}?`,
        ...(ticket && { ticket }),
        ...(n % 8 === 0 && { options: ['Antarctica', 'Europe'] }),
      };
      const { body } = await service.send('POST', '/control-signals', signal('guidance_request', fields));
      const id = body.question.question_id;
      tickets.set(id, body.signal.ticket);
      if (n % 3 === 1) await service.send('PUT', `/questions/${id}/answer`, { answer: 'x' });
      if (n % 5 === 1) await service.send('POST', `/questions/${id}/cancel`);
      if (n % 6 === 1) await service.send('POST', `/questions/${id}/acknowledge`);
    }
    const { items } = (await service.send('GET', '/questions?order=newest&limit=200')).body;
    expect(items).toHaveLength(48);
    all = items.toReversed().map((item: Listed) => ({ ...item, ticket: tickets.get(item.question_id) }));
    expect(new Set(all.map(({ state }) => state))).toEqual(new Set(['open', 'answered', 'cancelled']));
  });
  afterAll(() => service.close());

  /** The ids of a whole list, read in small pages. */
  const walk = async (query: Record<string, string>): Promise<string[]> => {
    const ids: string[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page = cursor === '' ? {} : { cursor };
      const { status, body } = await service.send(
        'GET',
        `/questions?${new URLSearchParams({ ...query, ...page, limit: '5' })}`,
      );
      expect(status, JSON.stringify(body)).toBe(200);
      ids.push(...body.items.map(({ question_id }: Listed) => question_id));
      cursor = body.next_cursor;
    }
    return ids;
  };
  const wanted = (query: Record<string, string>): string[] => {
    const { order, q, asked_after, unacknowledged, ...exact } = query;
    const found = all.filter(
      question =>
        Object.entries(exact).every(([name, value]) => question[name as keyof Listed] === value) &&
        (asked_after === undefined || question.asked_at > asked_after) &&
        (unacknowledged === undefined || (question.state !== 'open' && question.acknowledged_at === null)) &&
        (q === undefined || question.question.includes(q)),
    );
    const sorted =
      order === 'newest' || q !== undefined
        ? found.toReversed()
        : found.toSorted((a, b) => RANKS.indexOf(a.priority) - RANKS.indexOf(b.priority));
    return sorted.map(({ question_id }) => question_id);
  };

  it('answer every combination of filters and orders, page by page', { timeout: 60_000 }, async () => {
    const choices: [string, (string | undefined)[]][] = [
      ['run_id', [undefined, 'run-1']],
      ['agent_name', [undefined, 'tester']],
      ['ticket', [undefined, 'T-1']],
      ['priority', [undefined, 'high']],
      ['state', [undefined, 'open', 'answered']],
      ['unacknowledged', [undefined, 'true']],
      ['asked_after', [undefined, all[20]?.asked_at]],
      ['order', [undefined, 'newest']],
      ['q', [undefined, 'continent']],
    ];
    const combinations = choices.reduce<Record<string, string>[]>(
      (made, [name, values]) =>
        made.flatMap(query => values.map(value => (value === undefined ? query : { ...query, [name]: value }))),
      [{}],
    );
    // Every seventh: each pair of filters is among them.
    for (const query of combinations.filter((_, index) => index % 7 === 0)) {
      expect(await walk(query), JSON.stringify(query)).toEqual(wanted(query));
    }
  });

  it('find words of options and context, and beginnings of words', async () => {
    const ids = all.filter((_, n) => n % 8 === 0).map(({ question_id }) => question_id);
    expect(await walk({ q: 'antarct europe' })).toEqual(ids.toReversed());
    expect(await walk({ q: 'nowhere' })).toEqual([]);
  });

  it('refuse what no list has, and cursors of others', async () => {
    for (const query of ['order=oldest', 'unacknowledged=false', 'asked_after=today', 'q=', 'wait=51']) {
      expectProblem(await service.send('GET', `/questions?${query}`), 'VALIDATION_FAILED');
    }
    const { next_cursor } = (await service.send('GET', '/questions?limit=1')).body;
    for (const query of ['order=newest', 'q=region']) {
      expectProblem(await service.send('GET', `/questions?${query}&cursor=${next_cursor}`), 'INVALID_CURSOR');
    }
  });

  it('wait for a question that fits', async () => {
    const run_id = 'waited';
    const waits = [1, 2].map(() => timed(service.send('GET', `/questions?run_id=${run_id}&state=open&wait=40`)));
    const later = timed(service.send('GET', `/questions?run_id=${run_id}&unacknowledged=true&wait=40`));
    await settled(service.send);
    await service.send('POST', '/control-signals', signal('guidance_request', { run_id: 'other' }));
    const { body } = await service.send('POST', '/control-signals', signal('guidance_request', { run_id }));
    const { question_id } = body.question;
    for (const { body, took } of await Promise.all(waits)) {
      expect(took).toBeLessThan(SOON_MS);
      expect(body.items).toMatchObject([{ question_id }]);
    }
    await service.send('PUT', `/questions/${question_id}/answer`, { answer: 'x' });
    expect((await later).body.items).toMatchObject([{ question_id, state: 'answered' }]);
    expect((await timed(service.send('GET', '/questions?run_id=nobody&wait=1'))).took).toBeGreaterThanOrEqual(990);
  });
});

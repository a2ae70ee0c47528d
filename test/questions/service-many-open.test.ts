import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { aRun } from '../helpers/runs.ts';

const MANY = 450;

describe.each(engines)('many open questions of one agent on %s', engine => {
  const clock = new ManualClock();
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine, {
      config: { ROLE: 'all', POLL_INTERVAL_MS: '20', OPEN_QUESTIONS_PER_AGENT: '1000' },
      overrides: { clock },
    });
  });
  afterAll(() => service.close());

  async function askMany(run_id: string, fields = {}): Promise<void> {
    const run = aRun(service.send, run_id);
    await Promise.all(Array.from({ length: MANY }, () => run.ask('builder', fields)));
  }
  const ended = async (run_id: string, state: string) => {
    const { items } = (await service.send('GET', `/questions?run_id=${run_id}&state=${state}&limit=200`)).body;
    return items.length as number;
  };

  it('are limited, and those that end or are replaced make room', async () => {
    const small = await startApp(engine, { config: { OPEN_QUESTIONS_PER_AGENT: '3' } });
    const run = aRun(small.send, 'run-1');
    const ids = [await run.ask('builder'), await run.ask('builder'), await run.ask('builder')];
    const refused = await run.signal('guidance_request', 'builder');
    expectProblem(refused, 'TOO_MANY_OPEN_QUESTIONS');
    expect(refused.body).toMatchObject({ open_questions_count: 3, limit: 3 });
    await run.ask('tester');
    await run.ask('builder', { supersedes: ids[0] });
    expectProblem(await run.signal('guidance_request', 'builder'), 'TOO_MANY_OPEN_QUESTIONS');
    await run.answer(ids[1] as string);
    await run.ask('builder');
    await small.close();
  });

  it('do not make the answers of later signals grow', async () => {
    const run = aRun(service.send, 'grows');
    for (let n = 0; n < 110; n += 1) await run.ask('builder');
    const size = async () => JSON.stringify((await run.signal('completion', 'builder')).body).length;
    const before = await size();
    for (let n = 0; n < 90; n += 1) await run.ask('builder');
    expect(Math.abs((await size()) - before)).toBeLessThan(20);
    const { control } = (await run.signal('completion', 'builder')).body;
    expect(control).toMatchObject({ open_questions_count: 200 });
    expect(control.open_questions).toHaveLength(100);
    expect((await service.send('GET', control.open_questions_url)).body.items).toHaveLength(50);
    const { question_ids } = (await run.signal('guidance_answer', 'builder')).body;
    expect(question_ids).toEqual(control.open_questions);
  });

  it('are cancelled in batches when their thread closes', async () => {
    await askMany('closes');
    const { thread_id } = (await service.send('GET', '/control-threads/closes/builder')).body;
    const operator = { type: 'operator', name: 'ana' };
    const closed = await service.send('PATCH', `/threads/${thread_id}`, { state: 'closed', actor: operator });
    expect(closed).toMatchObject({ status: 200, body: { state: 'closed' } });
    await vi.waitFor(async () => {
      const { body } = await service.send('GET', '/control-threads/closes/builder');
      expect(body).toMatchObject({ open_questions_count: 0, open_questions: [], status: 'working' });
    }, 10_000);
    const events = await eventsOf('closes', 'forum.question.cancelled');
    expect(events).toHaveLength(MANY);
    expect(events.every(({ actor }) => actor.name === 'ana')).toBe(true);
    // One act per batch, not one per question.
    const { body } = await service.send('GET', '/runs/closes');
    expect(body.version).toBeLessThan(MANY + 10);
    expect(body).toMatchObject({ open_questions_count: 0, open_questions: [] });
  });

  it('expire in batches at one moment', async () => {
    await askMany('expires', { expires_in_seconds: 60 });
    clock.advance(60_000);
    await vi.waitFor(async () => expect(await ended('expires', 'open')).toBe(0), 10_000);
    const { body } = await service.send('GET', '/runs/expires');
    expect(body).toMatchObject({ open_questions_count: 0, status: 'running' });
    expect(body.version).toBeLessThan(MANY + 30);
    expect(await eventsOf('expires', 'forum.question.expired')).toHaveLength(MANY);
  });

  // biome-ignore lint/suspicious/noExplicitAny: events of any kind
  async function eventsOf(run_id: string, type: string): Promise<any[]> {
    const all = [];
    for (let cursor = ''; ; ) {
      const { items, next_cursor } = (
        await service.send('GET', `/events?run_id=${run_id}&event_type=${type}&limit=200${cursor}`)
      ).body;
      all.push(...items);
      if (next_cursor === null) return all;
      cursor = `&cursor=${next_cursor}`;
    }
  }
});

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';
import { type Tokens, withTokens } from '../helpers/tokens.ts';

const MINUTE = 60_000;
const DEADLINE = { timeout: 5000, interval: 50 };

describe.each(engines)('when an agent was last seen on %s', engine => {
  const clock = new ManualClock();
  let service: TestApp;
  let tokens: Tokens;
  let agent: TestApp['send'];
  let operator: TestApp['send'];
  beforeAll(async () => {
    service = await startApp(engine, { overrides: { clock } });
    tokens = await withTokens(service);
    agent = await tokens.asAgent('seen-*', '*');
    operator = await tokens.asPerson('operator');
  });
  afterAll(() => service.close());

  let runs = 0;
  const ownRun = () => `seen-${++runs}`;
  const now = () => new Date(clock.time).toISOString();
  const state = async (run_id: string) => (await operator('GET', `/control-threads/${run_id}/builder`)).body;
  const send = (by: TestApp['send'], run_id: string, type: string, fields: object = {}) =>
    by('POST', '/control-signals', signal(type, { run_id, ...fields }));

  it('is its own latest act, not that of others', async () => {
    const run_id = ownRun();
    const { question, control, thread } = (await send(agent, run_id, 'guidance_request')).body;
    const first = now();
    expect(control.last_seen_at).toBe(first);
    clock.advance(1000);
    await operator('PUT', `/questions/${question.question_id}/answer`, { answer: 'x' });
    await operator('POST', `/threads/${thread.thread_id}/posts`, { body: 'x' });
    await send(operator, run_id, 'validation', { actor: { type: 'operator', name: 'ana' } });
    expect((await state(run_id)).last_seen_at).toBe(first);
    await agent('POST', `/questions/${question.question_id}/acknowledge`);
    expect((await state(run_id)).last_seen_at).toBe(now());
    clock.advance(1000);
    const said = { body: 'x', actor: { type: 'agent', name: 'builder' } };
    await agent('POST', `/threads/${thread.thread_id}/posts`, said);
    expect((await state(run_id)).last_seen_at).toBe(now());
  });

  it('is its latest wait or look into its inbox, about 30 seconds exact, and makes no new version', async () => {
    const run_id = ownRun();
    const { question } = (await send(agent, run_id, 'guidance_request')).body;
    const before = await operator('GET', `/control-threads/${run_id}/builder`);
    const inbox = `/control-threads/${run_id}/builder/inbox`;
    await operator('GET', inbox);
    clock.advance(29_000);
    await agent('GET', inbox);
    clock.advance(1000);
    await agent('GET', `/questions/${question.question_id}?wait=1`);
    // It is noted once in 30 seconds, and the act before was less than that before the first look.
    clock.advance(29_000);
    await agent('GET', `${inbox}?wait=1`);
    const seen = now();
    await expect.poll(async () => (await state(run_id)).last_seen_at, DEADLINE).toBe(seen);
    const headers = { 'if-none-match': String(before.headers.etag) };
    const after = await operator('GET', `/control-threads/${run_id}/builder`, undefined, headers);
    expect(after).toMatchObject({ status: 200, body: { version: before.body.version } });
    const current = { 'if-none-match': String(after.headers.etag) };
    expect((await operator('GET', `/control-threads/${run_id}/builder`, undefined, current)).status).toBe(304);
  });

  it('is current in a run that others wait for, too', async () => {
    const run_id = ownRun();
    await send(agent, run_id, 'guidance_request');
    const { version } = (await operator('GET', `/runs/${run_id}`)).body;
    const wait = (seconds: number) => operator('GET', `/runs/${run_id}?wait=${seconds}&after_version=${version}`);
    const other = wait(20);
    await wait(1);
    clock.advance(60_000);
    await agent('GET', `/control-threads/${run_id}/builder/inbox`);
    await expect.poll(async () => (await state(run_id)).last_seen_at, DEADLINE).toBe(now());
    expect((await wait(1)).body.agents[0].last_seen_at).toBe(now());
    await operator('PUT', `/runs/${run_id}`, { title: 'x' });
    expect((await other).status).toBe(200);
  });
});

describe.each(engines)('agents that work in silence on %s', engine => {
  it('are counted from half an hour of silence to a day, whatever the minute', async () => {
    const clock = new ManualClock();
    const service = await startApp(engine, { overrides: { clock } });
    onTestFinished(() => service.close());
    const start = clock.time;
    const seenAt = new Map<string, number>();
    // Every 25 minutes of 27 hours, so that each hour has some, at other minutes.
    for (let agent = 0; agent < 65; agent += 1) {
      const agent_name = `agent-${agent}`;
      for (const type of ['guidance_request', 'guidance_answer']) {
        expect((await service.send('POST', '/control-signals', signal(type, { agent_name }))).status).toBe(201);
      }
      seenAt.set(agent_name, clock.time - start);
      clock.advance(25 * MINUTE);
    }
    const stalled = async () =>
      Number(/^forumbus_agents_stalled (\d+)$/m.exec(String((await service.send('GET', '/metrics')).body))?.[1]);
    for (const later of [0, 1, 4, 30, 61, 600]) {
      clock.advance(later * MINUTE);
      const silences = [...seenAt.values()].map(at => clock.time - start - at);
      expect(await stalled()).toBe(silences.filter(ms => ms > 30 * MINUTE && ms <= 24 * 60 * MINUTE).length);
    }
  });
});

describe.each(engines)('agents that were never seen on %s', engine => {
  it('are absent in their run until their first signal', async () => {
    const service = await startApp(engine);
    const brief = { agents: ['tester', 'builder'] };
    const { body: filed } = await service.send('PUT', '/runs/run-1', brief);
    expect(filed.agents.map(({ agent_name, status }: Record<string, string>) => [agent_name, status])).toEqual([
      ['tester', 'absent'],
      ['builder', 'absent'],
    ]);
    expect(filed).toMatchObject({ agents_count: 0, absent_count: 2 });
    const { control } = (await service.send('POST', '/control-signals', signal('completion'))).body;
    const { body: run } = await service.send('GET', '/runs/run-1');
    expect(run).toMatchObject({ agents_count: 1, absent_count: 1 });
    expect(run.agents).toEqual([
      control,
      { ...filed.agents[0], agent_name: 'tester', status: 'absent', version: 0, last_seen_at: null },
    ]);
    await service.close();
  });
});

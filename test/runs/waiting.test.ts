import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { ownRun, SOON_MS, settled, timed } from '../helpers/waits.ts';

/** So rarely does the service look by itself that whoever is told in time was told by the commit. */
const config = { POLL_INTERVAL_MS: '60000' };

describe.each(engines)('waiting for a run on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine, { config });
  });
  afterAll(() => service.close());

  const wait = (run_id: string, query = 'wait=30') => timed(service.send('GET', `/runs/${run_id}?${query}`));
  const signalled = async (control_type: string, run_id: string, fields: object = {}) => {
    const answer = await service.send('POST', '/control-signals', signal(control_type, { run_id, ...fields }));
    expect(answer.status).toBe(201);
    return answer.body;
  };

  it('ends as soon as its gate is ready, and not before', async () => {
    const run_id = ownRun();
    await service.send('PUT', `/runs/${run_id}`, { agents: ['builder', 'tester'], done_criteria: 'Green.' });
    const waiting = wait(run_id);
    let told = false;
    void waiting.then(() => {
      told = true;
    });
    await settled(service.send);
    const { question } = await signalled('guidance_request', run_id);
    for (const agent_name of ['builder', 'tester']) {
      await signalled('completion', run_id, { agent_name });
      await signalled('validation', run_id, { agent_name, done_criteria: 'Red.' });
      await signalled('validation', run_id, { agent_name, done_criteria: 'Green.' });
    }
    await settled(service.send);
    expect(told).toBe(false);
    const started = performance.now();
    await service.send('PUT', `/questions/${question.question_id}/answer`, { answer: 'x' });
    const { status, body } = await waiting;
    expect(performance.now() - started).toBeLessThan(SOON_MS);
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'completed', gate: { ready: true, reasons: [] } });
    expect(body).toEqual((await service.send('GET', `/runs/${run_id}`)).body);
    // Ready is ready: who asks now does not wait.
    expect((await wait(run_id)).took).toBeLessThan(SOON_MS);
  });

  it('ends when the brief is what makes the gate ready', async () => {
    const run_id = ownRun();
    await service.send('PUT', `/runs/${run_id}`, { agents: ['builder', 'nobody'] });
    await signalled('completion', run_id);
    await signalled('validation', run_id);
    const waiting = wait(run_id);
    await settled(service.send);
    await service.send('PUT', `/runs/${run_id}`, { agents: ['builder'] });
    const { took, body } = await waiting;
    expect(took).toBeLessThan(SOON_MS);
    expect(body.gate.ready).toBe(true);
  });

  it('ends with the next version for who names one, whatever has changed', async () => {
    const run_id = ownRun();
    const briefed = await service.send('PUT', `/runs/${run_id}`, { title: 'x' });
    let { version } = briefed.body;
    const { question } = await signalled('guidance_request', run_id);
    version = (await wait(run_id, `wait=30&after_version=${version}`)).body.version;
    const changes = [
      () => service.send('PUT', `/questions/${question.question_id}/answer`, { answer: 'x' }),
      () => service.send('POST', `/questions/${question.question_id}/acknowledge`),
      () => service.send('POST', `/control-threads/${run_id}/builder/attempts`),
      () => service.send('PUT', `/runs/${run_id}`, { title: 'y' }),
      () => service.send('POST', '/control-signals', signal('completion', { run_id })),
      () => service.send('POST', '/control-signals', signal('validation', { run_id })),
      () => service.send('POST', `/runs/${run_id}/close`),
    ];
    for (const change of changes) {
      const waiting = wait(run_id, `wait=30&after_version=${version}`);
      await settled(service.send);
      expect((await change()).status).toBeLessThan(300);
      const { took, body } = await waiting;
      expect(took).toBeLessThan(SOON_MS);
      expect(body.version).toBe(version + 1);
      expect(body).toEqual((await service.send('GET', `/runs/${run_id}`)).body);
      version = body.version;
    }
    expect((await wait(run_id, 'wait=30&after_version=0')).took).toBeLessThan(SOON_MS);
  });

  it('ends with the run as it is when its gate stays shut', async () => {
    const run_id = ownRun();
    await signalled('completion', run_id);
    const { took, status, body } = await wait(run_id, 'wait=1');
    expect(status).toBe(200);
    expect(body).toEqual((await service.send('GET', `/runs/${run_id}`)).body);
    expect(body.gate.ready).toBe(false);
    expect(took).toBeGreaterThan(990);
    expect(took).toBeLessThan(1000 + SOON_MS);
    expect((await wait(run_id, 'wait=0')).took).toBeLessThan(SOON_MS);
    expect((await wait(run_id, 'after_version=99')).took).toBeLessThan(SOON_MS);
  });

  it('is refused for a run that there is not, and for no number of seconds', async () => {
    const unknown = await wait('nowhere');
    expectProblem(unknown, 'RUN_NOT_FOUND');
    expect(unknown.took).toBeLessThan(SOON_MS);
    for (const query of ['wait=51', 'wait=-1', 'wait=soon', 'wait=1&after_version=-1']) {
      expectProblem(await wait('nowhere', query), 'VALIDATION_FAILED');
    }
  });

  it('misses nothing that comes at the same moment', async () => {
    for (let round = 0; round < 100; round += 1) {
      const run_id = ownRun();
      await signalled('completion', run_id);
      const waiting = wait(run_id, 'wait=50');
      for (let turn = 0; turn < round % 10; turn += 1) await new Promise(resolve => setImmediate(resolve));
      const [{ took, body }] = await Promise.all([waiting, signalled('validation', run_id)]);
      expect(body.gate.ready, `round ${round}`).toBe(true);
      expect(took, `round ${round}`).toBeLessThan(SOON_MS);
    }
  });

  it('is shared by many, some for the gate and some for any change', async () => {
    const run_id = ownRun();
    await signalled('completion', run_id);
    const forGate = Array.from({ length: 50 }, () => wait(run_id));
    const forChange = Array.from({ length: 50 }, () => wait(run_id, 'wait=30&after_version=1'));
    await settled(service.send);
    await signalled('completion', run_id);
    expect((await Promise.all(forChange)).filter(({ body }) => body.version !== 2)).toEqual([]);
    await signalled('validation', run_id);
    expect((await Promise.all(forGate)).filter(({ body }) => !body.gate.ready)).toEqual([]);
  });
});

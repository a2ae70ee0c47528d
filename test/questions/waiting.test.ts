import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { send as sendTo } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { ask, ownRun, SOON_MS, settled, timed } from '../helpers/waits.ts';

/** So rarely does the service look by itself that whoever is told in time was told by the commit. */
const config = { POLL_INTERVAL_MS: '60000' };

describe.each(engines)('waiting for a question on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine, { config });
  });
  afterAll(() => service.close());

  const wait = (id: string, query = 'wait=30') => timed(service.send('GET', `/questions/${id}?${query}`));
  const answer = (id: string, text = 'x') => service.send('PUT', `/questions/${id}/answer`, { answer: text });
  /** Waits, lets something happen, and answers what the waiter was told. */
  const whileWaiting = async (id: string, happen: () => Promise<Answer>, query?: string) => {
    const waiting = wait(id, query);
    await settled(service.send);
    expect((await happen()).status).toBeLessThan(300);
    const told = await waiting;
    expect(told.took).toBeLessThan(SOON_MS);
    expect(told.status).toBe(200);
    expect(told.body).toEqual((await service.send('GET', `/questions/${id}`)).body);
    return told.body;
  };

  it('ends as soon as it is answered', async () => {
    const { question_id: id } = await ask(service.send);
    expect(await whileWaiting(id, () => answer(id))).toMatchObject({ state: 'answered', answer: 'x', version: 2 });
  });

  it('ends as soon as it is answered by a signal', async () => {
    const { question_id: id, run_id } = await ask(service.send);
    const reply = () => service.send('POST', '/control-signals', signal('guidance_answer', { run_id }));
    expect(await whileWaiting(id, reply)).toMatchObject({ state: 'answered' });
  });

  it('ends as soon as it is cancelled', async () => {
    const { question_id: id } = await ask(service.send);
    const cancel = () => service.send('POST', `/questions/${id}/cancel`);
    expect(await whileWaiting(id, cancel)).toMatchObject({ state: 'cancelled' });
  });

  it('ends as soon as its thread is closed', async () => {
    const { question_id: id, thread_id } = await ask(service.send);
    const body = { state: 'closed', actor: { type: 'human', name: 'ana' } };
    expect(await whileWaiting(id, () => service.send('PATCH', `/threads/${thread_id}`, body))).toMatchObject({
      state: 'cancelled',
    });
  });

  it('ends as soon as it is superseded', async () => {
    const { question_id: id, run_id } = await ask(service.send);
    const request = signal('guidance_request', { run_id, supersedes: id });
    expect(await whileWaiting(id, () => service.send('POST', '/control-signals', request))).toMatchObject({
      state: 'superseded',
    });
  });

  it('ends as soon as it is acknowledged, for who knows the answer', async () => {
    const { question_id: id } = await ask(service.send);
    await answer(id);
    const acknowledge = () => service.send('POST', `/questions/${id}/acknowledge`);
    const told = await whileWaiting(id, acknowledge, 'wait=30&after_version=2');
    expect(told).toMatchObject({ version: 3, acknowledged_at: expect.any(String) });
  });

  it('ends as soon as it expires', async () => {
    const clock = new ManualClock();
    const busy = await startApp(engine, { config: { ROLE: 'all', POLL_INTERVAL_MS: '20' }, overrides: { clock } });
    try {
      const { question_id } = await ask(busy.send, { expires_in_seconds: 60, default_answer: 'x' });
      const waiting = timed(busy.send('GET', `/questions/${question_id}?wait=30`));
      await settled(busy.send);
      clock.advance(60_000);
      const { took, body } = await waiting;
      expect(took).toBeLessThan(SOON_MS);
      expect(body).toMatchObject({ state: 'expired', default_applied: true, answer: null });
    } finally {
      await busy.close();
    }
  });

  it('does not begin if there is news already', async () => {
    const { question_id: id } = await ask(service.send);
    expect((await wait(id, 'wait=30&after_version=0')).took).toBeLessThan(SOON_MS);
    await answer(id);
    for (const query of [
      'wait=30',
      'wait=30&after_version=1',
      'wait=0',
      'wait=0&after_version=9',
      'after_version=9',
      'wait=',
    ]) {
      const { took, ...told } = await wait(id, query);
      if (query === 'wait=') expectProblem(told, 'VALIDATION_FAILED');
      else expect(told.body).toMatchObject({ state: 'answered' });
      expect(took).toBeLessThan(SOON_MS);
    }
  });

  it('ends with the question as it is when nothing happens', async () => {
    const asked = await ask(service.send);
    const others = await ask(service.send);
    const waiting = [wait(asked.question_id, 'wait=1'), wait(asked.question_id, 'wait=1&after_version=7')];
    await settled(service.send);
    // What happens elsewhere, or to the agent, is no news of this question.
    await answer(others.question_id);
    await service.send('POST', '/control-signals', signal('completion', { run_id: asked.run_id }));
    for (const { took, status, body } of await Promise.all(waiting)) {
      expect(status).toBe(200);
      expect(body).toEqual(asked);
      expect(took).toBeGreaterThan(990);
      expect(took).toBeLessThan(1000 + SOON_MS);
    }
  });

  it('waits on after a change that is no news', async () => {
    const { question_id: id } = await ask(service.send);
    const waiting = wait(id, 'wait=30&after_version=2');
    await settled(service.send);
    await answer(id);
    await settled(service.send);
    await service.send('POST', `/questions/${id}/acknowledge`);
    expect((await waiting).body.version).toBe(3);
  });

  it('is refused for what is not there, and for no number of seconds', async () => {
    const unknown = await wait('q_0');
    expectProblem(unknown, 'QUESTION_NOT_FOUND');
    expect(unknown.took).toBeLessThan(SOON_MS);
    const { question_id: id } = await ask(service.send);
    for (const query of ['wait=51', 'wait=-1', 'wait=1.5', 'wait=soon', 'wait=NaN', 'wait=1&wait=2']) {
      const refused = await wait(id, query);
      expectProblem(refused, 'VALIDATION_FAILED');
      expect(refused.body.errors).toMatchObject([{ in: 'query', pointer: '/wait' }]);
    }
    for (const after of ['-1', '1.5', 'new', '1e99']) {
      expectProblem(await wait(id, `wait=30&after_version=${after}`), 'VALIDATION_FAILED');
    }
  });

  it('is shared by many, on one question and on many', async () => {
    const many = await Promise.all(Array.from({ length: 40 }, () => ask(service.send)));
    const waiting = many.flatMap(({ question_id }) => Array.from({ length: 25 }, () => wait(question_id)));
    await settled(service.send);
    await Promise.all(many.map(({ question_id }) => answer(question_id, question_id)));
    const told = await Promise.all(waiting);
    expect(told.map(({ body }) => body.answer)).toEqual(many.flatMap(one => Array(25).fill(one.question_id)));
  });

  it.each([
    ['alone', false],
    ['beside another', true],
  ])(
    'misses no answer that comes at the same moment, %s',
    async (_, accompanied) => {
      const company = accompanied ? await ask(service.send) : undefined;
      const companion = company && wait(company.question_id, 'wait=50');
      for (let round = 0; round < 100; round += 1) {
        const { question_id: id } = await ask(service.send);
        // One begins somewhat later than the other, so that the answer falls into every gap there may be.
        const [told] = await Promise.all([
          turns(round % 3 === 0 ? round % 16 : 0).then(() => wait(id, 'wait=50')),
          turns(round % 3 === 0 ? 0 : round % 10).then(() => answer(id)),
        ]);
        expect(told.body.state, `round ${round}`).toBe('answered');
        expect(told.took, `round ${round}`).toBeLessThan(SOON_MS);
      }
      if (company) await answer(company.question_id);
      expect((await companion)?.body.state).toBe(company && 'answered');
    },
    60_000,
  );

  it('ends at once and unchanged when the service stops', async () => {
    const stopping = await startApp(engine, { config });
    const origin = `http://127.0.0.1:${await listen(stopping.app)}`;
    const asked = await ask(stopping.send);
    const waiting = [
      ...Array.from({ length: 20 }, () => timed(sendTo(origin, 'GET', `/questions/${asked.question_id}?wait=50`))),
      timed(sendTo(origin, 'POST', '/control-signals?wait=50', signal('guidance_request', { run_id: ownRun() }))),
      timed(sendTo(origin, 'GET', `/runs/${asked.run_id}?wait=50`)),
    ];
    let arrived = 0;
    await new Promise<void>(resolve => {
      stopping.app.server.on('request', () => {
        arrived += 1;
        if (arrived === waiting.length) resolve();
      });
    });
    await settled(stopping.send);
    const closing = timed(stopping.close().then(() => ({})));
    const told = await Promise.all(waiting);
    expect(told.map(({ status }) => status)).toEqual([...Array(20).fill(200), 201, 200]);
    expect(told.slice(0, 20).map(({ body }) => body)).toEqual(Array(20).fill(asked));
    expect(told.at(-2)?.body.question.state).toBe('open');
    expect(told.at(-1)?.body.open_questions).toEqual([asked]);
    expect((await closing).took).toBeLessThan(SOON_MS);
  });
});

/** Lets the event loop turn so many times. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise(resolve => setImmediate(resolve));
}

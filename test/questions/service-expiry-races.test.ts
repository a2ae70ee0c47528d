import { describe, expect, it, onTestFinished } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import type { TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { Expiries, startTimed } from '../helpers/expiry.ts';
import { expectProblem } from '../helpers/problems.ts';
import { forThisTest } from '../helpers/process.ts';
import { aRun } from '../helpers/runs.ts';

/** A database, and services that come and go on it with the same clock. */
async function stage(engine: Engine) {
  const database = await forThisTest(scratchDatabase(engine));
  const clock = new ManualClock();
  const expiries = new Expiries();
  const start = async (role: string): Promise<TestApp> => {
    const service = await startTimed(engine, { clock, expiries, database, role });
    onTestFinished(service.close);
    return service;
  };
  return { clock, expiries, start };
}

const stateOf = async (service: TestApp, id: string): Promise<string> =>
  (await service.send('GET', `/questions/${id}`)).body.state;

describe.each(engines)('expiry of questions on %s', engine => {
  it('comes at the next start if nothing ran at the time, and only once', async () => {
    const { clock, expiries, start } = await stage(engine);
    const before = await start('all');
    const id = await aRun(before.send, 'run-1').ask('builder', { expires_in_seconds: 5, default_answer: 'Asia.' });
    await before.close();
    clock.advance(3_600_000);
    const service = await start('all');
    await expiries.of(id);
    expect(await stateOf(service, id)).toBe('expired');
    // Each start begins with a look at what is overdue, and each end waits for that look.
    await service.restart();
    await service.restart();
    const run = aRun(service.send, 'run-1');
    const [event, ...others] = await run.events('forum.question.expired');
    expect(others).toEqual([]);
    // It expired when somebody noticed; the time that it had was another one.
    expect(event).toMatchObject({ occurred_at: new Date(clock.now()).toISOString() });
    expect(await run.row()).toMatchObject({ open_questions_count: 0, version: 2 });
    expect(expiries.messages).toHaveLength(1);
  });

  it('is no matter of a service that only serves HTTP', async () => {
    const { clock, expiries, start } = await stage(engine);
    const http = await start('http');
    const ask = (agent: string) => aRun(http.send, 'run-1').ask(agent, { expires_in_seconds: 5 });
    const [overdue, answered] = [await ask('a'), await ask('b')];
    clock.advance(5_000);
    await http.restart();
    await http.send('POST', '/bus/process');
    expect([await stateOf(http, overdue), await stateOf(http, answered)]).toEqual(['open', 'open']);
    // As long as nobody has let it expire, it can be answered, and then it does not expire any more.
    await aRun(http.send, 'run-1').answer(answered);
    // On PostgreSQL the two may run side by side.
    if (engine === 'sqlite') await http.close();
    const worker = await start(engine === 'sqlite' ? 'all' : 'worker');
    await expiries.of(overdue);
    const reader = engine === 'sqlite' ? worker : http;
    expect([await stateOf(reader, overdue), await stateOf(reader, answered)]).toEqual(['expired', 'answered']);
    expect(await aRun(reader.send, 'run-1').events('forum.question.expired')).toHaveLength(1);
  });

  it('and answers that race it have one winner per question', async () => {
    const { clock, expiries, start } = await stage(engine);
    const service = await start('all');
    const states = new Set<string>();
    for (let round = 0; round < 3; round += 1) {
      const run = aRun(service.send, `run-${round}`);
      const ids: string[] = [];
      for (let n = 0; n < 32; n += 1) ids.push(await run.ask(`agent ${n % 8}`, { expires_in_seconds: 5 }));
      const expire = ids[round];
      // Answers on four ways, one after the other on each. On the first, everything becomes overdue, and the last one expires.
      const answer = async (id: string) => {
        const sending = service.send('PUT', `/questions/${id}/answer`, { answer: 'Europe.' });
        if (id === expire) clock.advance(5_000);
        return { id, answer: await sending };
      };
      const ways = [0, 1, 2, 3].map(async way => {
        const results: Awaited<ReturnType<typeof answer>>[] = [];
        for (const id of ids.slice(8 * way, 8 * way + 8)) {
          results.push(await answer(id));
          if (id === expire) await expiries.of(ids[7] as string);
        }
        return results;
      });
      for (const result of (await Promise.all(ways)).flat()) {
        const { body } = await service.send('GET', `/questions/${result.id}`);
        states.add(body.state);
        expect(body.version).toBe(2);
        if (body.state === 'answered') {
          expect(result.answer.status).toBe(200);
          expect(body).toMatchObject({ answer: 'Europe.', default_applied: false });
        } else {
          expectProblem(result.answer, 'QUESTION_CLOSED');
          expect(body).toMatchObject({ state: 'expired', answer: null, answered_at: null });
        }
        if (body.state === 'expired') await expiries.of(result.id);
      }
      const ends = await Promise.all(['answered', 'expired'].map(end => run.events(`forum.question.${end}`)));
      const ended = ends.flat().map(({ payload }) => (payload as { question_id: string }).question_id);
      expect(ended.sort()).toEqual(ids.sort());
      expect(await run.row()).toMatchObject({ open_questions_count: 0, status: 'running' });
    }
    expect([...states].sort()).toEqual(['answered', 'expired']);
  });
});

describe('expiry of questions by two services on one PostgreSQL', () => {
  it('happens once per question', async () => {
    const { clock, expiries, start } = await stage('postgres');
    const services = [await start('all'), await start('all')] as [TestApp, TestApp];
    for (let round = 0; round < 2; round += 1) {
      const run = aRun(services[0].send, `run-${round}`);
      const ids: string[] = [];
      for (let n = 0; n < 60; n += 1) ids.push(await run.ask(`agent ${n % 6}`, { expires_in_seconds: 5 }));
      clock.advance(5_000);
      await Promise.all(ids.map(id => expiries.of(id)));
      const expired = await run.events('forum.question.expired');
      const questions = expired.map(({ payload }) => (payload as { question_id: string }).question_id);
      expect(questions.sort()).toEqual(ids.sort());
      expect(await run.row()).toMatchObject({ open_questions_count: 0 });
    }
    // Each message was handed to one of the two.
    expect(expiries.messages).toHaveLength(120);
  });
});

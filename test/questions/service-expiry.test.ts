import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { Expiries, startTimed } from '../helpers/expiry.ts';
import { expectProblem } from '../helpers/problems.ts';
import { aRun } from '../helpers/runs.ts';

describe.each(engines)('a question with a time limit on %s', engine => {
  const clock = new ManualClock();
  const expiries = new Expiries();
  let service: TestApp;
  let runs = 0;
  beforeAll(async () => {
    service = await startTimed(engine, { clock, expiries });
  });
  afterAll(() => service.close());

  const newRun = () => aRun(service.send, `run-${++runs}`);
  const read = async (path: string) => (await service.send('GET', path)).body;
  const question = (id: string) => read(`/questions/${id}`);
  const control = async (run: ReturnType<typeof newRun>) => (await run.snapshot()).agents[0];

  it.each([
    ['whose default answer then stands', 'Europe.', true],
    ['without a default answer, of which nothing is made up', undefined, false],
  ])('expires, %s', async (_name, default_answer, default_applied) => {
    const run = newRun();
    const asked_at = new Date(clock.now()).toISOString();
    const id = await run.ask('builder', { expires_in_seconds: 10, default_answer });
    expect(await question(id)).toMatchObject({ state: 'open', default_applied: false });
    clock.advance(10_000);
    const message = await expiries.of(id);

    const expires_at = new Date(clock.now()).toISOString();
    expect(await question(id)).toMatchObject({
      ...{ state: 'expired', version: 2, asked_at, expires_at },
      ...{ default_answer: default_answer ?? null, default_applied },
      // A time that ran out is nobody's answer.
      ...{ answer: null, selected: [], answered_by: null, answered_at: null, acknowledged_at: null },
    });
    const { thread_id, status, open_questions, version } = await control(run);
    expect({ status, open_questions, version }).toEqual({ status: 'working', open_questions: [], version: 2 });
    expect(await read(`/threads/${thread_id}`)).toMatchObject({
      ...{ state: 'waiting_operator', unanswered: true, updated_at: expires_at },
    });
    expect(
      (await read('/questions?state=expired')).items.map((item: { question_id: string }) => item.question_id),
    ).toContain(id);
    const row = { status: 'running', open_questions_count: 0, version: 2, updated_at: expires_at };
    expect(await run.row()).toMatchObject(row);

    const [expired] = (await run.events()).slice(-1);
    expect(expired).toMatchObject({
      event_type: 'forum.question.expired',
      occurred_at: expires_at,
      thread_id,
      agent_name: 'builder',
      actor: { type: 'system', name: 'forumbus' },
      payload: { question_id: id, default_applied },
    });
    expect(await run.events('forum.question.expired')).toHaveLength(1);
    expect(message).toMatchObject({
      topic: 'forum.events.question.expired',
      message_key: thread_id,
      payload: expired,
      attempts: 1,
    });
    const listed = async (state: string) =>
      (await read(`/questions?run_id=run-${runs}&state=${state}`)).items.map(
        (item: { question_id: string }) => item.question_id,
      );
    expect([await listed('open'), await listed('expired')]).toEqual([[], [id]]);
  });

  it('does not expire before its time, and leaves others in its thread open', async () => {
    const run = newRun();
    const endless = await run.ask('other');
    const later = await run.ask('builder', { expires_in_seconds: 6 });
    const sooner = await run.ask('builder', { expires_in_seconds: 5 });
    // Whoever looks for what is overdue at this time finds the one and must not find the other.
    clock.advance(5_999);
    await expiries.of(sooner);
    expect(await question(later)).toMatchObject({ state: 'open', version: 1 });
    const { thread_id, ...state } = await control(run);
    expect(state).toMatchObject({ status: 'awaiting_guidance', open_questions: [later] });
    expect((await read(`/threads/${thread_id}`)).state).toBe('waiting_operator');
    expect(await run.row()).toMatchObject({ status: 'awaiting_guidance', open_questions_count: 2 });
    clock.advance(1);
    await expiries.of(later);
    expect((await read(`/threads/${thread_id}`)).state).toBe('waiting_operator');
    expect(await question(endless)).toMatchObject({ state: 'open', version: 1, expires_at: null });
    expect(await run.row()).toMatchObject({ status: 'awaiting_guidance', open_questions_count: 1 });
  });

  it('lets the gate open when it was the last thing in the way', async () => {
    const run = newRun();
    const id = await run.ask('builder', { expires_in_seconds: 5 });
    await run.finish('builder');
    expectProblem(await run.close(), 'GATE_BLOCKED');
    clock.advance(5_000);
    await expiries.of(id);
    expect(await control(run)).toMatchObject({ status: 'validated' });
    expect(await run.snapshot()).toMatchObject({ status: 'completed', open_questions: [], gate: { ready: true } });
    expect((await run.close()).status).toBe(200);
  });

  it('is closed to everything that comes later', async () => {
    const run = newRun();
    const id = await run.ask('builder', { expires_in_seconds: 5, default_answer: 'Europe.' });
    clock.advance(5_000);
    await expiries.of(id);
    const before = await run.events();
    const asked = await question(id);
    for (const late of [
      // The default answer is no stored answer that could be repeated.
      await service.send('PUT', `/questions/${id}/answer`, { answer: 'Europe.' }),
      await run.signal('guidance_answer', 'builder', { in_reply_to: id, answer: 'Asia.' }),
      await service.send('POST', `/questions/${id}/cancel`),
      await run.signal('guidance_request', 'builder', { supersedes: id }),
    ]) {
      expectProblem(late, 'QUESTION_CLOSED');
      expect(late.body).toMatchObject({ question_id: id, state: 'expired' });
    }
    expectProblem(await run.signal('guidance_answer', 'builder'), 'NO_OPEN_QUESTION');
    expect(await run.events()).toEqual(before);
    expect(await question(id)).toEqual(asked);
  });

  it('does not expire once it is answered, cancelled or superseded', async () => {
    const run = newRun();
    const limit = { expires_in_seconds: 5, default_answer: 'Asia.' };
    const answered = await run.ask('a', limit);
    const cancelled = await run.ask('b', limit);
    const superseded = await run.ask('c', limit);
    const marker = await run.ask('d', limit);
    clock.advance(4_999);
    await run.answer(answered);
    await service.send('POST', `/questions/${cancelled}/cancel`);
    const endless = await run.ask('c', { supersedes: superseded });
    const before = await Promise.all([answered, cancelled, superseded, endless].map(question));
    expect(before.map(({ state }) => state)).toEqual(['answered', 'cancelled', 'superseded', 'open']);
    clock.advance(1);
    // It expires in the same look at what is overdue in which the others would.
    await expiries.of(marker);
    expect(await Promise.all([answered, cancelled, superseded, endless].map(question))).toEqual(before);
    const expired = await run.events('forum.question.expired');
    expect(expired).toMatchObject([{ payload: { question_id: marker } }]);
  });

  it('expires at the end of a chain of questions that supersede each other, and only there', async () => {
    const run = newRun();
    const first = await run.ask('builder', { expires_in_seconds: 5 });
    const second = await run.ask('builder', { expires_in_seconds: 6, supersedes: first });
    const last = await run.ask('builder', { expires_in_seconds: 7, supersedes: second, default_answer: 'Asia.' });
    clock.advance(7_000);
    await expiries.of(last);
    expect(await question(first)).toMatchObject({ state: 'superseded', supersedes: null, version: 2 });
    expect(await question(second)).toMatchObject({ state: 'superseded', supersedes: first, version: 2 });
    expect(await question(last)).toMatchObject({ state: 'expired', supersedes: second, default_applied: true });
    expect(await run.events('forum.question.expired')).toMatchObject([{ payload: { question_id: last } }]);
    expect(await control(run)).toMatchObject({ status: 'working', open_questions: [] });
  });

  it('expires with any number of others at once, each by itself', async () => {
    const run = newRun();
    const ids: string[] = [];
    for (let n = 0; n < 120; n += 1) ids.push(await run.ask(`agent ${n % 3}`, { expires_in_seconds: 5 }));
    clock.advance(5_000);
    await Promise.all(ids.map(id => expiries.of(id)));
    const expired = await run.events('forum.question.expired');
    expect(expired.map(({ payload }) => (payload as { question_id: string }).question_id).sort()).toEqual(ids.sort());
    const row = await run.row();
    expect(row).toMatchObject({ open_questions_count: 0, agents_count: 3 });
    // Those of one agent expire in one act.
    expect(row.version).toBeLessThan(160);
  });
});

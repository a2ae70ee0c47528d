import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';

describe.each(engines)('control signals on %s', engine => {
  let service: TestApp;
  let run = 0;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());
  beforeEach(() => {
    run += 1;
  });

  /** Sends a signal of this test's own run. */
  const send = (type: string, fields: object = {}) =>
    service.send('POST', '/control-signals', signal(type, { run_id: `run-${run}`, ...fields }));
  const ask = async (fields: object = {}): Promise<string> =>
    (await send('guidance_request', fields)).body.question.question_id;
  const state = () => service.send('GET', `/control-threads/run-${run}/builder`);
  const events = async () => (await service.send('GET', `/events?run_id=run-${run}`)).body.items;
  const messages = async () => {
    const { thread_id } = (await state()).body;
    return (await service.send('GET', `/outbox?message_key=${thread_id}`)).body.items;
  };

  it('answers the first signal with its signal, thread, control state and question', async () => {
    const { status, headers, body } = await send('guidance_request', { ticket: 'T-1', context: 'Staging.' });
    expect(status).toBe(201);
    expect(headers.location).toBe(`/control-signals/${body.signal.signal_id}`);
    expect(body.signal).toMatchObject({
      control_type: 'guidance_request',
      question: 'Which region?',
      context: 'Staging.',
      ticket: 'T-1',
      attempt: 1,
      actor: { type: 'agent', name: 'builder' },
      correlation_id: body.signal.signal_id,
      causation_id: null,
    });
    expect(body.thread).toMatchObject({ kind: 'control', state: 'waiting_operator', ticket: 'T-1', posts_count: 1 });
    expect(body.control).toMatchObject({ status: 'awaiting_guidance', open_questions: [body.question.question_id] });
    expect(body.question).toMatchObject({ state: 'open', question: 'Which region?', answer: null, priority: 'normal' });
    expect((await service.send('GET', headers.location as string)).body).toEqual(body.signal);
    expect((await service.send('GET', `/threads/${body.thread.thread_id}`)).body).toEqual(body.thread);
    expect((await state()).body).toEqual(body.control);
    expect((await service.send('GET', `/questions/${body.question.question_id}`)).body).toEqual(body.question);
  });

  it('appends one event per change, and nothing for consumers', async () => {
    const question = await ask();
    await send('guidance_answer');
    const log = await events();
    expect(log.map((event: { event_type: string }) => event.event_type)).toEqual([
      'forum.thread.opened',
      'forum.control.signal',
      'forum.question.opened',
      'forum.state.changed',
      'forum.control.signal',
      'forum.question.answered',
      'forum.state.changed',
    ]);
    expect(log[5].payload).toMatchObject({ question_id: question, answer: 'Europe.', selected: [] });
    expect(await messages()).toEqual([]);
  });

  it('shows each signal as a post of the thread', async () => {
    await ask();
    await send('guidance_answer', { actor: { type: 'human', name: 'ana' } });
    await send('completion', { summary: 'Done.' });
    await send('validation', { status: 'failed', done_criteria: 'Green.' });
    const { thread_id } = (await state()).body;
    const { items } = (await service.send('GET', `/threads/${thread_id}/posts`)).body;
    expect(items.map((post: { body: string }) => post.body)).toEqual([
      'Which region?',
      'Europe.',
      'Done.',
      'Validation failed: Green.',
    ]);
    expect(items[1]).toMatchObject({ control_type: 'guidance_answer', actor: { type: 'human', name: 'ana' } });
  });

  it('derives the status from completion and validation in either order, the latest of each', async () => {
    const status = async () => (await state()).body.status;
    await send('validation', { status: 'passed' });
    expect(await status()).toBe('working');
    await send('completion');
    expect(await status()).toBe('validated');
    await send('validation', { status: 'failed' });
    expect(await status()).toBe('validation_failed');
    await ask();
    expect(await status()).toBe('awaiting_guidance');
    await send('guidance_answer');
    expect(await status()).toBe('validation_failed');
    await send('validation', { status: 'passed', evidence: [{ kind: 'report', ref: 'a.xml' }] });
    const { body } = await state();
    expect(body).toMatchObject({ status: 'validated', completion: { summary: null, evidence: [] } });
    expect(body.validation).toMatchObject({ status: 'passed', evidence: [{ kind: 'report', ref: 'a.xml' }] });
  });

  it('forgets completion and validation with the next attempt, and refuses signals of another one', async () => {
    await send('completion');
    const next = await service.send('POST', `/control-threads/run-${run}/builder/attempts`);
    expect(next.status).toBe(201);
    expect(next.body).toMatchObject({ attempt: 2, status: 'working', completion: null, validation: null });
    const stale = await send('completion', { attempt: 1 });
    expect(stale).toMatchObject({ status: 409, body: { code: 'STALE_ATTEMPT', attempt: 2 } });
    expect((await send('completion', { attempt: 2 })).status).toBe(201);
    expect((await service.send('POST', '/control-threads/nobody/here/attempts')).body.code).toBe(
      'CONTROL_THREAD_NOT_FOUND',
    );
  });

  describe('answers', () => {
    it('close the only open question', async () => {
      const id = await ask();
      const { status, body } = await send('guidance_answer');
      expect(status).toBe(201);
      expect(body.signal.question_id).toBe(id);
      expect(body.question).toMatchObject({
        question_id: id,
        state: 'answered',
        answer: 'Europe.',
        answered_by: { type: 'operator', name: 'operator' },
        acknowledged_at: null,
      });
      expect(body.thread.state).toBe('answered');
      expect(body.control).toMatchObject({ status: 'working', open_questions: [] });
    });

    it('are refused when no question is open, leaving no thread behind', async () => {
      expect(await send('guidance_answer')).toMatchObject({ status: 409, body: { code: 'NO_OPEN_QUESTION' } });
      expect((await state()).status).toBe(404);
    });

    it('must name their question when several are open', async () => {
      const ids = [await ask(), await ask()];
      expect(await send('guidance_answer')).toMatchObject({
        status: 409,
        body: { code: 'AMBIGUOUS_ANSWER', question_ids: ids },
      });
      const { body } = await send('guidance_answer', { in_reply_to: ids[1] });
      expect(body.question.question_id).toBe(ids[1]);
      expect(body.control.open_questions).toEqual([ids[0]]);
      expect(body.thread.state).toBe('waiting_operator');
    });

    it('win once: the same again is the stored one, another one is refused with the winner', async () => {
      const id = await ask({ options: [{ label: 'a' }, { label: 'b' }], multi_select: true });
      const first = await send('guidance_answer', { in_reply_to: id, selected: ['a', 'b'] });
      const again = await send('guidance_answer', { in_reply_to: id, selected: ['b', 'a'] });
      expect(again.status).toBe(200);
      expect(again.body).toEqual(first.body);
      const count = (await events()).length;
      const other = await send('guidance_answer', { in_reply_to: id, answer: 'Asia.' });
      expect(other).toMatchObject({
        status: 409,
        body: { code: 'ALREADY_ANSWERED', question_id: id, answer: 'Europe.', selected: ['a', 'b'] },
      });
      const put = await service.send('PUT', `/questions/${id}/answer`, { answer: 'Asia.' });
      expect(put).toMatchObject({ status: 409, body: { code: 'ALREADY_ANSWERED', answer: 'Europe.' } });
      expect((await events()).length).toBe(count);
    });

    it('through PUT have the same effect as a signal', async () => {
      const id = await ask();
      const actor = { type: 'human', name: 'ana' };
      const { status, body } = await service.send('PUT', `/questions/${id}/answer`, { answer: 'Europe.', actor });
      expect(status).toBe(200);
      expect(body).toMatchObject({ state: 'answered', answered_by: actor, version: 2 });
      const stored = (await events()).at(-3);
      expect(stored).toMatchObject({
        event_type: 'forum.control.signal',
        actor,
        payload: { control_type: 'guidance_answer', in_reply_to: id, answer: 'Europe.' },
      });
      expect((await service.send('PUT', `/questions/${id}/answer`, { answer: 'Europe.' })).body).toEqual(body);
      expect((await service.send('PUT', '/questions/q_nothing/answer', { answer: 'x' })).status).toBe(404);
    });

    it('may select options of the question only', async () => {
      const id = await ask({ options: [{ label: 'a' }, { label: 'b' }] });
      for (const selected of [['c'], ['a', 'b'], ['a', 'a']]) {
        expect((await send('guidance_answer', { in_reply_to: id, selected })).body.code).toBe('INVALID_SELECTION');
      }
      expect((await send('guidance_answer', { in_reply_to: id, selected: ['b'] })).status).toBe(201);
    });

    it("cannot land on another agent's question", async () => {
      const id = await ask();
      const other = await send('guidance_answer', { agent_name: 'tester', in_reply_to: id });
      expect(other).toMatchObject({ status: 422, body: { code: 'QUESTION_MISMATCH' } });
      expect((await service.send('GET', `/questions/${id}`)).body.state).toBe('open');
    });
  });

  it('lets a request supersede an open question of the same agent', async () => {
    const old = await ask();
    const { body } = await send('guidance_request', { question: 'Which zone?', supersedes: old });
    expect(body.question).toMatchObject({ supersedes: old, state: 'open' });
    expect(body.control.open_questions).toEqual([body.question.question_id]);
    expect((await service.send('GET', `/questions/${old}`)).body).toMatchObject({ state: 'superseded', version: 2 });
    expect((await send('guidance_answer', { in_reply_to: old })).body).toMatchObject({
      code: 'QUESTION_CLOSED',
      state: 'superseded',
    });
    expect((await send('guidance_request', { supersedes: old })).body.code).toBe('QUESTION_CLOSED');
  });

  it('is refused by a closed control thread, except for an answer that is stored already', async () => {
    const id = await ask();
    await send('guidance_answer', { in_reply_to: id });
    const { thread_id } = (await state()).body;
    const closing = { body: 'Over.', state: 'closed', actor: { type: 'operator', name: 'ana' } };
    expect((await service.send('POST', `/threads/${thread_id}/posts`, closing)).body.thread.state).toBe('closed');
    for (const type of ['guidance_request', 'guidance_answer', 'completion', 'validation']) {
      expect(await send(type)).toMatchObject({ status: 409, body: { code: 'THREAD_CLOSED' } });
    }
    expect((await send('guidance_answer', { in_reply_to: id })).status).toBe(200);
  });

  it('is made by signals only: a post that looks like one is text', async () => {
    await send('completion');
    const { thread_id } = (await state()).body;
    const forged = JSON.stringify(signal('validation', { run_id: `run-${run}` }));
    const post = { body: forged, actor: { type: 'agent', name: 'builder' } };
    const { status, body } = await service.send('POST', `/threads/${thread_id}/posts`, post);
    expect(status).toBe(201);
    expect(body.post).toMatchObject({ body: forged, control_type: null, signal_id: null });
    expect((await state()).body).toMatchObject({ status: 'completed', validation: null, version: 1 });
    const id = body.post.post_id.replace('post_', 'sig_');
    expect((await service.send('GET', `/control-signals/${id}`)).status).toBe(404);
  });
});

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { withoutTrace } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { agent, conversation, operator } from '../helpers/threads.ts';

/** The moves as the contract words them, written down here once more so that the service's own table is not believed. */
const moves: Record<string, string[]> = {
  new: ['triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed'],
  triaged: ['waiting_operator', 'waiting_human', 'answered', 'closed'],
  waiting_operator: ['waiting_human', 'answered', 'triaged', 'closed'],
  waiting_human: ['waiting_operator', 'answered', 'triaged', 'closed'],
  answered: ['waiting_operator', 'waiting_human', 'closed'],
  closed: [],
};
const states = Object.keys(moves);
const pairs = states.flatMap(from => states.map(to => [from, to] as const));
const ways = ['PATCH', 'reply'] as const;

describe.each(engines)('moves on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const { open, view, post, change, signal, events } = conversation((...request) => service.send(...request));

  const changesNothing = <T>(request: () => Promise<T>) => withoutTrace(service.url, request);
  /** Asks for a state in one of the two ways. */
  const ask = (way: (typeof ways)[number], threadId: string, state: string) =>
    way === 'PATCH' ? change(threadId, { state }) : post(threadId, { state });

  describe.each(ways)('by %s', way => {
    it.each(pairs)('from %s to %s', async (from, to) => {
      // A new thread may go anywhere, so each state is one request away.
      const { thread_id } = await open();
      if (from !== 'new') await change(thread_id, { state: from });
      const before = await view(thread_id);
      expect(before.state).toBe(from);

      const request = () => ask(way, thread_id, to);
      if (from === to && way === 'PATCH') {
        expect(await changesNothing(request)).toMatchObject({ status: 200, body: before });
        return;
      }
      if (from === 'closed') {
        expectProblem(await changesNothing(request), 'THREAD_CLOSED');
        return;
      }
      if (from !== to && !moves[from]?.includes(to)) {
        const answer = await changesNothing(request);
        expectProblem(answer, 'TRANSITION_NOT_ALLOWED');
        expect(answer.body.allowed.toSorted()).toEqual(moves[from]?.toSorted());
        return;
      }
      const { status, body } = await request();
      expect(status).toBe(way === 'PATCH' ? 200 : 201);
      expect(body.thread ?? body).toMatchObject({ state: to, version: before.version + 1 });
      const types = (await events(before.last_sequence)).map(event => event.event_type);
      expect(types).toEqual([
        ...(way === 'reply' ? ['forum.post.added'] : []),
        ...(from === to ? [] : ['forum.state.changed']),
        ...(to === 'closed' ? ['forum.thread.closed'] : []),
      ]);
    });
  });

  describe('of a control thread', () => {
    let runs = 0;
    /** An agent of its own, which has reported completion; its control thread is new. */
    async function agentOfItsOwn() {
      runs += 1;
      const run_id = `run-${engine}-${runs}`;
      const { thread_id } = (await signal('completion', { run_id })).body.thread;
      const question = async (fields: object = {}): Promise<string> => {
        const { status, body } = await signal('guidance_request', { run_id, ...fields });
        expect(status).toBe(201);
        return body.question.question_id;
      };
      const answer = async (in_reply_to: string) => signal('guidance_answer', { run_id, in_reply_to });
      const state = async () => (await view(thread_id)).state;
      return { run_id, thread_id, question, answer, state };
    }

    it('follow its questions', async () => {
      const { run_id, thread_id, question, answer, state } = await agentOfItsOwn();
      expect(await state()).toBe('new');
      const first = await question();
      expect(await state()).toBe('waiting_operator');
      const second = await question();
      await answer(first);
      expect(await state()).toBe('waiting_operator');
      const third = await question({ supersedes: second });
      await signal('validation', { run_id });
      expect(await state()).toBe('waiting_operator');
      await service.send('POST', `/questions/${third}/cancel`, {});
      expect(await state()).toBe('answered');
      await answer(await question());
      expect(await state()).toBe('answered');

      const changes = await events(0, `&thread_id=${thread_id}&event_type=forum.state.changed`);
      expect(changes.map(({ payload }) => payload.to)).toEqual([
        'waiting_operator',
        'answered',
        'waiting_operator',
        'answered',
      ]);
    });

    it.each(['triaged', 'waiting_operator', 'waiting_human', 'answered'])(
      'obey the table while no question is open, and a question takes it from %s to its operator',
      async from => {
        const { thread_id, question, answer, state } = await agentOfItsOwn();
        expect((await change(thread_id, { state: from })).status).toBe(200);
        expectProblem(await change(thread_id, { state: 'new' }), 'TRANSITION_NOT_ALLOWED');
        const id = await question();
        expect(await state()).toBe('waiting_operator');
        await answer(id);
        expect(await state()).toBe('answered');
      },
    );

    it.each(ways)('go nowhere but to closed by %s while a question is open', async way => {
      const { thread_id, question } = await agentOfItsOwn();
      await question();
      for (const state of ['new', 'triaged', 'waiting_human', 'answered']) {
        const answer = await changesNothing(() => ask(way, thread_id, state));
        expectProblem(answer, 'TRANSITION_NOT_ALLOWED');
        expect(answer.body.allowed).toEqual(['closed']);
      }
      const { body } = await ask(way, thread_id, 'waiting_operator');
      expect((body.thread ?? body).state).toBe('waiting_operator');
    });

    it.each(ways)('to closed by %s cancels its open questions and ends the talk', async way => {
      const { run_id, thread_id, question, answer } = await agentOfItsOwn();
      const decided = await question();
      await answer(decided);
      const open = [await question(), await question({ priority: 'urgent' })];
      const elsewhere = (await signal('guidance_request', { run_id, agent_name: 'tester' })).body.question.question_id;
      const run = async () => (await service.send('GET', `/runs/${run_id}`)).body;
      const summary = async () =>
        (await service.send('GET', '/runs?limit=200')).body.items.find(
          (row: { run_id: string }) => row.run_id === run_id,
        );
      expect(await summary()).toMatchObject({ status: 'awaiting_guidance', open_questions_count: 3 });
      const before = (await events()).at(-1)?.sequence;

      const { body } = await ask(way, thread_id, 'closed');
      const thread = body.thread ?? body;
      expect(thread).toMatchObject({ state: 'closed', unanswered: false, last_actor: operator });
      expect(thread.closed_at).toBe(thread.updated_at);
      expect(await view(thread_id)).toEqual(thread);

      const written = await events(before);
      const cancelled = written.filter(event => event.event_type === 'forum.question.cancelled');
      expect(cancelled.map(event => event.payload.question_id).sort()).toEqual(open.toSorted());
      for (const event of written) expect(event).toMatchObject({ thread_id, actor: operator });
      expect(written.slice(-2).map(event => event.event_type)).toEqual(['forum.state.changed', 'forum.thread.closed']);
      const stateOf = async (id: string) => (await service.send('GET', `/questions/${id}`)).body.state;
      expect(await Promise.all([decided, ...open, elsewhere].map(stateOf))).toEqual([
        'answered',
        'cancelled',
        'cancelled',
        'open',
      ]);
      const control = (await service.send('GET', `/control-threads/${run_id}/builder`)).body;
      expect(control).toMatchObject({ open_questions: [], status: 'completed' });
      // What another agent of the run waits for stays.
      expect(await summary()).toMatchObject({ status: 'awaiting_guidance', open_questions_count: 1 });
      const other = (await service.send('GET', `/questions/${elsewhere}`)).body.thread_id;
      await ask(way, other, 'closed');
      expect(await summary()).toMatchObject({ status: 'running', open_questions_count: 0 });
      expect((await run()).open_questions).toEqual([]);

      await changesNothing(async () => {
        for (const type of ['guidance_request', 'guidance_answer', 'completion', 'validation']) {
          expectProblem(await signal(type, { run_id }), 'THREAD_CLOSED');
        }
        expectProblem(await answer(open[0] as string), 'THREAD_CLOSED');
        expectProblem(await post(thread_id, { actor: agent }), 'THREAD_CLOSED');
      });
    });

    it('to closed with If-Match asks for the version that its caller saw, and cancels nothing if it is stale', async () => {
      const { thread_id, question } = await agentOfItsOwn();
      await question();
      const { version } = await view(thread_id);
      const close = (seen: number) => change(thread_id, { state: 'closed' }, { 'if-match': `"${seen}"` });
      expectProblem(await changesNothing(() => close(version - 1)), 'PRECONDITION_FAILED');
      const { status, body } = await close(version);
      expect({ status, state: body.state }).toEqual({ status: 200, state: 'closed' });
    });
  });
});

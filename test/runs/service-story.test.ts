import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { handler } from '../helpers/handling.ts';
import { aRun, reasons } from '../helpers/runs.ts';

const ana = { type: 'operator', name: 'ana' };
const reviewer = { type: 'agent', name: 'reviewer' };
const plan = {
  ticket: 'TCK-1',
  title: 'Move to Europe',
  done_criteria: 'Tests are green.',
  agents: ['builder', 'tester'],
};

describe.each(engines)('the life of a run on %s', engine => {
  let service: TestApp;
  const handled: number[] = [];
  const recording = handler('forum.events.**', ({ payload }) => {
    handled.push((payload as { sequence: number }).sequence);
  });
  beforeAll(async () => {
    service = await startApp(engine, { overrides: { handlers: [recording] } });
  });
  afterAll(() => service.close());

  it('goes from its brief over questions, completions and validations to its close', async () => {
    const run = aRun(service.send, 'run-7');
    const read = async (path: string) => (await service.send('GET', path)).body;
    let version = 0;
    let known = 0;

    /** What has happened since the last look. */
    const news = async () => {
      const { items: events } = await read('/events?limit=200');
      const fresh = events.slice(known);
      known = events.length;
      return fresh;
    };
    const types = (events: { event_type: string }[]) => events.map(({ event_type }) => event_type);

    /** The run must stand like this, in its snapshot and in the list, a version later than at the last look. */
    const stands = async (expected: { status: string; agents: object; open: string[]; reasons: object[] }) => {
      const { agents, open_questions, gate, ...rest } = await run.snapshot();
      expect(rest.version).toBeGreaterThan(version);
      version = rest.version;
      const brief = plan;
      expect(rest).toMatchObject({ run_id: 'run-7', status: expected.status, ticket: 'TCK-1', brief, version });
      const absent = agents.filter((agent: { status: string }) => agent.status === 'absent');
      const seen = agents.slice(0, agents.length - absent.length);
      expect(rest).toMatchObject({ agents_count: seen.length, absent_count: absent.length });
      expect(rest.open_questions_count).toBe(open_questions.length);
      const statuses = agents.map((agent: Record<string, string>) => [agent.agent_name, agent.status]);
      expect(statuses).toEqual(Object.entries(expected.agents));
      for (const agent of seen) expect(agent).toEqual(await read(`/control-threads/run-7/${agent.agent_name}`));
      for (const question of open_questions) expect(question).toEqual(await read(`/questions/${question.question_id}`));
      expect(open_questions.map((question: { question_id: string }) => question.question_id)).toEqual(expected.open);
      expect(reasons(gate)).toEqual(expected.reasons);
      expect(gate.ready).toBe(expected.reasons.length === 0);
      const latest = (await run.events()).at(-1);
      expect((await read('/runs')).items).toEqual([
        {
          run_id: 'run-7',
          status: expected.status,
          ticket: 'TCK-1',
          title: 'Move to Europe',
          agents_count: seen.length,
          open_questions_count: expected.open.length,
          ready: gate.ready,
          updated_at: latest?.occurred_at,
          version,
        },
      ]);
    };

    const filed = await run.brief({ ...plan, actor: ana });
    expect(filed).toMatchObject({ status: 201, headers: { location: '/runs/run-7' } });
    expect(await run.snapshot()).toEqual(filed.body);
    await stands({
      status: 'running',
      agents: { builder: 'absent', tester: 'absent' },
      open: [],
      reasons: [
        { code: 'AGENT_NOT_SEEN', agent_name: 'builder' },
        { code: 'AGENT_NOT_SEEN', agent_name: 'tester' },
      ],
    });
    const runs = { thread_id: null, agent_name: null, run_id: 'run-7', ticket: 'TCK-1', actor: ana };
    expect(await news()).toMatchObject([{ event_type: 'forum.run.briefed', ...runs, payload: plan }]);

    const question = await run.ask('builder', { question: 'Which region?' });
    const missing = (agent_name: string) => [
      { code: 'MISSING_COMPLETION', agent_name },
      { code: 'MISSING_VALIDATION', agent_name },
    ];
    await stands({
      status: 'awaiting_guidance',
      agents: { builder: 'awaiting_guidance', tester: 'absent' },
      open: [question],
      reasons: [
        { code: 'AGENT_NOT_SEEN', agent_name: 'tester' },
        { code: 'OPEN_QUESTION', agent_name: 'builder', question_id: question },
        ...missing('builder'),
      ],
    });
    const opening = ['forum.thread.opened', 'forum.control.signal'];
    expect(types(await news())).toEqual([...opening, 'forum.question.opened', 'forum.state.changed']);

    await run.answer(question);
    await stands({
      status: 'running',
      agents: { builder: 'working', tester: 'absent' },
      open: [],
      reasons: [{ code: 'AGENT_NOT_SEEN', agent_name: 'tester' }, ...missing('builder')],
    });
    expect(types(await news())).toEqual(['forum.control.signal', 'forum.question.answered', 'forum.state.changed']);

    await run.signal('completion', 'builder', { summary: 'Deployed.' });
    await run.signal('completion', 'tester');
    await stands({
      status: 'running',
      agents: { builder: 'completed', tester: 'completed' },
      open: [],
      reasons: [
        { code: 'MISSING_VALIDATION', agent_name: 'builder' },
        { code: 'MISSING_VALIDATION', agent_name: 'tester' },
      ],
    });
    expect(types(await news())).toEqual(['forum.control.signal', ...opening]);

    for (const agent of plan.agents) {
      expect((await run.close()).status).toBe(409);
      await run.signal('validation', agent, { actor: reviewer, done_criteria: ' Tests are green.\n' });
    }
    await stands({
      status: 'completed',
      agents: { builder: 'validated', tester: 'validated' },
      open: [],
      reasons: [],
    });
    expect(types(await news())).toEqual(['forum.control.signal', 'forum.control.signal']);

    const closed = await run.close({ actor: ana });
    expect(closed.status).toBe(200);
    expect(await run.snapshot()).toEqual(closed.body);
    await stands({ status: 'closed', agents: { builder: 'validated', tester: 'validated' }, open: [], reasons: [] });
    const [own, ...threads] = await news();
    expect(own).toMatchObject({ event_type: 'forum.run.closed', ...runs, payload: {} });
    const end = ['forum.state.changed', 'forum.thread.closed'];
    expect(types(threads)).toEqual([...end, ...end]);
    const { agents } = await run.snapshot();
    for (const [index, { thread_id, agent_name }] of agents.entries()) {
      const about = { thread_id, agent_name, run_id: 'run-7', actor: ana, correlation_id: own.correlation_id };
      const both = threads.slice(2 * index, 2 * index + 2);
      expect(both).toMatchObject([{ ...about, payload: { to: 'closed' } }, about]);
      expect(both[0].causation_id).toBe(own.event_id);
      expect(await read(`/threads/${thread_id}`)).toMatchObject({ state: 'closed', closed_at: own.occurred_at });
    }

    // Everything is dispatched in the end, each event once.
    expect((await read('/outbox')).items).toEqual([]);
    while ((await service.send('POST', '/bus/process', { limit: 200 })).body.claimed > 0);
    const { items: events } = await read('/events?limit=200');
    const carried = events.map((event: { event_type: string; thread_id: string | null }) => ({
      topic: event.event_type.replace('forum.', 'forum.events.'),
      message_key: event.thread_id ?? 'run:run-7',
      payload: event,
      status: 'sent',
      attempts: 1,
    }));
    expect((await read('/outbox?limit=200')).items).toMatchObject(carried);
    expect(handled.toSorted((a, b) => a - b)).toEqual(
      carried.map(({ payload }: { payload: { sequence: number } }) => payload.sequence),
    );
  });
});

import fc from 'fast-check';
import { expect } from 'vitest';
import { problemTable } from '../../src/errors.ts';
import type { Answer, TestApp } from '../helpers/app.ts';
import type { ManualClock } from '../helpers/clock.ts';
import { aRun, reasons } from '../helpers/runs.ts';
import { AGENTS, RunModel, type Step } from './model.ts';

const CRITERIA = ['green', 'fast'];

/** A step, or all the steps that finish what is left to do and close the run. */
type Drawn = Step | { does: 'finish' };

/** Histories of one run. Many are finished half-way, or what comes after a close would hardly ever be seen. */
export function histories(): fc.Arbitrary<Drawn[]> {
  const agent = fc.constantFrom(...AGENTS);
  const question = fc.nat(20);
  const ticket = fc.constantFrom(undefined, undefined, 'T-1', 'T-2');
  const brief = fc.record(
    {
      ticket: fc.constantFrom('T-1', 'T-3'),
      title: fc.constantFrom('One', 'Two'),
      done_criteria: fc.constantFrom('green', 'green', 'fast'),
      agents: fc.subarray([...AGENTS, 'absent']),
    },
    { requiredKeys: [] },
  );
  const priority = fc.constantFrom('low', 'normal', 'normal', 'high', 'urgent');
  const supersedes = fc.option(question, { nil: undefined, freq: 2 });
  const status = fc.constantFrom('passed', 'passed', 'passed', 'failed');
  const done_criteria = fc.constantFrom('green', ...CRITERIA);
  const does = <T extends Step['does']>(name: T) => fc.constant(name);
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 2, arbitrary: fc.record({ does: does('brief'), brief }) },
    { weight: 2, arbitrary: fc.record({ does: does('ask'), agent, priority, ticket, supersedes }) },
    { weight: 1, arbitrary: fc.record({ does: does('reply'), agent }) },
    { weight: 3, arbitrary: fc.record({ does: does('answer'), question }) },
    { weight: 1, arbitrary: fc.record({ does: does('cancel'), question }) },
    { weight: 5, arbitrary: fc.record({ does: does('complete'), agent, ticket }) },
    { weight: 6, arbitrary: fc.record({ does: does('validate'), agent, status, done_criteria }) },
    { weight: 1, arbitrary: fc.record({ does: does('start attempt'), agent }) },
    { weight: 1, arbitrary: fc.record({ does: does('close thread'), agent }) },
    { weight: 3, arbitrary: fc.record({ does: does('close') }) },
  ) as fc.Arbitrary<Step>;
  const steps = (maxLength: number) => fc.array(step, { maxLength, size: 'max' });
  const middle = fc.constantFrom<Drawn[]>([], [{ does: 'finish' }]);
  return fc.tuple(steps(20), middle, steps(10)).map(parts => parts.flat());
}

/** Lets a history happen to a new run, and looks at the run after each step. */
export async function live(service: TestApp, clock: ManualClock, run_id: string, history: Drawn[]): Promise<void> {
  const model = new RunModel();
  const run = aRun(service.send, run_id);
  const threads = new Map<string, string>();
  /** The run's version, and when it got that one. */
  let last = { version: 0, updated_at: '' };

  const send = (step: Step): Promise<Answer> => {
    const question = 'question' in step ? model.ids[step.question] : undefined;
    const actor = { type: 'operator', name: 'ana' };
    switch (step.does) {
      case 'brief':
        return run.brief(step.brief);
      case 'ask': {
        const { agent, priority, ticket, supersedes } = step;
        const old = supersedes === undefined ? undefined : model.ids[supersedes];
        return run.signal('guidance_request', agent, { priority, ticket, supersedes: old });
      }
      case 'reply':
        return run.signal('guidance_answer', step.agent);
      case 'answer':
        return service.send('PUT', `/questions/${question}/answer`, { answer: 'Europe.' });
      case 'cancel':
        return service.send('POST', `/questions/${question}/cancel`);
      case 'complete':
        return run.signal('completion', step.agent, { ticket: step.ticket });
      case 'validate':
        return run.signal('validation', step.agent, { status: step.status, done_criteria: step.done_criteria });
      case 'start attempt':
        return run.nextAttempt(step.agent);
      case 'close thread':
        return service.send('PATCH', `/threads/${threads.get(step.agent)}`, { state: 'closed', actor });
      case 'close':
        return run.close();
    }
  };

  for (const drawn of history) {
    for (const step of drawn.does === 'finish' ? finishing(model) : among(drawn, model)) await happen(step);
  }

  async function happen(step: Step): Promise<void> {
    clock.advance(1000);
    const verdict = model.judge(step);
    const answer = await send(step);
    if ('code' in verdict) {
      expect(answer.body.code, JSON.stringify(step)).toBe(verdict.code);
      expect(answer.status).toBe(problemTable[verdict.code].status);
      if (verdict.code === 'GATE_BLOCKED') expect(reasons(answer.body)).toEqual(model.reasons);
    } else {
      expect(answer.status, JSON.stringify([step, answer.body])).toBeLessThan(300);
      if (step.does === 'ask') model.ids.push(answer.body.question.question_id);
      if (answer.body.thread) threads.set(answer.body.signal.agent_name, answer.body.thread.thread_id);
      model.facts.push(...verdict.facts);
    }
    // A thread that is closed without a question in it is no matter of the run.
    const isChange = 'facts' in verdict && verdict.facts.some(({ fact }) => fact !== 'thread closed');
    if (model.facts.length > 0) await agree(isChange);
    else expect((await service.send('GET', run.path)).body.code).toBe('RUN_NOT_FOUND');
  }

  async function agree(isChange: boolean): Promise<void> {
    const { agents, open_questions, gate, ...rest } = await run.snapshot();
    if (isChange) {
      expect(rest.version).toBeGreaterThan(last.version);
      last = { version: rest.version, updated_at: new Date(clock.now()).toISOString() };
    }
    const { status, ticket, brief } = model;
    expect(rest).toEqual({
      ...{ run_id, status, ticket, brief, version: last.version, erased_at: null },
      agents_count: model.agents.length,
      absent_count: model.absent.length,
      agents_url: `/control-threads?${new URLSearchParams({ run_id })}`,
      open_questions_count: model.inbox.length,
      open_questions_url: `/questions?${new URLSearchParams({ state: 'open', run_id })}`,
    });
    expect(reasons(gate)).toEqual(model.reasons);
    expect(gate.ready).toBe(model.reasons.length === 0);
    expect(open_questions.map((question: { question_id: string }) => question.question_id)).toEqual(model.inbox);
    const states = model.agents.map(agent_name => {
      const { attempt, completed, validation, open, status } = model.control(agent_name);
      return {
        agent_name,
        attempt,
        status,
        open_questions: open.map(question => model.ids[question]),
        completion: completed ? {} : null,
        validation: validation ? { status: validation.status, done_criteria: validation.done_criteria } : null,
      };
    });
    const absent = model.absent.map(agent_name => ({ agent_name, status: 'absent', version: 0, last_seen_at: null }));
    expect(agents).toMatchObject([...states, ...absent]);
    // The newest run comes first, among all as among those of its status.
    const row = {
      run_id,
      status,
      ticket,
      title: brief?.title ?? null,
      agents_count: states.length,
      open_questions_count: model.inbox.length,
      ready: gate.ready,
      ...last,
    };
    for (const query of ['', `&status=${status}`]) {
      expect((await service.send('GET', `/runs?limit=1${query}`)).body.items).toEqual([row]);
    }
  }
}

/** The step with its question among those that there are; nothing if it needs one, or a thread, that is not there. */
function among(step: Step, model: RunModel): Step[] {
  const count = model.asked.length;
  if (step.does === 'close thread') return model.agents.includes(step.agent) ? [step] : [];
  if ('question' in step) return count > 0 ? [{ ...step, question: step.question % count }] : [];
  if (step.does !== 'ask' || step.supersedes === undefined) return [step];
  return [{ ...step, supersedes: count > 0 ? step.supersedes % count : undefined }];
}

/** What a run still needs, if nobody's thread has been closed. */
function finishing(model: RunModel): Step[] {
  const { brief, agents } = model;
  const done_criteria = brief?.done_criteria ?? 'green';
  const everybody = new Set([...agents, ...(brief?.agents ?? ['a'])]);
  return [
    ...model.open().map((question): Step => ({ does: 'answer', question })),
    ...[...everybody].flatMap((agent): Step[] => [
      { does: 'complete', agent, ticket: undefined },
      { does: 'validate', agent, status: 'passed', done_criteria },
    ]),
    { does: 'close' },
  ];
}

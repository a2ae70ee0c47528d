import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { aRun, reasons } from '../helpers/runs.ts';
import { histories, live } from './histories.ts';

type Run = ReturnType<typeof aRun>;

const failed = { status: 'failed' };
const strict = { done_criteria: 'Tests are green.' };

/** Each way in which the gate says no: how it comes about, and the reasons that it answers. */
const blocked: [name: string, arrange: (run: Run) => Promise<object[]>][] = [
  [
    'nobody has been named and nobody has come',
    async run => {
      await run.brief({ title: 'Empty' });
      return [{ code: 'NO_AGENTS' }];
    },
  ],
  [
    'agents of the brief have sent nothing, in the order in which it names them',
    async run => {
      await run.brief({ agents: ['tester', 'builder', 'auditor'] });
      await run.finish('builder');
      return [
        { code: 'AGENT_NOT_SEEN', agent_name: 'tester' },
        { code: 'AGENT_NOT_SEEN', agent_name: 'auditor' },
      ];
    },
  ],
  [
    'questions are open, also those of an agent whose work is done',
    async run => {
      await run.finish('builder');
      const first = await run.ask('builder', { priority: 'low' });
      const second = await run.ask('builder', { priority: 'urgent' });
      return [
        { code: 'OPEN_QUESTION', agent_name: 'builder', question_id: first },
        { code: 'OPEN_QUESTION', agent_name: 'builder', question_id: second },
      ];
    },
  ],
  [
    'a completion is missing',
    async run => {
      await run.signal('validation', 'builder');
      return [{ code: 'MISSING_COMPLETION', agent_name: 'builder' }];
    },
  ],
  [
    'a validation is missing',
    async run => {
      await run.signal('completion', 'builder');
      return [{ code: 'MISSING_VALIDATION', agent_name: 'builder' }];
    },
  ],
  [
    'the latest validation has failed',
    async run => {
      await run.finish('builder');
      await run.signal('validation', 'builder', failed);
      return [{ code: 'VALIDATION_FAILED', agent_name: 'builder' }];
    },
  ],
  [
    'the work was validated against other criteria',
    async run => {
      await run.brief(strict);
      await run.finish('builder', 'It compiles.');
      return [{ code: 'DONE_CRITERIA_MISMATCH', agent_name: 'builder' }];
    },
  ],
  [
    'a validation has failed against other criteria: the failure counts',
    async run => {
      await run.brief(strict);
      await run.signal('completion', 'builder');
      await run.signal('validation', 'builder', { ...failed, done_criteria: 'It compiles.' });
      return [{ code: 'VALIDATION_FAILED', agent_name: 'builder' }];
    },
  ],
  [
    'one agent of three is in the way with everything at once',
    async run => {
      await run.brief({ ...strict, agents: ['a', 'b', 'c', 'd'] });
      await run.finish('c');
      await run.finish('a');
      const question_id = await run.ask('b');
      await run.signal('validation', 'b', { done_criteria: 'It compiles.' });
      return [
        { code: 'AGENT_NOT_SEEN', agent_name: 'd' },
        { code: 'OPEN_QUESTION', agent_name: 'b', question_id },
        { code: 'MISSING_COMPLETION', agent_name: 'b' },
        { code: 'DONE_CRITERIA_MISMATCH', agent_name: 'b' },
      ];
    },
  ],
];

/** The rules are the same code on both engines; PostgreSQL shows that its rows add up as well. */
const RUNS = { sqlite: 30, postgres: 12 };

describe.each(engines)('the gate of a run on %s', engine => {
  let service: TestApp;
  let runs = 0;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const newRun = () => aRun(service.send, `run ${++runs}`);
  /** What the gate says now, which must be what the list says, too. */
  const gateOf = async (run: Run) => {
    const { gate, status } = await run.snapshot();
    expect(await run.row()).toMatchObject({ ready: gate.ready, status });
    expect(gate.ready).toBe(gate.reasons.length === 0);
    return reasons(gate);
  };

  it.each(blocked)('keeps a run open while %s', async (_name, arrange) => {
    const run = newRun();
    const expected = await arrange(run);
    expect(await gateOf(run)).toEqual(expected);
    const { gate, status } = await run.snapshot();
    expect(status).toBe(expected.some(reason => 'question_id' in reason) ? 'awaiting_guidance' : 'running');
    const before = await dump(service.url);
    const answer = await run.close();
    expectProblem(answer, 'GATE_BLOCKED');
    expect(answer.body.reasons).toEqual(gate.reasons);
    expect(await dump(service.url)).toEqual(before);
  });

  it('follows the criteria of the brief at once, in both directions', async () => {
    const run = newRun();
    await run.finish('builder');
    await run.finish('tester', '  Tests are green.\t');
    expect(await gateOf(run)).toEqual([]);
    await run.brief({ done_criteria: '\nTests\u0085 are\r\n\tgreen. ' });
    expect(await gateOf(run)).toEqual([]);
    await run.brief({ done_criteria: 'tests are green.' });
    const mismatch = (agent_name: string) => ({ code: 'DONE_CRITERIA_MISMATCH', agent_name });
    expect(await gateOf(run)).toEqual([mismatch('builder'), mismatch('tester')]);
    await run.signal('validation', 'tester', { done_criteria: 'tests are green.' });
    expect(await gateOf(run)).toEqual([mismatch('builder')]);
    await run.brief(strict);
    expect(await gateOf(run)).toEqual([mismatch('tester')]);
    await run.brief({ title: 'Whatever they say' });
    expect(await gateOf(run)).toEqual([]);
    expect((await run.close()).status).toBe(200);
  });

  it('follows the agents of the brief at once, in both directions', async () => {
    const run = newRun();
    await run.finish('builder');
    await run.brief({ agents: ['builder', 'tester'] });
    expect(await gateOf(run)).toEqual([{ code: 'AGENT_NOT_SEEN', agent_name: 'tester' }]);
    await run.brief({ agents: ['auditor'] });
    expect(await gateOf(run)).toEqual([{ code: 'AGENT_NOT_SEEN', agent_name: 'auditor' }]);
    // Who takes part without having been named counts all the same.
    await run.signal('completion', 'helper');
    expect(await gateOf(run)).toEqual([
      { code: 'AGENT_NOT_SEEN', agent_name: 'auditor' },
      { code: 'MISSING_VALIDATION', agent_name: 'helper' },
    ]);
    await run.brief({ agents: [] });
    expect(await gateOf(run)).toEqual([{ code: 'MISSING_VALIDATION', agent_name: 'helper' }]);
    await run.signal('validation', 'helper');
    expect(await gateOf(run)).toEqual([]);
  });

  it('opens with an answer, a cancellation, or a late validation', async () => {
    const run = newRun();
    const [first, second] = [await run.ask('builder'), await run.ask('builder')];
    await run.finish('builder');
    await run.answer(first);
    const open = { code: 'OPEN_QUESTION', agent_name: 'builder', question_id: second };
    expect(await gateOf(run)).toEqual([open]);
    await service.send('POST', `/questions/${second}/cancel`);
    expect(await gateOf(run)).toEqual([]);
    await run.signal('validation', 'builder', failed);
    expect(await gateOf(run)).toEqual([{ code: 'VALIDATION_FAILED', agent_name: 'builder' }]);
    await run.signal('validation', 'builder');
    expect(await gateOf(run)).toEqual([]);
    expect(await run.snapshot()).toMatchObject({ status: 'completed' });
  });

  it('is shut again by the next attempt, until that is completed and validated itself', async () => {
    const run = newRun();
    await run.brief(strict);
    await run.finish('builder');
    await run.finish('tester');
    expect(await gateOf(run)).toEqual([]);
    await run.nextAttempt('builder');
    const missing = { code: 'MISSING_VALIDATION', agent_name: 'builder' };
    expect(await gateOf(run)).toEqual([{ code: 'MISSING_COMPLETION', agent_name: 'builder' }, missing]);
    await run.signal('completion', 'builder', { attempt: 2 });
    // A brief that changes the criteria and back must not bring the validation of the last attempt back to life.
    await run.brief({ done_criteria: 'It compiles.' });
    await run.brief(strict);
    expect(await gateOf(run)).toEqual([missing]);
    await run.signal('validation', 'builder', { attempt: 2 });
    expect(await gateOf(run)).toEqual([]);
  });

  it('is what all that was accepted adds up to, after every step of any history', async () => {
    const clock = new ManualClock();
    const timed = await startApp(engine, { overrides: { clock } });
    onTestFinished(timed.close);
    const property = fc.asyncProperty(histories(), history => live(timed, clock, `run ${++runs}`, history));
    await fc.assert(property, { numRuns: RUNS[engine] });
  });
});

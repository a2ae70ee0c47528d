import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blankControl, type ControlChange, changed, controlThreadId } from '../../src/control/agent-state.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';

describe('the id of a control thread', () => {
  it('is readable and ends in a hash of the exact pair', () => {
    expect(controlThreadId('RUN.1', 'a_b')).toMatch(/^fctrl-run-1-a-b-[0-9a-f]{16}$/);
    expect(controlThreadId('日本', 'Ω')).toMatch(/^fctrl-unknown-unknown-[0-9a-f]{16}$/);
    expect(controlThreadId('x'.repeat(200), 'a')).toMatch(/^fctrl-x{48}-a-[0-9a-f]{16}$/);
    expect(controlThreadId('run-1', 'a')).toBe(controlThreadId('run-1', 'a'));
  });

  it('differs for pairs whose readable parts are the same', () => {
    const pairs = [
      ['run-1', 'a-b'],
      ['run-1-a', 'b'],
      ['RUN.1', 'a_b'],
      ['run', '1-a-b'],
    ] as const;
    expect(new Set(pairs.map(([run, agent]) => controlThreadId(run, agent))).size).toBe(pairs.length);
  });

  it('differs for 10,000 pairs of non-ASCII names', () => {
    const name = (index: number) => String.fromCodePoint(0x4e00 + (index % 100), 0x1f600 + Math.floor(index / 100));
    const ids = Array.from({ length: 10_000 }, (_, index) => controlThreadId(name(index), name(9_999 - index)));
    expect(new Set(ids).size).toBe(10_000);
  });

  it('differs for any two pairs', () => {
    const pair = fc.tuple(fc.string({ unit: 'grapheme', minLength: 1 }), fc.string({ unit: 'grapheme', minLength: 1 }));
    fc.assert(
      fc.property(pair, pair, (a, b) => {
        expect(controlThreadId(...a) === controlThreadId(...b)).toBe(a[0] === b[0] && a[1] === b[1]);
      }),
    );
  });
});

describe('the control state', () => {
  /** An agent's life as a list of acts, and the status as the contract words it, computed from the whole list. */
  const act: fc.Arbitrary<ControlChange> = fc.oneof(
    fc.constant({ opened: 1 }),
    fc.nat({ max: 2 }).map(closed => ({ closed })),
    fc.constant({ completed: true as const }),
    fc.constantFrom('passed' as const, 'failed' as const).map(validated => ({ validated })),
    fc.constant({ nextAttempt: true as const }),
  );

  function expectedStatus(acts: ControlChange[]): string {
    const open = acts.reduce((count, { opened = 0, closed = 0 }) => count + opened - closed, 0);
    const thisAttempt = acts.slice(acts.findLastIndex(({ nextAttempt }) => nextAttempt) + 1);
    const validated = thisAttempt.findLast(change => change.validated)?.validated;
    const completed = thisAttempt.some(change => change.completed);
    if (open > 0) return 'awaiting_guidance';
    if (validated === 'failed') return 'validation_failed';
    if (completed) return validated === 'passed' ? 'validated' : 'completed';
    return 'working';
  }

  it('is what the whole history says, after any history', () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 30 }), acts => {
        let row = blankControl('run', 'agent');
        // The service closes only what is open; so does the model.
        const possible: ControlChange[] = [];
        for (const [index, change] of acts.entries()) {
          if ((change.closed ?? 0) > row.open_questions_count) continue;
          row = changed(row, change, index + 1);
          possible.push(change);
        }
        expect(row.status).toBe(expectedStatus(possible));
      }),
      { numRuns: 500 },
    );
  });
});

describe.each(engines)('control threads on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  it('are kept apart for the pairs that metawsm confused', async () => {
    const pairs = [
      ['run-1', 'a-b'],
      ['run-1-a', 'b'],
      ['RUN.1', 'a_b'],
      ['日本', '本日'],
      ['本日', '日本'],
      ['x/y?z#', '100%'],
    ];
    const ids = new Set();
    for (const [run_id, agent_name] of pairs) {
      const { body } = await service.send('POST', '/control-signals', signal('completion', { run_id, agent_name }));
      ids.add(body.thread.thread_id);
      const path = `/control-threads/${encodeURIComponent(run_id as string)}/${encodeURIComponent(agent_name as string)}`;
      expect((await service.send('GET', path)).body).toEqual(body.control);
    }
    expect(ids.size).toBe(pairs.length);
  });

  it('take names of 200 characters of four bytes each in a path', async () => {
    const name = '😀'.repeat(200);
    await service.send('POST', '/control-signals', signal('completion', { run_id: name, agent_name: name }));
    const path = `/control-threads/${encodeURIComponent(name)}/${encodeURIComponent(name)}`;
    expect(await service.send('GET', path)).toMatchObject({ status: 200, body: { run_id: name } });
  });

  it('are listed by run and status', async () => {
    for (const agent_name of ['c', 'a', 'b']) {
      await service.send('POST', '/control-signals', signal('completion', { run_id: 'listed', agent_name }));
    }
    await service.send('POST', '/control-signals', signal('guidance_request', { run_id: 'listed', agent_name: 'b' }));
    const names = async (query: string) =>
      (await service.send('GET', `/control-threads?run_id=listed${query}`)).body.items.map(
        (item: { agent_name: string }) => item.agent_name,
      );
    expect(await names('')).toEqual(['a', 'b', 'c']);
    expect(await names('&status=completed')).toEqual(['a', 'c']);
    expect(await names('&status=awaiting_guidance')).toEqual(['b']);
  });

  it('opens one thread for 64 first signals at once', async () => {
    const sent = Array.from({ length: 64 }, () =>
      service.send('POST', '/control-signals', signal('guidance_request', { run_id: 'race' })),
    );
    const answers = await Promise.all(sent);
    expect(answers.map(answer => answer.status)).toEqual(Array(64).fill(201));
    expect(new Set(answers.map(answer => answer.body.thread.thread_id)).size).toBe(1);
    expect(new Set(answers.map(answer => answer.body.signal.sequence)).size).toBe(64);
    const { body } = await service.send('GET', '/control-threads/race/builder');
    expect(body).toMatchObject({ version: 64 });
    expect(body.open_questions).toHaveLength(64);
  });
});

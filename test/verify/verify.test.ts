import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { NODE_COMPILE_CACHE } from '../helpers/process.ts';
import { scratchRoot } from '../helpers/scratch.ts';
import type { Observed } from './observe.ts';
import { CONSUMERS, lateRepeats, prove } from './proofs.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

describe('npm run verify', () => {
  // One after the other: most of the time goes into starting processes.
  it.each([[['--engine', 'sqlite']], [['--engine', 'postgres', '--processes', '2']]])(
    'finds nothing lost, doubled or overtaken: %j',
    { timeout: 180_000 },
    async engine => {
      const { stdout } = await verify('--signals', '150', '--kills', '4', ...engine);
      expect(stdout).not.toContain('FAILED');
      expect(stdout).toMatch(/processes killed +3\n/);
      expect(stdout.match(/^ {2}ok /gm)).toHaveLength(prove(observed()).length);
    },
  );

  it.each([
    [['--processes', '2'], 'A SQLite file has one Forumbus process'],
    [['--engine', 'mysql'], '--engine takes sqlite or postgres'],
    [['--signals', 'many'], '--signals takes a whole number'],
    [['--speed', '9'], 'speed'],
  ])('refuses %j', async (args, reason) => {
    await expect(verify(...args)).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining(reason) });
  });
});

describe('the proofs', () => {
  it('hold for a run as it should be', () => {
    expect(faults(observed())).toEqual([]);
  });

  it('bear a repeat, also one of a worker whose lease has passed on', () => {
    const run = observed();
    const [first, second, third] = run.notes as [Note, Note, Note];
    // The first worker was stopped with attempt 1; attempt 2 handled the signal, then came the next one, then it woke.
    run.notes = [{ ...first, attempt: 2 }, second, { ...first, attempt: 1 }, third];
    expect(faults(run)).toEqual([]);
    expect(lateRepeats(run.notes)).toBe(1);
  });

  const doctored: Record<string, [claim: RegExp, doctor: (run: Observed) => void]> = {
    'an answer that is no 201': [/201 or 503/, run => run.wrong.push('verify-9: 500 INTERNAL_ERROR')],
    'a process that fell over': [/ended by itself/, run => run.unexpected.push('process 7 ended by itself (code 1)')],
    'an acknowledged signal that is not there': [/acknowledged signal is stored/, run => run.signals.pop()],
    'a signal under another sequence': [/acknowledged signal is stored/, run => swap(run.signals, 'sequence')],
    'acknowledgements out of order': [/acknowledged signal is stored/, run => run.acknowledged.reverse()],
    'a signal nobody sent': [/not sent/, run => Object.assign(run, { sent: new Set() })],
    'a signal stored twice': [/nothing twice/, run => run.signals.push({ ...at(run.signals, 0), signal_id: 'sig_9' })],
    'two threads of one agent': [
      /one control thread/,
      run => Object.assign(at(run.signals, 1), { thread_id: 'other' }),
    ],
    'an event without a message': [/every event has one message/, run => run.messages.shift()],
    'an event with two messages': [/every event has one message/, run => run.messages.push(at(run.messages, 0))],
    'a handler that was left out': [/every event has one message/, run => run.messages.splice(1, 1)],
    'a message without an event': [
      /every event has one message/,
      run => Object.assign(at(run.messages, 0), { event_sequence: 99 }),
    ],
    ...Object.fromEntries(
      ['pending', 'processing', 'failed', 'dead', 'discarded'].map(status => [
        `a message that is ${status}`,
        [/every message is sent/, (run: Observed) => Object.assign(at(run.messages, 2), { status })] as const,
      ]),
    ),
    'a missing effect': [/exactly once/, run => run.effects.pop()],
    'a doubled effect': [/exactly once/, run => run.effects.push(at(run.effects, 2))],
    'an effect of nothing': [/exactly once/, run => run.effects.push({ ...at(run.effects, 0), sequence: 99 })],
    'effects in swapped order': [/effects stand in the order/, run => run.effects.reverse()],
    'a signal that was not handled': [/at least once/, run => run.notes.pop()],
    'a handled signal that is not stored': [
      /at least once/,
      run => run.notes.push({ ...at(run.notes, 2), sequence: 99 }),
    ],
    'signals handled in swapped order': [
      /ordinary handler was given the signals in the order/,
      run => run.notes.reverse(),
    ],
    'a late repeat by the worker that holds the lease': [
      /ordinary handler was given the signals in the order/,
      run => run.notes.push({ ...at(run.notes, 0), attempt: 2 }),
    ],
    'a repeat under another idempotency key': [
      /idempotency key/,
      run => run.notes.push({ ...at(run.notes, 2), attempt: 2, idempotency_key: 'other' }),
    ],
    'one idempotency key for two signals': [
      /idempotency key/,
      run => Object.assign(at(run.notes, 1), { idempotency_key: at(run.notes, 0).idempotency_key }),
    ],
    'one attempt made twice': [/new attempt/, run => run.notes.push(at(run.notes, 2))],
  };

  it.each(Object.entries(doctored))('find %s', (_name, [claim, doctor]) => {
    const run = observed();
    doctor(run);
    expect(faults(run).join('\n')).toMatch(claim);
  });
});

type Note = Observed['notes'][number];

async function verify(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const env = { ...process.env, NODE_COMPILE_CACHE, TMPDIR: scratchRoot };
  return promisify(execFile)(process.execPath, [MAIN, ...args], { env });
}

/** The claims that do not hold. */
function faults(run: Observed): string[] {
  return prove(run).flatMap(({ claim, faults }) => (faults.length > 0 ? [`${claim}: ${faults[0]}`] : []));
}

/** What is seen after three signals in one lane, the second of which opened a question. */
function observed(): Observed {
  const signals = [1, 2, 4].map(sequence => ({
    signal_id: `sig_${sequence}`,
    sequence,
    thread_id: 'fctrl-run-agent',
    run_id: 'run',
    agent_name: 'agent',
    correlation_id: `verify-${sequence}`,
  }));
  const message = (event_sequence: number, consumer: string | null) => ({
    message_id: `msg_${event_sequence}~${consumer}`,
    topic: 'forum.events.control.signal',
    status: 'sent',
    event_sequence,
    consumer,
  });
  return {
    acknowledged: signals.map(({ run_id: _run, agent_name: _agent, ...signal }) => signal),
    sent: new Set(signals.map(signal => signal.correlation_id)),
    wrong: [],
    unexpected: [],
    signals,
    sequences: [1, 2, 3, 4],
    messages: [
      ...signals.flatMap(({ sequence }) => [null, ...CONSUMERS].map(name => message(sequence, name))),
      message(3, null),
    ],
    effects: signals.map(({ signal_id, thread_id, sequence }) => ({ signal_id, thread_id, sequence })),
    notes: signals.map(({ signal_id, sequence, thread_id }) => ({
      signal_id,
      sequence,
      lane: thread_id,
      attempt: 1,
      idempotency_key: `msg_${sequence}:1`,
      pid: 1,
      at: sequence,
    })),
  };
}

function at<T>(items: T[], index: number): T {
  return items[index] as T;
}

function swap<K extends string>(items: Record<K, unknown>[], field: K): void {
  const [first, second] = [at(items, 0), at(items, 1)];
  [first[field], second[field]] = [second[field], first[field]];
}

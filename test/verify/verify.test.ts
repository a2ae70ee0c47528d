import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { engines } from '../helpers/engines.ts';
import { NODE_COMPILE_CACHE } from '../helpers/process.ts';
import { scratchRoot } from '../helpers/scratch.ts';
import type { ClaimedItem } from './clients.ts';
import { repeats } from './delivery-proofs.ts';
import type { Note } from './notes.ts';
import { messageIdOf, type Observed, type StoredDelivery, type StoredEvent, topicOf } from './observe.ts';
import { prove } from './proofs.ts';
import { recompute } from './recompute.ts';
import { follows, LATE, STRAY_TOPIC, SUBSCRIPTIONS } from './subscriptions.ts';
import { proveStorm, type Storm } from './webhook-proofs.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

describe('npm run verify', () => {
  // One after the other: most of the time goes into starting processes.
  it.each([[['--engine', 'sqlite']], [['--engine', 'postgres', '--processes', '2']]])(
    'finds nothing lost, doubled, overtaken or counted wrong: %j',
    { timeout: 300_000 },
    async engine => {
      const { stdout } = await verify(
        '--seconds',
        '4',
        '--rate',
        '20',
        '--kills',
        '3',
        '--lease-ms',
        '3000',
        ...engine,
      );
      expect(stdout).not.toContain('FAILED');
      expect(stdout).toMatch(/processes killed +3\n/);
      expect(stdout.match(/^ {2}ok /gm)).toHaveLength(prove(observed()).length);
    },
  );

  it.each(engines)(
    'asks once and loses no answer when the command line and the service are killed, on %s',
    { timeout: 240_000 },
    async engine => {
      const { stdout } = await verify('--cli', '--engine', engine, '--kills', '3');
      expect(stdout).not.toContain('FAILED');
      expect(stdout).toMatch(/^ {2}ok {5}a repeated command asked once \(3\)$/m);
      expect(stdout).toMatch(/^ {2}ok {5}every command has printed the answer to its question in the end \(3\)$/m);
    },
  );

  // The time that arrivals take says little beside other tests.
  it.each(engines)(
    'keeps good webhooks apart from bad ones, and loses nothing when the service is killed, on %s',
    { timeout: 240_000 },
    async engine => {
      const size = ['--endpoints', '9', '--events', '60', '--runs', '1', '--kills', '2', '--p99', '20000'];
      const { stdout } = await verify('--webhooks', '--engine', engine, ...size);
      expect(stdout).not.toContain('FAILED');
      expect(stdout).toMatch(/^ {2}ok {5}every good endpoint got every event, also those around a kill \(360\)$/m);
    },
  );

  it.each([
    [['--engine', 'sqlite', '--processes', '2'], 'A SQLite file has one Forumbus process'],
    [['--engine', 'mysql'], '--engine takes sqlite, postgres or both'],
    [['--seconds', 'many'], '--seconds takes a whole number'],
    [['--speed', '9'], 'speed'],
  ])('refuses %j', async (args, reason) => {
    await expect(verify(...args)).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining(reason) });
  });
});

describe('the proofs', () => {
  it('hold for a run as it should be', () => {
    expect(faults(observed())).toEqual([]);
  });

  it('know what patterns match', () => {
    const matching = (topic: string) =>
      Object.keys(SUBSCRIPTIONS).filter(name => follows({ topics: [], ...SUBSCRIPTIONS[name] }, topic));
    expect(matching('forum.events.question.opened')).toEqual(['all', 'question', 'twin', 'block', 'leaving', 'late']);
    expect(matching('forum.events.control.signal')).toEqual(['all', 'effect', 'mixed', 'late']);
    expect(matching('verify.work.a')).toEqual(['mixed', 'nested', 'work', 'leaving', 'late']);
    expect(matching('verify.other')).toEqual(['nested']);
    expect(matching(STRAY_TOPIC)).toEqual([]);
  });

  it('bear a repeat, also one of a worker whose lease has passed on', () => {
    const run = observed();
    const [begin, done, ...others] = notesOf(run, 'all') as [Note, Note, Note, Note];
    // The first worker was stopped with attempt 1; attempt 2 handled the event, then came the next one, then it woke.
    const late = { ...done, took: 1500, phase: 'failed' as const };
    const second = [begin, done].map(note => ({ ...note, attempt: 2, pid: 2 }));
    Object.assign(rowOf(run, 'all'), { attempts: 2, history: [{ attempt: 2, generation: 1, outcome: 'sent' }] });
    run.notes = [begin, ...second, ...others, late, ...run.notes.filter(note => note.consumer !== 'all')];
    expect(faults(run)).toEqual([]);
    expect(repeats(run.notes)).toBe(1);
  });

  it('bear a subscription that comes late, with what comes in the span of its coming', () => {
    const run = observed();
    run.joined = { before: { sequence: 0, number: 0 }, after: { sequence: 2, number: 1 } };
    run.deliveries = run.deliveries.filter(row => row.consumer !== LATE || (row.event_sequence ?? 9) > 1);
    run.notes = run.notes.filter(note => note.consumer !== LATE || note.message_id !== 'msg_1');
    recount(run);
    expect(faults(run)).toEqual([]);
  });

  const doctored: Record<string, [claim: RegExp, doctor: (run: Observed) => void]> = {
    'an answer that nobody should get': [/was a success/, run => run.wrong.push('POST /outbox: 500 INTERNAL_ERROR')],
    'a process that fell over': [/ended by itself/, run => run.unexpected.push('process 7 ended by itself (code 1)')],
    'an acknowledged signal that is not there': [
      /acknowledged signal/,
      run => run.acknowledged.push({ ...at(run.acknowledged, 0), signal_id: 'sig_9' }),
    ],
    'a signal under another sequence': [/acknowledged signal/, run => swap(run.acknowledged, 'sequence')],
    'a signal nobody sent': [/not sent/, run => Object.assign(run, { sent: new Set() })],
    'a signal stored twice': [/none twice/, run => run.events.push({ ...signal(run, 0), sequence: 99 })],
    'two threads of one agent': [/one control thread/, run => Object.assign(signal(run, 1), { thread_id: 'other' })],
    'an acknowledged post that is not there': [
      /acknowledged post/,
      run => Object.assign(run, { posted: new Map([['text', 'thr']]) }),
    ],
    'an acknowledged message that is not there': [/published message/, run => run.published.push('verify-message-9')],
    ...Object.fromEntries(
      Object.keys(SUBSCRIPTIONS).flatMap(name => [
        [
          `an event or a message that ${name} was not given`,
          [new RegExp(`${name} was given exactly`), (run: Observed) => remove(run, rowOf(run, name))] as const,
        ],
        [
          `one that ${name} was given twice`,
          [
            new RegExp(`${name} was given exactly`),
            (run: Observed) => run.deliveries.push({ ...rowOf(run, name), position: 99 }),
          ] as const,
        ],
      ]),
    ),
    'an event that a subscription does not follow': [
      /question was given exactly/,
      run => run.deliveries.push({ ...rowOf(run, 'all'), consumer: 'question', position: 99 }),
    ],
    'an event from before the subscription came': [
      /late was given exactly/,
      run => Object.assign(run, { joined: { before: { sequence: 2, number: 0 }, after: { sequence: 3, number: 0 } } }),
    ],
    'a gap after the first event in the span of its coming': [
      /late was given exactly/,
      run => {
        run.joined = { before: { sequence: 0, number: 0 }, after: { sequence: 9, number: 9 } };
        remove(run, run.deliveries.filter(row => row.consumer === LATE)[1]);
      },
    ],
    'a delivery of a consumer that nobody knows': [
      /nothing else/,
      run => run.deliveries.push({ ...rowOf(run, 'all'), consumer: 'other' }),
    ],
    'a delivery of an event that is not stored': [
      /nothing else/,
      run => Object.assign(rowOf(run, 'all'), { event_sequence: 99 }),
    ],
    'a stray message that is lost': [
      /nothing else/,
      run =>
        remove(
          run,
          run.deliveries.find(row => row.consumer === null),
        ),
    ],
    'a stray message that was touched': [
      /nothing else/,
      run => Object.assign(run.deliveries.find(row => row.consumer === null) ?? {}, { attempts: 1 }),
    ],
    'events inserted in another order': [
      /order of the log/,
      run =>
        swap(
          run.deliveries.filter(row => row.consumer === 'all'),
          'event_sequence',
        ),
    ],
    ...Object.fromEntries(
      ['pending', 'processing', 'failed', 'dead', 'discarded'].map(status => [
        `a delivery that is ${status}`,
        [/every delivery is sent/, (run: Observed) => Object.assign(rowOf(run, 'all'), { status })] as const,
      ]),
    ),
    'a delivery that is sent and still in its lane': [
      /every delivery is sent/,
      run => Object.assign(rowOf(run, 'work'), { queued: 1 }),
    ],
    'a lane that lacked its head': [/lacked its head/, run => Object.assign(run, { mended: 1 })],
    'a process that is said to serve after its end': [/lacked its head/, run => Object.assign(run, { servers: 1 })],
    'a note without a delivery': [
      /as its handler ended/,
      run => run.notes.push({ ...at(run.notes, 0), message_id: 'msg_99' }),
    ],
    'a delivery that is sent and was not handled': [
      /as its handler ended/,
      run => {
        run.notes = run.notes.filter(note => note.consumer !== 'work');
      },
    ],
    'a delivery that another attempt sent': [
      /as its handler ended/,
      run => Object.assign(at(rowOf(run, 'work').history, 0), { attempt: 2 }),
    ],
    'a delivery that was sent twice': [
      /as its handler ended/,
      run => rowOf(run, 'work').history.push({ attempt: 2, generation: 1, outcome: 'sent' }),
    ],
    'a successor that did not wait': [
      /nothing was begun before the end/,
      run => {
        const [begin, done, next, ...others] = notesOf(run, 'all');
        run.notes = [begin, next, done, ...others].flatMap(note => note ?? []);
      },
    ],
    'a successor that did not wait for a message of another topic': [
      /nothing was begun before the end/,
      run => {
        const [begin, done, next, ...others] = notesOf(run, 'mixed');
        run.notes = [next, begin, done, ...others].flatMap(note => note ?? []);
      },
    ],
    'a successor of a dead one that blocks': [
      /nothing was begun before the end/,
      run => {
        const [begin, done, ...others] = notesOf(run, 'block') as [Note, Note, Note];
        const again = [begin, done].map(note => ({ ...note, generation: 2, idempotency_key: 'other' }));
        rowOf(run, 'block').history = [
          { attempt: 1, generation: 1, outcome: 'dead' },
          { attempt: 1, generation: 2, outcome: 'sent' },
        ];
        run.notes = [begin, { ...done, phase: 'dead' }, ...others, ...again];
      },
    ],
    'a late repeat by the worker that holds the lease': [
      /nothing was begun before the end/,
      run => run.notes.push({ ...at(notesOf(run, 'all'), 0), attempt: 2 }),
    ],
    'two attempts at once': [
      /ran at once/,
      run => {
        const [begin, done] = notesOf(run, 'all') as [Note, Note];
        run.notes = [begin, { ...begin, attempt: 2, pid: 2 }, done];
      },
    ],
    'a repeat under another idempotency key': [
      /idempotency key/,
      run => run.notes.push({ ...at(run.notes, 0), attempt: 2, idempotency_key: 'other' }),
    ],
    'one idempotency key for two messages': [
      /idempotency key/,
      run => {
        for (const note of run.notes) note.idempotency_key = 'same';
      },
    ],
    'one attempt made twice': [/new attempt/, run => run.notes.push(at(run.notes, 0))],
    'a missing effect': [/exactly once/, run => run.effects.pop()],
    'a doubled effect': [/exactly once/, run => run.effects.push(at(run.effects, 1))],
    'an effect of nothing': [/exactly once/, run => run.effects.push({ ...at(run.effects, 0), sequence: 99 })],
    'effects in swapped order': [/effects stand in the order/, run => run.effects.reverse()],
    'a thread with another number of posts': [
      /row of threads/,
      run => Object.assign(at(run.tables.threads, 0), { posts_count: 9 }),
    ],
    'a thread that is missing': [/row of threads/, run => run.tables.threads.pop()],
    'an agent with another status': [
      /row of control_threads/,
      run => Object.assign(at(run.tables.control_threads, 0), { status: 'working' }),
    ],
    'a run with another count': [/row of runs/, run => Object.assign(at(run.tables.runs, 0), { clear_count: 7 })],
    'a question with another answer': [
      /row of questions/,
      run => Object.assign(at(run.tables.questions, 0), { answer: 'Asia.' }),
    ],
    'an item of an inbox that is missing': [/one item until/, run => run.tables.inbox_items.pop()],
    'an item with two claimants at once': [/leased to two claimants/, run => run.claimed.push(claim('hook-3', 1700))],
    'a wrong number of items': [
      /one item until/,
      run => Object.assign(at(run.tables.control_threads, 0), { unread: 2 }),
    ],
    'a forgotten counter': [/row of counts/, run => run.tables.counts.pop()],
    'a counter of nothing': [
      /row of counts/,
      run => run.tables.counts.push({ subject: 'thread_state', value: 'lost', count: 1 }),
    ],
    'a version that fell': [
      /version of a thread/,
      run => run.sightings.push({ thread_id: THREAD, version: 9, last_sequence: 1 }),
    ],
    'a thread that nobody has seen': [/has seen the threads/, run => run.tables.seen.pop()],
    'a topic with another count': [/every topic counts/, run => Object.assign(at(run.tables.topics, 0), { sent: 99 })],
    'an answer of the API that the log contradicts': [
      /HTTP API/,
      run => run.asked.push({ what: 'a search', got: [], wanted: [THREAD] }),
    ],
  };

  it.each(Object.entries(doctored))('find %s', (_name, [claim, doctor]) => {
    const run = observed();
    doctor(run);
    expect(faults(run).join('\n')).toMatch(claim);
  });
});

describe('the proofs of webhooks', () => {
  it('hold for a storm as it should be, also if something is repeated', () => {
    expect(stormFaults(storm())).toEqual([]);
    const run = storm();
    run.given.push({ ...at(run.given, 0) });
    expect(stormFaults(run)).toEqual([]);
  });

  const doctored: Record<string, [claim: RegExp, doctor: (run: Storm) => void]> = {
    'an event that one endpoint has not got': [/got every event/, run => run.given.pop()],
    'events of one thread that were swapped': [/order of the log/, run => run.given.reverse()],
    'arrivals that are late': [/p99/, run => delayed(run, 0, 1000)],
    'good endpoints that wait for bad ones': [/wait no longer/, run => delayed(run, 4, 111)],
    'a failing endpoint that gets every event': [
      /few requests/,
      run => run.given.push(...Array.from({ length: 81 }, () => ({ ...at(run.given, 0), path: '/fail/2' }))),
    ],
    'a storm without arrivals': [/p99/, run => Object.assign(run, { given: [] })],
  };

  it.each(Object.entries(doctored))('find %s', (_name, [claim, doctor]) => {
    const run = storm();
    doctor(run);
    expect(stormFaults(run).join('\n')).toMatch(claim);
  });
});

/** Lets the reports from one on arrive late. */
function delayed(run: Storm, from: number, delay: number): void {
  for (const one of run.given) if (one.report >= from) one.delay = delay;
}

function stormFaults(run: Storm): string[] {
  return proveStorm(run).flatMap(({ claim, faults }) => (faults.length > 0 ? [`${claim}: ${faults[0]}`] : []));
}

/** Twelve reports of two runs, each with one thread, to two endpoints that follow one of them. */
function storm(): Storm {
  const given = Array.from({ length: 12 }, (_, report) => ({
    ...{ path: `/good/${report % 2}`, report, sequence: 10 * report + 1, thread_id: `thr-${report % 2}`, delay: 10 },
  }));
  return {
    good: ['/good/0', '/good/1'],
    given,
    reports: { calm: 4, stormy: 6, killed: 2 },
    runs: 2,
    kills: 1,
    p99: 1000,
  };
}

const THREAD = 'fctrl-run-agent';

async function verify(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const env = { ...process.env, NODE_COMPILE_CACHE, TMPDIR: scratchRoot };
  return promisify(execFile)(process.execPath, [MAIN, ...args], { env }).catch(error => {
    // The message of execFile has the command only; the report says why it failed.
    throw Object.assign(error, { message: `${error.message}\n${error.stdout}` });
  });
}

/** The claims that do not hold. */
function faults(run: Observed): string[] {
  return prove(run).flatMap(({ claim, faults }) => (faults.length > 0 ? [`${claim}: ${faults[0]}`] : []));
}

/** What is seen after one agent has asked, was answered and has completed, and after three messages were published. */
function observed(): Observed {
  const events = log();
  const messages = ['verify.work.a', 'verify.work.b', STRAY_TOPIC].map((topic, index) => ({
    ...{ number: index + 1, message_id: `verify-message-${index + 1}`, topic, message_key: THREAD },
  }));
  const effects = events.flatMap(({ event_type, sequence, payload }) =>
    event_type === 'forum.control.signal'
      ? [{ signal_id: String(payload.signal_id), thread_id: THREAD, sequence }]
      : [],
  );
  const sources = [
    ...events.map(event => ({
      event_sequence: event.sequence,
      message_number: null,
      topic: topicOf(event.event_type),
      id: messageIdOf(event),
    })),
    ...messages.map(({ number, topic, message_id }) => ({
      event_sequence: null,
      message_number: number,
      topic,
      id: message_id,
    })),
  ];
  const deliveries: StoredDelivery[] = [];
  const notes: Note[] = [];
  for (const { id, ...source } of sources) {
    const consumers = Object.keys(SUBSCRIPTIONS).filter(name =>
      follows({ topics: [], ...SUBSCRIPTIONS[name] }, source.topic),
    );
    for (const consumer of consumers.length > 0 ? consumers : [null]) {
      const sent = consumer !== null;
      const rest = { queued: 0, claimable_at: null, parked: 0, lease_token: null, generation: 1, message_key: THREAD };
      const history = sent ? [{ attempt: 1, generation: 1, outcome: 'sent' }] : [];
      const position = deliveries.length + 1;
      deliveries.push({
        position,
        consumer,
        ...source,
        ...rest,
        status: sent ? 'sent' : 'failed',
        attempts: sent ? 1 : 0,
        history,
      });
      if (consumer === null || SUBSCRIPTIONS[consumer]?.transactional) continue;
      const note = {
        consumer,
        message_id: id,
        topic: source.topic,
        key: THREAD,
        attempt: 1,
        generation: 1,
        idempotency_key: `${id}:${position}:1`,
      };
      notes.push(
        { ...note, pid: 1, at: position, phase: 'begin', took: 0 },
        { ...note, pid: 1, at: position, phase: 'done', took: 1 },
      );
    }
  }
  const run: Observed = {
    ...{ events, messages, deliveries, notes, effects, subscriptions: [], servers: 0, mended: 0, leaseMs: 1000 },
    acknowledged: effects.map(({ signal_id, sequence }) => ({
      signal_id,
      sequence,
      thread_id: THREAD,
      correlation_id: `verify-${sequence}`,
    })),
    sent: new Set(events.map(event => event.correlation_id)),
    ...{ wrong: [], unexpected: [], posted: new Map(), published: ['verify-message-1'], asked: [] },
    sightings: [{ thread_id: THREAD, version: 1, last_sequence: 4 }],
    marks: [{ viewer: 'operator:ana', thread_id: THREAD, last_sequence: events.length }],
    received: new Set(),
    // The second claimant came when the lease of the first had run out.
    claimed: [claim('hook-1', 0), claim('hook-1', 500), claim('hook-2', 1490)],
    joined: { before: { sequence: 0, number: 0 }, after: { sequence: 0, number: 0 } },
    tables: {
      ...{ threads: [], control_threads: [], runs: [], questions: [], inbox_items: [] },
      ...{ counts: [], topics: [], seen: [] },
    },
  };
  const computed = recompute(events);
  run.tables.threads = [...computed.threads].map(([thread_id, row]) => ({ thread_id, version: 3, ...row }));
  run.tables.control_threads = [...computed.control_threads].map(([, row]) => ({
    run_id: 'run',
    agent_name: 'agent',
    unread: 1,
    ...row,
  }));
  run.tables.inbox_items = [...computed.inbox_items].map(([sequence, row]) => ({ sequence, ...row }));
  run.tables.runs = [...computed.runs].map(([run_id, row]) => ({ run_id, ...row }));
  run.tables.questions = [...computed.questions].map(([question_id, row]) => ({ question_id, ...row }));
  run.tables.counts = [...computed.counts].map(([key, { count }]) => {
    const [subject, value] = key.split(' ');
    return { subject, value, count };
  });
  const place = computed.threads.get(THREAD)?.place;
  run.tables.seen = [{ viewer: 'operator:ana', first_place: place, last_place: place }];
  recount(run);
  return run;
}

/** One agent opens its thread with a question, is answered by an operator, and completes. */
function log(): StoredEvent[] {
  const signal = (control_type: string, fields: object) =>
    ['forum.control.signal', { control_type, ...fields }] as const;
  const question_id = 'q_1';
  const steps = [
    ['forum.thread.opened', { kind: 'control', title: 'Control', priority: 'normal' }],
    signal('guidance_request', { question: 'Which region?', question_id }),
    ['forum.question.opened', { question_id }],
    ['forum.state.changed', { from: 'new', to: 'waiting_operator' }],
    signal('guidance_answer', { answer: 'Europe.', question_id }),
    ['forum.question.answered', { question_id }],
    ['forum.state.changed', { from: 'waiting_operator', to: 'answered' }],
    signal('completion', { summary: 'Done.' }),
  ] as const;
  return steps.map(([event_type, payload], index) => {
    const sequence = index + 1;
    const place = { thread_id: THREAD, run_id: 'run', agent_name: 'agent', ticket: null };
    const correlation_id = `verify-${sequence}`;
    const envelope = { sequence, event_id: `evt_${sequence}`, event_type, occurred_at: sequence, correlation_id };
    return {
      ...envelope,
      ...place,
      actor: index === 4 ? 'operator:ana' : 'agent:agent',
      payload: { signal_id: `sig_${sequence}`, ...payload },
    };
  });
}

/** A claim of one second, answered after 10 ms. */
function claim(claimant: string, sent_at: number): ClaimedItem {
  return { item_id: 'item_6', claimant, sent_at, answered_at: sent_at + 10, lease_ms: 1000 };
}

function signal(run: Observed, index: number): StoredEvent {
  return at(
    run.events.filter(event => event.event_type === 'forum.control.signal'),
    index,
  );
}

function notesOf(run: Observed, consumer: string): Note[] {
  return run.notes.filter(note => note.consumer === consumer);
}

/** The first delivery of a consumer. */
function rowOf(run: Observed, consumer: string): StoredDelivery {
  return at(
    run.deliveries.filter(row => row.consumer === consumer),
    0,
  );
}

function remove(run: Observed, row: StoredDelivery | undefined): void {
  run.deliveries = run.deliveries.filter(other => other !== row);
}

/** Counts again what was sent of each topic. */
function recount(run: Observed): void {
  const sent = Map.groupBy(
    run.deliveries.filter(row => row.status === 'sent'),
    row => row.topic,
  );
  run.tables.topics = [...sent].map(([topic, rows]) => ({ topic, sent: rows.length }));
}

function at<T>(items: T[], index: number): T {
  return items[index] as T;
}

function swap<K extends string>(items: Record<K, unknown>[], field: K): void {
  const [first, second] = [at(items, 0), at(items, 1)];
  [first[field], second[field]] = [second[field], first[field]];
}

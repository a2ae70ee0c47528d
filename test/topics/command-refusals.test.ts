import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { commands } from '../helpers/commands.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { refusables } from '../helpers/refusables.ts';
import { refusedBodies } from '../helpers/refused-bodies.ts';
import { refusedSignals } from '../helpers/refused-signals.ts';
import { signal } from '../helpers/signals.ts';

/** A command that must be dead after one attempt, and the words that must stand in its `last_error`. */
type Row = [name: string, command: string, payload: unknown, ...words: string[]];

const ana = { type: 'human', name: 'ana' };
const every = [
  'control_signal',
  'open_thread',
  'add_post',
  'assign_thread',
  'change_state',
  'set_priority',
  'close_thread',
];

/** Commands on a thread, each of them complete. */
const onThread = (thread_id: string): [command: string, payload: Record<string, unknown>][] => [
  ['add_post', { thread_id, actor: ana, body: 'Hello.' }],
  ['assign_thread', { thread_id, actor: ana, assignee: 'bo' }],
  ['change_state', { thread_id, actor: ana, state: 'answered' }],
  ['set_priority', { thread_id, actor: ana, priority: 'urgent' }],
  ['close_thread', { thread_id, actor: ana }],
];

const conflicts: Row[] = [
  ...onThread('nowhere').map(
    ([name, payload]): Row => [`${name}: no such thread`, name, payload, 'THREAD_NOT_FOUND: '],
  ),
  // To close what is closed changes nothing, and so is not refused.
  ...onThread('done')
    .slice(0, -1)
    .map(([name, payload]): Row => [`${name}: a closed thread`, name, payload, 'THREAD_CLOSED: ']),
  [
    'a move that is not allowed',
    'change_state',
    { thread_id: 'talk', actor: ana, state: 'new' },
    'TRANSITION_NOT_ALLOWED: ',
    'waiting_operator, waiting_human, answered, closed',
  ],
  [
    'a move that a control thread with a question does not allow',
    'add_post',
    { thread_id: '{asker}', actor: ana, body: 'Later.', state: 'answered' },
    'TRANSITION_NOT_ALLOWED: ',
    'A control thread with open questions can move to closed.',
  ],
  ['a signal to a closed run', 'control_signal', signal('completion', { run_id: 'over' }), 'RUN_CLOSED: '],
];

const faults: Row[] = [
  ...onThread('talk').flatMap(([command, payload]) =>
    Object.keys(payload).map((field): Row => {
      const { [field]: _, ...rest } = payload;
      return [`${command} without ${field}`, command, rest, 'VALIDATION_FAILED: ', `payload/${field} is required.`];
    }),
  ),
  ...onThread('talk').flatMap(([command, payload]): Row[] => [
    [`${command} with a field of another`, command, { ...payload, title: 'x' }, 'payload/title is not a known field'],
    [
      `${command} with a number as thread_id`,
      command,
      { ...payload, thread_id: 7 },
      'payload/thread_id must be string',
    ],
    [`${command} with an unknown actor`, command, { ...payload, actor: { type: 'robot', name: 'r' } }, '/actor/type '],
  ]),
  // One command for each change: what PATCH takes together, no command does.
  [
    'two changes at once',
    'change_state',
    { thread_id: 'talk', actor: ana, state: 'closed', priority: 'low' },
    '/priority ',
  ],
  ['a state with the close', 'close_thread', { thread_id: 'talk', actor: ana, state: 'closed' }, '/state '],
  ['a blank assignee', 'assign_thread', { thread_id: 'talk', actor: ana, assignee: ' ' }, '/assignee '],
  ['an unknown state', 'change_state', { thread_id: 'talk', actor: ana, state: 'open' }, '/state must be one of new, '],
  ['an unknown priority', 'set_priority', { thread_id: 'talk', actor: ana, priority: 1 }, '/priority '],
];

let deep: unknown = 'the end';
for (let level = 0; level < 63; level += 1) deep = level % 2 ? [deep] : { actor: deep };

/** What is no command at all. */
const garbage: [name: string, payload: unknown][] = [
  ['null', null],
  ['a string', 'close everything'],
  ['a number', 1],
  ['true', true],
  ['an empty list', []],
  ['a list of objects', [{ thread_id: 'talk' }, {}]],
  ['an empty object', {}],
  ['nulls', { thread_id: null, actor: null, body: null, title: null, schema_version: null, control_type: null }],
  ['what is nested 63 levels deep', deep],
  ['what is nested deep in every field', { thread_id: deep, actor: deep, body: deep, state: deep, control_type: deep }],
  ['many unknown fields', Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`field ${n}`, n]))],
  ['a long name of a field', { ['x'.repeat(100_000)]: 1 }],
  ['half characters', { '\ud83d': '\ude00', thread_id: '\ude00', actor: '\ud83d' }],
  ['names of inherited properties', { constructor: 1, toString: null, hasOwnProperty: {}, control_type: 'toString' }],
];

/** The tables of refused requests, as commands. */
const requests: Row[] = [...refusedSignals, ...refusedBodies].flatMap(({ name, url, body, code, pointers = [] }) => {
  const words = [`${code}: `, ...pointers.map(pointer => `payload${pointer} `)];
  const [, thread_id] = /^\/threads\/(\w+)\/posts$/.exec(url) ?? [];
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body);
  if (url === '/control-signals') return [[name, 'control_signal', body, ...words] satisfies Row];
  if (url === '/threads') return [[name, 'open_thread', body, ...words] satisfies Row];
  return thread_id && isObject ? [[name, 'add_post', { thread_id, ...body }, ...words] satisfies Row] : [];
});

describe.each(engines)('a command that is refused on %s', engine => {
  let service: TestApp;
  let ids: Record<string, string>;
  beforeAll(async () => {
    service = await startApp(engine);
    ids = (await refusables(service.send)).ids;
    const asked = (await service.send('GET', `/questions/${ids['{open}']}`)).body;
    ids['{asker}'] = asked.thread_id;
    await service.send('POST', '/control-signals', signal('completion', { run_id: 'over', agent_name: 'a' }));
    await service.send('POST', '/control-signals', signal('validation', { run_id: 'over', agent_name: 'a' }));
    expect((await service.send('POST', '/runs/over/close')).status).toBe(200);
  });
  afterAll(() => service.close());

  /** Publishes them all, and looks that each is dead for its reason and that there is nothing else of it. */
  async function refuse(rows: Row[]): Promise<void> {
    const { publish, message, drain } = commands(service.send);
    await drain();
    const published: string[] = [];
    for (const [, command, payload] of rows) {
      let text = JSON.stringify(payload);
      for (const [placeholder, id] of Object.entries(ids)) text = text.replaceAll(placeholder, id);
      published.push(await publish(command, JSON.parse(text)));
    }
    const before = await dump(service.url);
    await drain();
    for (const [index, [name, , , ...words]] of rows.entries()) {
      const { status, attempts, last_error, result, attempt_history } = await message(published[index] as string);
      expect({ status, attempts, result }, `${name}: ${last_error}`).toEqual({
        status: 'dead',
        attempts: 1,
        result: null,
      });
      for (const word of words) expect(last_error, name).toContain(word);
      expect(attempt_history).toMatchObject([{ attempt: 1, outcome: 'dead' }]);
      expect(attempt_history[0].error.toWellFormed()).toBe(last_error.toWellFormed());
    }
    const { deliveries: _before, lease_clock: _clock, ...others } = before;
    const { deliveries: _after, lease_clock: _clockAfter, ...othersAfter } = await dump(service.url);
    expect(othersAfter).toEqual(others);
  }

  it('by the state of things, is dead at once and says why', () => refuse(conflicts));

  it('by its schema, is dead at once and names the field', () => refuse(faults));

  it('as the HTTP call would be, is dead at once with the same code', () => {
    expect(requests.length).toBeGreaterThan(240);
    return refuse(requests);
  });

  it('because it is anything but a command, is dead at once, and the worker goes on', async () => {
    const rows = every.flatMap(command =>
      garbage.map(([name, payload]): Row => [`${command}: ${name}`, command, payload, 'VALIDATION_FAILED: payload']),
    );
    await refuse(rows);
    const { publish, message, drain } = commands(service.send);
    const id = await publish('open_thread', { title: 'After all', body: 'Still here.', actor: ana });
    await drain();
    expect(await message(id)).toMatchObject({ status: 'sent' });
  });

  it('is dead at once also where the reason names a field with NUL, which PostgreSQL keeps in no text', () =>
    refuse([
      ['NUL', 'add_post', { ...onThread('talk')[0]?.[1], 'a\u0000b': 1 }, 'VALIDATION_FAILED: payload/a', 'b is'],
    ]));

  it('because its schema_version is not supported, says which ones are', () => {
    const words = ['UNSUPPORTED_SCHEMA_VERSION: ', 'supported: 1.'];
    return refuse([
      ['version 2', 'control_signal', signal('completion', { schema_version: 2 }), ...words],
      ['version 2 of something else', 'control_signal', { schema_version: 2, mood: 'good' }, ...words],
    ]);
  });
});

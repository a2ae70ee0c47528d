import { type Refused, schemaRows } from './refused.ts';

/* Bodies that are refused by every call other than POST /control-signals. */

const actor = { type: 'human', name: 'ana' };
const talk = { title: 'Which region?', body: 'Staging runs in two.', actor };
const post = { body: 'Use eu-west-1.', actor };
const message = { topic: 'forum.integration.chat', payload: { text: 'Hello.' } };

/** A JSON value nested so many levels deep. */
function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level += 1) value = level % 2 ? [value] : { value };
  return value;
}

const questions: Refused[] = [
  ...schemaRows('PUT', '/questions/{open}/answer', [
    ['PUT answer: an empty object', {}, '/answer'],
    ['PUT answer: null', null, ''],
    ['PUT answer: a list', ['Europe.'], ''],
    ['PUT answer: a string', 'Europe.', ''],
    ['PUT answer: a blank answer', { answer: ' \n' }, '/answer'],
    ['PUT answer: a number as answer', { answer: 42 }, '/answer'],
    ['PUT answer: a question named twice', { answer: 'Europe.', in_reply_to: '{open}' }, '/in_reply_to'],
    ['PUT answer: an actor without a type', { answer: 'Europe.', actor: { name: 'ana' } }, '/actor/type'],
    ['PUT answer: null in selected', { answer: 'Europe.', selected: [null] }, '/selected/0'],
  ]),
  ...schemaRows('POST', '/questions/{open}/cancel', [
    ['cancel: null', null, ''],
    ['cancel: a list', [], ''],
    ['cancel: an unknown field', { reason: 'No longer needed.' }, '/reason'],
    ['cancel: an unknown type of actor', { actor: { type: 'robot', name: 'r2' } }, '/actor/type'],
  ]),
  ...rows('PUT', [
    ['PUT answer: an unknown question', '/questions/q_0/answer', { answer: 'Europe.' }, 'QUESTION_NOT_FOUND'],
    ['PUT answer: another answer', '/questions/{answered}/answer', { answer: 'Mars.' }, 'ALREADY_ANSWERED'],
    [
      'PUT answer: the answer with a selection',
      '/questions/{answered}/answer',
      { answer: 'Europe.', selected: ['yes'] },
      'ALREADY_ANSWERED',
    ],
    ['PUT answer: a cancelled question', '/questions/{cancelled}/answer', { answer: 'Europe.' }, 'QUESTION_CLOSED'],
    [
      'PUT answer: no such option',
      '/questions/{open}/answer',
      { answer: 'Maybe.', selected: ['maybe'] },
      'INVALID_SELECTION',
    ],
  ]),
  ...rows('POST', [
    ['cancel: an unknown question', '/questions/q_0/cancel', {}, 'QUESTION_NOT_FOUND'],
    ['cancel: an answered question', '/questions/{answered}/cancel', {}, 'ALREADY_ANSWERED'],
  ]),
];

const attempts: Refused[] = [
  ...schemaRows('POST', '/control-threads/run-1/asker/attempts', [
    ['attempts: null', null, ''],
    ['attempts: a number', 2, ''],
    ['attempts: an unknown field', { attempt: 2 }, '/attempt'],
    ['attempts: a blank actor', { actor: { type: 'human', name: ' ' } }, '/actor/name'],
  ]),
  ...rows('POST', [
    ['attempts: an unknown agent', '/control-threads/run-1/nobody/attempts', {}, 'CONTROL_THREAD_NOT_FOUND'],
    ['attempts: a closed thread', '/control-threads/run-1/gone/attempts', {}, 'THREAD_CLOSED'],
  ]),
];

const threads: Refused[] = [
  ...schemaRows('POST', '/threads', [
    ['threads: an empty object', {}, '/title', '/body'],
    ['threads: a list', [talk], ''],
    ['threads: a blank title', { ...talk, title: ' ' }, '/title'],
    ['threads: a title of 501 characters', { ...talk, title: 'x'.repeat(501) }, '/title'],
    ['threads: a number as title', { ...talk, title: 1 }, '/title'],
    ['threads: a blank body', { ...talk, body: '\n' }, '/body'],
    ['threads: a body with NUL', { ...talk, body: 'a\u0000' }, '/body'],
    ['threads: an actor as a string', { ...talk, actor: 'human:ana' }, '/actor'],
    ['threads: a blank run_id', { ...talk, run_id: ' ' }, '/run_id'],
    ['threads: null as ticket', { ...talk, ticket: null }, '/ticket'],
    ['threads: an unknown priority', { ...talk, priority: 'critical' }, '/priority'],
    ['threads: an empty thread_id', { ...talk, thread_id: '' }, '/thread_id'],
    ['threads: a thread_id with a slash', { ...talk, thread_id: 'a/b' }, '/thread_id'],
    ['threads: a thread_id with a space', { ...talk, thread_id: 'a b' }, '/thread_id'],
    ['threads: a thread_id of 201 characters', { ...talk, thread_id: 'x'.repeat(201) }, '/thread_id'],
    // A client resolves these away as path segments, so such a thread could never be read.
    ['threads: a thread_id of two dots', { ...talk, thread_id: '..' }, '/thread_id'],
    ['threads: a state', { ...talk, state: 'closed' }, '/state'],
    ['threads: a kind', { ...talk, kind: 'control' }, '/kind'],
  ]),
  ...schemaRows('POST', '/threads/talk/posts', [
    ['posts: an empty object', {}, '/body'],
    ['posts: null', null, ''],
    ['posts: a blank body', { ...post, body: ' ' }, '/body'],
    ['posts: a list as body', { ...post, body: ['Hello.'] }, '/body'],
    ['posts: an unknown state', { ...post, state: 'open' }, '/state'],
    ['posts: null as state', { ...post, state: null }, '/state'],
    ['posts: an unknown field', { ...post, control_type: 'completion' }, '/control_type'],
  ]),
  ...rows('POST', [
    [
      'threads: a reserved id',
      '/threads',
      { ...talk, thread_id: 'fctrl-run-1-builder-0123456789abcdef' },
      'RESERVED_THREAD_ID',
    ],
    ['threads: the reserved prefix alone', '/threads', { ...talk, thread_id: 'fctrl-' }, 'RESERVED_THREAD_ID'],
    ['threads: an id that is taken', '/threads', { ...talk, thread_id: 'talk', title: 'Another' }, 'THREAD_EXISTS'],
    ['posts: an unknown thread', '/threads/nowhere/posts', post, 'THREAD_NOT_FOUND'],
    ['posts: a closed thread', '/threads/done/posts', post, 'THREAD_CLOSED'],
    ['posts: a move that is not allowed', '/threads/talk/posts', { ...post, state: 'new' }, 'TRANSITION_NOT_ALLOWED'],
  ]),
];

const outbox: Refused[] = [
  ...schemaRows('POST', '/outbox', [
    ['outbox: an empty object', {}, '/topic', '/payload'],
    ['outbox: a list', [message], ''],
    ['outbox: an empty topic', { ...message, topic: '' }, '/topic'],
    ['outbox: a topic with an empty segment', { ...message, topic: 'a..b' }, '/topic'],
    ['outbox: a topic that ends in a dot', { ...message, topic: 'a.' }, '/topic'],
    ['outbox: a topic with a wildcard', { ...message, topic: 'forum.integration.**' }, '/topic'],
    ['outbox: a topic with a space', { ...message, topic: 'a b' }, '/topic'],
    ['outbox: a topic of 201 characters', { ...message, topic: 'x'.repeat(201) }, '/topic'],
    ['outbox: a number as topic', { ...message, topic: 1 }, '/topic'],
    ['outbox: a payload nested 65 levels deep', { ...message, payload: nested(65) }, '/payload'],
    ['outbox: a payload nested 2,000 levels deep', { ...message, payload: nested(2000) }, '/payload'],
    ['outbox: an empty message_key', { ...message, message_key: '' }, '/message_key'],
    ['outbox: null as message_key', { ...message, message_key: null }, '/message_key'],
    ['outbox: a message_key with NUL', { ...message, message_key: '\u0000' }, '/message_key'],
    ['outbox: a message_key of 501 characters', { ...message, message_key: 'x'.repeat(501) }, '/message_key'],
    ['outbox: an empty message_id', { ...message, message_id: '' }, '/message_id'],
    ['outbox: a message_id with a slash', { ...message, message_id: 'a/b' }, '/message_id'],
    ['outbox: a number as message_id', { ...message, message_id: 7 }, '/message_id'],
    // Its own path would be that of another call.
    ['outbox: a message_id that is the name of another call', { ...message, message_id: 'stats' }, '/message_id'],
    ['outbox: a time in words', { ...message, available_at: 'tomorrow' }, '/available_at'],
    ['outbox: a time without a zone', { ...message, available_at: '2026-11-22T09:00:00' }, '/available_at'],
    ['outbox: a day that does not exist', { ...message, available_at: '2026-02-30T09:00:00Z' }, '/available_at'],
    ['outbox: a leap second', { ...message, available_at: '2026-12-31T23:59:60Z' }, '/available_at'],
    ['outbox: a number as available_at', { ...message, available_at: 1_790_000_000_000 }, '/available_at'],
    ['outbox: a status', { ...message, status: 'sent' }, '/status'],
  ]),
  ...schemaRows('POST', '/bus/process', [
    ['process: null', null, ''],
    ['process: a limit of 0', { limit: 0 }, '/limit'],
    ['process: a limit of 1001', { limit: 1001 }, '/limit'],
    ['process: a limit as a string', { limit: '10' }, '/limit'],
    ['process: an unknown field', { topic: 'a' }, '/topic'],
  ]),
  ...schemaRows('POST', '/bus/subscriptions/forumbus/replay', [
    ['replay: an empty object', {}, '/after'],
    ['replay: null', null, ''],
    ['replay: a sequence below 0', { after: -1 }, '/after'],
    ['replay: half a sequence', { after: 0.5 }, '/after'],
    ['replay: a sequence as a string', { after: '0' }, '/after'],
    ['replay: an unknown field', { after: 0, until: 9 }, '/until'],
  ]),
  ...rows('POST', [
    ['replay: an unknown subscription', '/bus/subscriptions/nobody/replay', { after: 0 }, 'SUBSCRIPTION_NOT_FOUND'],
    ['outbox: a topic of events', '/outbox', { ...message, topic: 'forum.events.control.signal' }, 'RESERVED_TOPIC'],
    [
      'outbox: an id with another payload',
      '/outbox',
      { ...message, message_id: 'msg-1', payload: 2 },
      'MESSAGE_EXISTS',
    ],
    [
      'outbox: an id with another topic',
      '/outbox',
      { ...message, message_id: 'msg-1', topic: 'a.b' },
      'MESSAGE_EXISTS',
    ],
    ['outbox: an id with a key', '/outbox', { ...message, message_id: 'msg-1', message_key: 'k' }, 'MESSAGE_EXISTS'],
  ]),
];

function rows(
  method: Refused['method'],
  table: [name: string, url: string, body: unknown, code: Refused['code']][],
): Refused[] {
  return table.map(([name, url, body, code]) => ({ name, method, url, body, code }));
}

export const refusedBodies: Refused[] = [...questions, ...attempts, ...threads, ...outbox];

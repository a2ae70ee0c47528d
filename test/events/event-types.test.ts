import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import document from '../../openapi/openapi.json' with { type: 'json' };
import { type EventType, eventTypes, sampleEvent } from '../../src/events/event-types.ts';
import { threadStates } from '../../src/threads/thread.ts';
import type { TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { Expiries, startTimed } from '../helpers/expiry.ts';
import { markedRun } from '../helpers/marked-run.ts';
import type { AtEnd } from '../helpers/process.ts';
import { startReceiver } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';
import { people, withTokens } from '../helpers/tokens.ts';

const soon = { timeout: 120_000, interval: 20 };
const LONG = 'w'.repeat(600);
const OPTIONS = [{ label: 'eu', description: LONG }, { label: 'us' }];

type Send = TestApp['send'];

/** Does everything that appends events, each with all the fields that its event can have, and once with none. */
async function tell(send: Send, sendAsSecond: Send, clock: ManualClock, expiries: Expiries): Promise<void> {
  const done = async (method: 'POST' | 'PUT' | 'PATCH', url: string, body?: unknown) => {
    const answer = await send(method, url, body);
    expect(answer.status, `${url} ${JSON.stringify(answer.body)}`).toBeLessThan(300);
    return answer.body;
  };
  const sent = (type: string, fields: object = {}) => done('POST', '/control-signals', signal(type, fields));
  const ask = async (fields: object = {}): Promise<string> =>
    (await sent('guidance_request', fields)).question.question_id;

  // A thread of people.
  const { thread_id } = await done('POST', '/threads', { title: 'Talk', body: 'Which region?' });
  await done('POST', `/threads/${thread_id}/posts`, { body: 'Europe.', state: 'answered' });
  await done('PATCH', `/threads/${thread_id}`, { priority: 'high', assignee: 'ana' });
  await done('PATCH', `/threads/${thread_id}`, { assignee: null, state: 'closed' });

  // Questions before and after the run has a title.
  await ask();
  await sent('guidance_answer');
  const brief = { ticket: 'TCK-1', title: 'Move', done_criteria: 'Tests are green.', agents: ['builder'] };
  await done('PUT', '/runs/run-1', brief);
  await done('PUT', '/runs/run-2', {});
  const source = { host: 'h', session_id: 's', prompt_id: 'p', tool_use_id: 't', cwd: '/', url: 'https://x.example' };
  const asked = { source, question: LONG, context: LONG, options: OPTIONS, multi_select: true, priority: 'urgent' };
  const expiring = { expires_in_seconds: 60, default_answer: 'eu', default_selected: ['eu'] };
  const first = await ask({ ...asked, ...expiring });
  const second = await ask({ ...asked, supersedes: first });
  await sent('guidance_answer', { answered_in: 'cli', answer: LONG, in_reply_to: second, selected: ['eu', 'us'] });
  await done('POST', `/questions/${second}/acknowledge`, {});
  await done('POST', `/questions/${await ask(asked)}/cancel`, {});
  const forTwo = await ask({ ...asked, approvals: 2 });
  const agreed = { answer: LONG, selected: ['eu', 'us'] };
  await done('PUT', `/questions/${forTwo}/answer`, agreed);
  expect((await sendAsSecond('PUT', `/questions/${forTwo}/answer`, agreed)).body.state).toBe('answered');
  await done('PUT', '/runs/run-3', brief);
  await ask({ ...asked, run_id: 'run-3', remind_after_seconds: 60 });
  const expired = [await ask({ expires_in_seconds: 60, default_answer: LONG }), await ask({ ...asked, ...expiring })];
  clock.advance(60_000);
  for (const id of expired) await expiries.of(id);

  const evidence = [
    { kind: 'commit', ref: 'abc', note: LONG },
    { kind: 'log', ref: LONG },
  ];
  await sent('completion');
  await done('POST', '/control-threads/run-1/builder/attempts', {});
  await sent('completion', { attempt: 2, summary: LONG, evidence, ticket: 'TCK-1', causation_id: 'evt_1' });
  await sent('validation', { status: 'failed' });
  await sent('validation', { evidence });
  await done('POST', '/runs/run-1/close', {});
  await sent('completion', { run_id: 'run-2' });
  await done('POST', '/control-threads/run-2/builder/withdraw', {});

  const { token_id } = await done('POST', '/tokens', { role: 'agent', runs: 'r', agents: 'a', validates: 'b*' });
  await done('POST', `/tokens/${token_id}/rotate`, {});
  await done('POST', `/tokens/${token_id}/revoke`);
  await done('POST', '/tokens', { role: 'viewer', actor: people.viewer, expires_in_seconds: 60 });
}

/** Makes the events of webhooks: one is gone, and another one fails five times and then works. */
async function tellOfWebhooks(send: Send, clock: ManualClock, atEnd: AtEnd): Promise<void> {
  const gone = await startReceiver(response => void response.writeHead(410).end(), '127.0.0.1', atEnd);
  const broken = await startReceiver(response => void response.writeHead(500).end(), '127.0.0.1', atEnd);
  for (const [name, { url }] of Object.entries({ gone, broken })) {
    const { status } = await send('POST', '/webhooks', { name, url, event_types: ['forum.control.signal'] });
    expect(status).toBe(201);
  }
  for (let n = 0; n < 5; n += 1) {
    const { status } = await send(
      'POST',
      '/control-signals',
      signal('completion', { run_id: 'run-4', agent_name: `a${n}` }),
    );
    expect(status).toBe(201);
  }
  const state = async () => (await send('GET', '/webhooks/broken')).body;
  await vi.waitFor(async () => expect((await state()).next_probe_at).toEqual(expect.any(String)), soon);
  // The times of the retries are stored a moment later: the clock must not be moved before.
  const waiting = async () => (await send('GET', '/webhooks/broken/deliveries?status=failed')).body.items;
  await vi.waitFor(async () => expect(await waiting()).toHaveLength(5), soon);
  const failed = broken.received.length;
  broken.answer = response => void response.writeHead(204).end();
  expect(broken.received.length).toBe(failed);
  // A retry after five seconds may be a tenth later.
  clock.advance(6000);
  await vi.waitFor(async () => expect(await state()).toMatchObject({ failures: 0, next_probe_at: null }), soon);
  for (const type of ['forum.webhook.disabled', 'forum.webhook.recovered', 'forum.question.reminded']) {
    const seen = async () => (await send('GET', `/events?event_type=${type}`)).body.items;
    await vi.waitFor(async () => expect(await seen()).not.toEqual([]), soon);
  }
}

/** A part of the document in which an object has no fields but those that its schema names. */
function exact(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(exact);
  if (typeof node !== 'object' || node === null) return node;
  const members = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, exact(value)]));
  return 'properties' in members ? { ...members, additionalProperties: false } : members;
}

const schemas = document.components.schemas as Record<string, { examples?: unknown[] }>;
const { mapping } = document.components.schemas.Event.discriminator;

describe('the document', () => {
  it('has a schema for every event type', () => {
    expect(Object.keys(mapping)).toEqual(eventTypes);
    expect(document.components.schemas.Event.oneOf.map(({ $ref }) => $ref)).toEqual(Object.values(mapping));
  });

  it('has the states of threads', () => {
    const { from, to } = document.components.schemas.StateChangedEvent.properties.payload.properties;
    expect([from.enum, to.enum]).toEqual([threadStates, threadStates]);
  });
});

describe('the events that the first version has stored', () => {
  const ajv = new Ajv2020({ strict: false });
  addFormats.default(ajv);
  ajv.addSchema(document, 'document');
  const question_id = 'q_1';

  it.each<[EventType, object]>([
    ['forum.question.opened', { question_id }],
    ['forum.question.answered', { question_id }],
    ['forum.question.cancelled', { question_id }],
    ['forum.question.superseded', { question_id, superseded_by: 'q_2' }],
    ['forum.question.expired', { question_id, default_applied: false }],
  ])('%s fits the schema', (type, payload) => {
    const check = ajv.compile({ $ref: 'document#/components/schemas/Event' });
    check({ ...sampleEvent(type), payload });
    expect(check.errors ?? []).toEqual([]);
  });
});

describe.each(engines)('every event on %s', engine => {
  const clock = new ManualClock();
  const expiries = new Expiries();
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  ajv.addSchema({ components: { schemas: exact(schemas) } } as object, 'document');
  const checks = new Map<string, ValidateFunction>(
    Object.entries(mapping).map(([type, $ref]) => [type, ajv.compile({ $ref: `document${$ref}` })]),
  );
  let service: TestApp;
  const ends: (() => void | Promise<void>)[] = [];
  let events: { event_type: string; payload: object }[];
  beforeAll(async () => {
    service = await startTimed(engine, { clock, expiries });
    const { admin, asPerson } = await withTokens(service);
    const other = { send: await asPerson('operator'), actor: people.operator };
    await tell(admin, other.send, clock, expiries);
    await tellOfWebhooks(admin, clock, end => void ends.push(end));
    // What an erased run leaves fits as well.
    await markedRun(admin, 'erased', people.admin, other);
    await vi.waitFor(async () => expect((await admin('DELETE', '/runs/erased')).status).toBe(204), 20_000);
    const first = (await admin('GET', '/events?limit=200')).body;
    const second = first.next_cursor && (await admin('GET', `/events?limit=200&cursor=${first.next_cursor}`)).body;
    events = [...first.items, ...(second?.items ?? [])];
  });
  afterAll(async () => {
    await service.close();
    for (const end of ends) await end();
  });

  it('fits the schema of its type, and has no other field', () => {
    for (const event of events) {
      const check = checks.get(event.event_type) as ValidateFunction;
      check(event);
      expect(check.errors ?? [], JSON.stringify(event)).toEqual([]);
    }
  });

  it.each(eventTypes)('%s: one was seen, and together they have every field of the schema', type => {
    const seen = events.filter(({ event_type }) => event_type === type);
    expect(seen).not.toEqual([]);
    const fields = new Set(seen.flatMap(({ payload }) => Object.keys(payload)));
    // Every event of a run can have it.
    fields.delete('erased');
    const known = fieldsOf(type).filter(name => name !== 'erased');
    expect([...fields].toSorted()).toEqual(known.toSorted());
  });

  it.each(eventTypes)('%s: an unknown field is found out', type => {
    const event = events.find(({ event_type }) => event_type === type);
    expect(checks.get(type)?.({ ...event, payload: { ...event?.payload, colour: 'red' } })).toBe(false);
  });
});

/** The fields that the payload of an event type can have, by the document. */
function fieldsOf(type: string): string[] {
  const name = mapping[type as keyof typeof mapping].replace('#/components/schemas/', '');
  const { payload } = (schemas as Record<string, { properties?: Record<string, Variant> }>)[name]?.properties ?? {};
  const variants = payload?.anyOf ?? [payload];
  return [...new Set(variants.flatMap(variant => Object.keys(variant?.properties ?? {})))];
}

interface Variant {
  properties?: object;
  anyOf?: Variant[];
}

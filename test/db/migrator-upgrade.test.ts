import { describe, expect, it, onTestFinished } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import type { Message } from '../../src/outbox/schemas.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { emptyDatabase, engines } from '../helpers/engines.ts';
import { handler } from '../helpers/handling.ts';
import {
  expectations,
  leftAt,
  loadPreviousRelease,
  type OutboxRow,
  previousRelease,
  previousTokens,
} from '../helpers/previous-release.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { type Arrival, byLane, CONSUMERS, type Fate, fates, policyOf } from '../helpers/upgrade.ts';

const DEADLINE = { timeout: 30_000, interval: 20 };
/** The last event of the previous release. */
const LAST_EVENT = Math.max(...(previousRelease.events as { sequence: number }[]).map(({ sequence }) => sequence));
/** After the retries and what handlers put off, and after what publishers put off. */
const [SOON, IN_2099] = [leftAt + 3 * 3_600_000, Date.parse('2099-01-02T00:00:00Z')];
const PAUSED = previousRelease.topics.filter(({ paused }) => paused === 1).map(({ topic }) => topic);

describe.each(engines)('an upgrade from the previous release on %s', engine => {
  it('delivers all that waits once and in order, and keeps what is paused, dead, blocked or discarded', async () => {
    const { send, clock, seen, arrive } = await upgrade(engine);
    const { discarded } = expectations();
    const all = fates();
    const of = (...when: Fate['when'][]) => all.filter(fate => when.includes(fate.when));
    // Otherwise the fixture would not show what has changed.
    expect(whenOf(all, 'bill-3', 'mail')).toBe('replay');
    expect(whenOf(all, 'bill-4', 'chat')).toBe('now');
    expect(whenOf(all, 'behind-sms', 'mail')).toBe('now');
    expect(new Set(all.map(({ when }) => when))).toEqual(new Set(['now', 'resume', 'dead', 'replay']));

    const dueIn = (time: number) => of('now').filter(fate => dueAt(of('now'), fate) <= time);
    await arrive(dueIn(leftAt), ({ when, row }) => when === 'now' && row.available_at <= leftAt);
    clock.time = SOON;
    await arrive(dueIn(SOON));
    expect(seen.map(({ message_id }) => message_id)).not.toContain('far-1');
    clock.time = IN_2099;
    await arrive(of('now'));
    expect(byLane(known(seen, all))).toEqual(byLane(of('now')));

    const counts = { dead: of('dead').length, discarded: discarded.length, failed: 0, processing: 0 };
    await expect.poll(async () => (await send('GET', '/outbox/stats')).body.by_status, DEADLINE).toMatchObject(counts);
    const { body: stats } = await send('GET', '/outbox/stats');
    for (const { message_id, consumer, row } of of('dead')) {
      expect(await deliveryOf(send, message_id, consumer), message_id).toMatchObject({
        status: 'dead',
        attempts: row.attempts,
        generation: row.generation,
        last_error: row.last_error,
        attempt_history: JSON.parse(row.history),
      });
    }
    for (const { message_id, consumer, row } of discarded) {
      expect(await deliveryOf(send, message_id, consumer), message_id).toMatchObject({
        status: 'discarded',
        attempts: row.attempts,
        attempt_history: JSON.parse(row.history),
      });
    }
    const blocking = of('dead').filter(({ row }) => row.lane !== null);
    const laneOf = ({ consumer, message_key }: Arrival) => `${consumer} ${message_key}`;
    expect(stats.blocked_lanes.map(laneOf).toSorted()).toEqual(blocking.map(laneOf).toSorted());

    for (const topic of PAUSED) expect((await send('POST', `/bus/topics/${topic}/resume`)).status).toBe(200);
    await arrive(of('now', 'resume'));
    expect(byLane(known(seen, all))).toEqual(byLane(of('now', 'resume')));

    // A replay keeps the old place, so it comes before what it has blocked.
    const before = known(seen, all).length;
    expect((await send('POST', '/outbox/replay', { status: 'dead' })).body.replayed).toBe(of('dead').length);
    await arrive(all);
    expect(byLane(known(seen, all).slice(before))).toEqual(byLane(of('dead', 'replay')));
    const nothing = { pending: 0, processing: 0, failed: 0, dead: 0, discarded: discarded.length };
    await expect.poll(async () => (await send('GET', '/outbox/stats')).body.by_status, DEADLINE).toMatchObject(nothing);
    expect((await send('GET', '/outbox/stats')).body.blocked_lanes).toEqual([]);
    await expect.poll(async () => (await send('GET', '/bus/health')).body.reasons, DEADLINE).toEqual([]);
  });

  it('answers a repeated message with the stored one, and delivers nothing', async () => {
    const { send, clock, seen, arrive } = await upgrade(engine);
    clock.time = IN_2099;
    const all = fates();
    const now = all.filter(({ when }) => when === 'now');
    await arrive(now);
    // Each command that waited opens a thread, whose event may come after all that waited.
    const commands = now.filter(
      ({ consumer, row }) => consumer === 'audit' && row.topic === 'forum.commands.open_thread',
    );
    expect(commands).not.toEqual([]);
    const opened = () => seen.filter(({ sequence }) => sequence !== null && sequence > LAST_EVENT);
    await expect.poll(opened, DEADLINE).toHaveLength(commands.length);
    const { sent, deleted } = expectations();
    // Of a deleted message its copies are left. It is stored again from them, and so known: the old release refused it.
    const copies = deleted.flatMap(id => previousRelease.outbox.find(row => row.origin_id === id && row.payload) ?? []);
    expect(copies.map(row => row.origin_id)).toEqual(expect.arrayContaining(['note-a2', 'note-a4', 'note-k1']));
    const before = [...seen];
    const statuses = new Set<string>();
    const unsent = previousRelease.outbox.filter(row => row.origin_id === null && row.payload && row.status !== 'sent');
    for (const row of [...sent.map(one => one.row), ...copies, ...unsent]) {
      const message_id = row.origin_id ?? row.message_id;
      const { topic, message_key, created_at } = row;
      const payload = JSON.parse(row.payload as string);
      const body = { message_id, topic, payload, ...(message_key !== null && { message_key }) };
      const again = await send('POST', '/outbox', body);
      expect(again.status, message_id).toBe(200);
      const at = row.origin_id === null ? { created_at: new Date(created_at).toISOString() } : {};
      expect(again.body).toMatchObject({ message_id, topic, message_key, payload });
      expect(again.body.deliveries).toEqual(expect.arrayContaining([expect.objectContaining(at)]));
      statuses.add(again.body.status);
      const other = await send('POST', '/outbox', { ...body, payload: { other: true } });
      expect([other.status, other.body.code], message_id).toEqual([409, 'MESSAGE_EXISTS']);
    }
    expect(statuses).toContain('sent');
    // Results of handlers stay, too.
    for (const row of previousRelease.outbox.filter(({ result, payload }) => result !== null && payload !== null)) {
      const consumer = row.consumer?.replace(/\.\w+$/, '') ?? null;
      const delivery = await deliveryOf(send, row.origin_id ?? row.message_id, consumer);
      expect(delivery, row.message_id).toMatchObject({ result: JSON.parse(row.result as string), status: 'sent' });
    }
    await markersArrive(send, seen);
    expect(seen.filter(({ message_id }) => !message_id.startsWith('marker'))).toEqual(before);
  });

  it('delivers no event again, and each new one', async () => {
    const { send, seen, clock, arrive } = await upgrade(engine);
    clock.time = IN_2099;
    const all = fates();
    await arrive(all.filter(({ when }) => when === 'now'));
    for (const { name, position, served_by } of (await send('GET', '/bus/subscriptions')).body.items) {
      expect(position, name).toBeGreaterThanOrEqual(LAST_EVENT);
      expect(served_by, name).toHaveLength(1);
    }
    const { status, body } = await send('POST', '/control-signals', signal('guidance_request', { run_id: 'after' }));
    expect(status, JSON.stringify(body)).toBe(201);
    const fresh = (consumer: string) =>
      seen.filter(one => one.consumer === consumer && (one.sequence ?? 0) > LAST_EVENT);
    const events = (await send('GET', '/events?run_id=after')).body.items;
    const ofType = (type: string) =>
      events.find(({ event_type }: { event_type: string }) => event_type === type).sequence;
    for (const consumer of ['chat', 'audit']) {
      await expect
        .poll(() => fresh(consumer).map(({ sequence }) => sequence), DEADLINE)
        .toEqual([ofType('forum.question.opened')]);
    }
    await expect
      .poll(() => fresh('feed').map(({ sequence }) => sequence), DEADLINE)
      .toEqual(expect.arrayContaining([ofType('forum.thread.opened'), ofType('forum.control.signal')]));
    // What arrives of before the upgrade is what waited.
    const old = seen.filter(({ sequence }) => sequence !== null && sequence <= LAST_EVENT);
    expect(byLane(old)).toEqual(byLane(all.filter(({ when, row }) => when === 'now' && row.event_sequence !== null)));
    expect(new Set(seen.map(({ consumer, message_id }) => `${consumer} ${message_id}`)).size).toBe(seen.length);
  });

  it('keeps the trace and the token of what waits', async () => {
    const { send, seen, clock, arrive } = await upgrade(engine);
    clock.time = IN_2099;
    const now = fates().filter(({ when }) => when === 'now');
    await arrive(now);
    const traced = now.filter(({ row }) => row.traceparent !== null);
    expect(traced.filter(({ row }) => row.event_sequence !== null)).not.toEqual([]);
    expect(traced.filter(({ row }) => row.payload !== null)).not.toEqual([]);
    const traceOf = (traceparent: string | null | undefined) => traceparent?.split('-')[1];
    for (const { message_id, consumer, row } of traced) {
      const arrival = seen.find(one => one.message_id === message_id && one.consumer === consumer);
      expect(traceOf(arrival?.traceparent), message_id).toBe(traceOf(row.traceparent));
      expect((await send('GET', `/outbox/${message_id}`)).body.traceparent, message_id).toBe(row.traceparent);
    }
    const stored = await sqlBeside(send.url, 'select message_id, token_id from messages where token_id is not null');
    const tokens = previousRelease.outbox.filter(row => row.payload !== null && row.token_id !== null);
    expect(new Set(stored.map(row => `${row.message_id} ${row.token_id}`))).toEqual(
      new Set(tokens.map(row => `${row.origin_id ?? row.message_id} ${row.token_id}`)),
    );
  });

  it('keeps tokens, threads, questions and runs, and indexes the texts again', async () => {
    const { send } = await upgrade(engine);
    for (const token of Object.values(previousTokens)) {
      expect((await send('GET', '/threads?limit=1&run_id=harbour', undefined, token)).status).toBe(200);
    }
    expect((await send('GET', '/tokens', undefined, previousTokens.agent)).status).toBe(403);
    const { threads, questions, runs } = previousRelease as unknown as Record<string, Record<string, unknown>[]>;
    for (const { thread_id, title, state, version, posts_count } of threads ?? []) {
      // The command that waits opens one more and changes none.
      const { body } = await send('GET', `/threads/${thread_id}`);
      expect(body).toMatchObject({ thread_id, title, state, version, posts_count });
    }
    for (const { question_id, state } of questions ?? []) {
      expect((await send('GET', `/questions/${question_id}`)).body).toMatchObject({ question_id, state });
    }
    for (const { run_id, title, ticket, status } of runs ?? []) {
      const { body } = await send('GET', `/runs/${run_id}`);
      expect(body).toMatchObject({ run_id, ticket, status, ...(title !== null && { brief: { title } }) });
    }
    for (const word of ['krakow', 'region']) {
      await expect
        .poll(async () => (await send('GET', `/threads?q=${word}`)).body.items.length, DEADLINE)
        .toBeGreaterThan(0);
    }
    // What is open goes on.
    const open = questions?.find(({ state, run_id }) => state === 'open' && run_id === 'harbour-2');
    const body = signal('guidance_answer', { run_id: 'harbour-2' });
    const answer = await send('POST', '/control-signals', body, previousTokens.operator);
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    expect((await send('GET', `/questions/${open?.question_id}`)).body).toMatchObject({ state: 'answered' });
  });

  it('makes an inbox of what had ended, and finds the questions that were asked', async () => {
    const { send } = await upgrade(engine);
    const { events, questions } = previousRelease as unknown as {
      events: { event_type: string; payload: string; ticket: string | null; occurred_at: number; sequence: number }[];
      questions: { question_id: string; run_id: string; agent_name: string; acknowledged_at: number | null }[];
    };
    const told = (type: string) => events.filter(({ event_type }) => event_type === `forum.question.${type}`);
    const idOf = ({ payload }: { payload: string }): string => JSON.parse(payload).question_id;
    const ended = ['answered', 'expired', 'cancelled']
      .flatMap(kind => told(kind).map(event => ({ kind, event, question_id: idOf(event) })))
      .toSorted((one, other) => one.event.sequence - other.event.sequence);
    const received = told('acknowledged').map(idOf);
    const agents = new Map(
      questions.map(({ run_id, agent_name }) => [`${run_id}/${agent_name}`, { run_id, agent_name }]),
    );
    let seen = 0;
    for (const [path, agent] of agents) {
      const own = questions.filter(one => `${one.run_id}/${one.agent_name}` === path).map(one => one.question_id);
      const news = ended.filter(({ question_id }) => own.includes(question_id) && !received.includes(question_id));
      const { items } = (await send('GET', `/control-threads/${path}/inbox`)).body;
      expect(items, path).toMatchObject(
        news.map(({ kind, event, question_id }) => ({
          ...{ kind, at: new Date(event.occurred_at).toISOString(), claimed_until: null },
          question: { question_id, answered_in: kind === 'answered' ? 'api' : null },
        })),
      );
      seen += items.length;
      const { body } = await send('POST', `/control-threads/${path}/inbox/claim`, { claimant: 'a', lease_seconds: 60 });
      expect(body.items).toHaveLength(news.length);
      const { status, body: done } = await send('POST', '/control-signals', signal('completion', agent));
      expect([status, done.inbox?.unread], path).toEqual([201, news.length]);
    }
    expect(seen).toBeGreaterThan(5);

    const listed = async (query: string) =>
      (await send('GET', `/questions?limit=200&${query}`)).body.items.map(
        (one: { question_id: string }) => one.question_id,
      );
    const unread = ended.filter(({ question_id }) => !received.includes(question_id)).map(one => one.question_id);
    expect((await listed('unacknowledged=true')).toSorted()).toEqual(unread.toSorted());
    const asked = told('opened');
    const ofTicket = asked.filter(({ ticket }) => ticket === 'T-3').map(idOf);
    expect((await listed('ticket=T-3')).toSorted()).toEqual(ofTicket.toSorted());
    expect((await listed('order=newest')).toReversed()).toEqual(asked.map(idOf));
    for (const event of asked) {
      const { question } = JSON.parse(event.payload);
      const q = `q=${encodeURIComponent(question)}`;
      await expect.poll(() => listed(q), DEADLINE).toContain(idOf(event));
    }
  });

  it('keeps for a handler that comes later what was routed to it, and what the first ones leave over', async () => {
    const first = ['audit', 'mail'];
    const then = Object.keys(CONSUMERS).filter(name => !first.includes(name));
    const { send, clock, seen, arrive, restart } = await upgrade(engine, first);
    clock.time = IN_2099;
    const all = fates(first, then);
    const now = all.filter(({ when }) => when === 'now');
    await arrive(now.filter(({ consumer }) => first.includes(consumer)));
    expect(seen.filter(({ consumer }) => !first.includes(consumer))).toEqual([]);
    const left = now.filter(({ consumer }) => then.includes(consumer));
    const routed = left.filter(({ row }) => row.consumer !== null);
    expect(routed).not.toEqual([]);
    for (const { message_id, consumer, row } of routed) {
      const { status, attempts } = await deliveryOf(send, message_id, consumer);
      expect([status === 'pending' || status === 'failed', attempts], message_id).toEqual([true, row.attempts]);
    }
    // A message of notes that was not routed is audit's alone now.
    expect(left.map(({ message_id }) => message_id)).not.toContain('note-d2');
    expect(left.map(({ message_id }) => message_id)).toContain('fax-1');
    const reasons = (await send('GET', '/bus/health')).body.reasons.map(({ code }: { code: string }) => code);
    expect(reasons).toEqual(expect.arrayContaining(['NO_HANDLER', 'NOT_SERVED']));

    await restart(Object.keys(CONSUMERS));
    await arrive(now);
    expect(byLane(known(seen, fates()))).toEqual(byLane(now));
    for (const topic of PAUSED) await send('POST', `/bus/topics/${topic}/resume`);
    await send('POST', '/outbox/replay', { status: 'dead' });
    await arrive(all);
  });

  it('delivers a dead message that is replayed, of a topic of which nothing else waits', async () => {
    const { send, arrive, clock } = await upgrade(engine, Object.keys(CONSUMERS), url =>
      sqlBeside(url, `delete from outbox where status <> 'dead'`),
    );
    clock.time = IN_2099;
    const dead = fates().filter(({ when }) => when === 'dead');
    expect((await send('POST', '/outbox/replay', { status: 'dead' })).body.replayed).toBe(dead.length);
    await arrive(dead);
  });

  it('puts the oldest message of a lane first: one was replayed while a younger one was being handled', async () => {
    const like = rowNamed('note-b4~chat.ts');
    const lane = { message_key: 'replayed', lane: '@["chat.ts","replayed"]' };
    const { seen, arrive } = await upgrade(engine, Object.keys(CONSUMERS), async url => {
      await sqlBeside(url, 'delete from outbox');
      await insertRow(url, { ...like, ...lane, origin_id: 'older', message_id: 'older~chat.ts', generation: 2 });
      const handled = { status: 'processing', lease_token: 'x', leased_by: 'gone', attempts: 1, claimable_at: leftAt };
      await insertRow(url, { ...like, ...lane, ...handled, origin_id: 'younger', message_id: 'younger~chat.ts' });
    });
    await arrive(['older', 'younger'].map(message_id => ({ consumer: 'chat', message_id, message_key: 'replayed' })));
    expect(seen.map(({ message_id }) => message_id)).toEqual(['older', 'younger']);
  });

  it('makes one lane of those of two files with one name', async () => {
    const like = rowNamed('note-b4~chat.ts');
    const copy = (message_id: string, file: string) => ({
      ...like,
      ...{ message_id: `${message_id}~${file}`, origin_id: message_id, consumer: file, message_key: 'renamed' },
      lane: `@["${file}","renamed"]`,
    });
    const { seen, clock, arrive, send } = await upgrade(engine, Object.keys(CONSUMERS), async url => {
      await sqlBeside(url, 'delete from outbox');
      const later = leftAt + 1000;
      await insertRow(url, { ...copy('first', 'chat.js'), status: 'failed', available_at: later, claimable_at: later });
      await insertRow(url, { ...copy('second', 'chat.ts'), claimable_at: like.available_at });
    });
    await markersArrive(send, seen);
    expect(seen.filter(({ message_key }) => message_key === 'renamed')).toEqual([]);
    clock.time = SOON;
    await arrive(['first', 'second'].map(message_id => ({ consumer: 'chat', message_id, message_key: 'renamed' })));
  });
});

interface Seen extends Arrival {
  /** Of an event. */
  sequence: number | null;
  traceparent: string | undefined;
}

type Send = ((method: 'GET' | 'POST', url: string, body?: unknown, token?: string) => ReturnType<TestApp['send']>) & {
  url: string;
};

/**
 * Starts the service on a database of the previous release.
 * @param names the consumers that it has
 * @param change changes the database before
 */
async function upgrade(
  engine: Engine,
  names = Object.keys(CONSUMERS),
  change: (url: string) => Promise<unknown> = async () => {},
) {
  const database = await emptyDatabase(engine);
  onTestFinished(database.drop);
  await loadPreviousRelease(database.url);
  await change(database.url);
  const clock = new ManualClock(leftAt + 1);
  const seen: Seen[] = [];
  const note =
    (consumer: string) =>
    (message: Message, { traceparent }: { traceparent: string | undefined }) => {
      const { message_id, message_key, payload, topic } = message;
      const sequence = topic.startsWith('forum.events.') ? (payload as { sequence: number }).sequence : null;
      seen.push({ consumer, message_id, message_key, sequence, traceparent });
    };
  const start = async (consumers: string[]) => {
    const handlers = consumers.map(name =>
      handler(CONSUMERS[name] ?? [], note(name), { name, policy: policyOf(name) }),
    );
    const config = {
      ROLE: 'all',
      POLL_INTERVAL_MS: '20',
      OUTBOX_RETENTION_HOURS: '0',
      RATE_LIMIT_PER_MINUTE: '0',
    } as const;
    return startApp(engine, { database, overrides: { clock, handlers }, config });
  };
  let app = await start(names);
  onTestFinished(() => app.close());
  const send: Send = Object.assign(
    (method: 'GET' | 'POST', url: string, body?: unknown, token = previousTokens.admin) =>
      app.send(method, url, body, { authorization: `Bearer ${token}` }),
    { url: database.url },
  );
  return {
    send,
    clock,
    seen,
    /** Waits until these have arrived, and checks that there are no others of those that `among` means. */
    async arrive(expected: readonly Arrival[], among?: (fate: Fate) => boolean) {
      const wanted = new Set(expected.map(nameOf));
      const there = () => [...wanted].filter(name => !seen.some(one => nameOf(one) === name));
      await expect.poll(there, DEADLINE).toEqual([]);
      // The clock measures leases, too: once it is moved, what has no outcome yet would arrive again.
      const processing = async () =>
        sqlBeside(database.url, "select position from deliveries where status = 'processing'");
      await expect.poll(processing, DEADLINE).toEqual([]);
      if (!among) return;
      const others = fates().filter(fate => among(fate) && !wanted.has(nameOf(fate)));
      expect(others.filter(fate => seen.some(one => nameOf(one) === nameOf(fate)))).toEqual([]);
    },
    async restart(consumers: string[]) {
      await app.close();
      app = await start(consumers);
    },
  };
}

function nameOf({ consumer, message_id }: Arrival): string {
  return `${consumer} ${message_id}`;
}

/** Of what has arrived, that of before the upgrade. */
function known(seen: readonly Seen[], all: readonly Fate[]): Seen[] {
  const names = new Set(all.map(nameOf));
  return seen.filter(one => names.has(nameOf(one)));
}

function whenOf(all: Fate[], id: string, name: string): Fate['when'] | undefined {
  return all.find(({ message_id, consumer }) => message_id === id && consumer === name)?.when;
}

/** When a message can arrive: those before it in its lane come first. */
function dueAt(all: readonly Fate[], fate: Fate): number {
  const lane = all.filter(
    ({ consumer, message_key }) =>
      fate.message_key !== null && consumer === fate.consumer && message_key === fate.message_key,
  );
  const before = lane.slice(0, lane.indexOf(fate));
  return Math.max(fate.row.available_at, ...before.map(({ row }) => row.available_at));
}

/** What the service says of one message and consumer; null for what was never routed. */
// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came back
async function deliveryOf(send: Send, messageId: string, consumer: string | null): Promise<any> {
  const { body } = await send('GET', `/outbox/${messageId}`);
  return body.deliveries?.find((one: { consumer: string | null }) => one.consumer === consumer) ?? body;
}

let markers = 0;
/** Publishes a message for each consumer and waits for it: what was due before has arrived then, or will not. */
async function markersArrive(send: Send, seen: readonly Seen[]): Promise<void> {
  markers += 1;
  for (const topic of ['chat', 'notes', 'mail', 'job', 'fax'].map(name => `forum.integration.${name}`)) {
    await send('POST', '/outbox', { message_id: `marker-${markers}-${topic}`, topic, payload: {} });
    await expect.poll(() => seen.map(one => one.message_id), DEADLINE).toContain(`marker-${markers}-${topic}`);
  }
}

function rowNamed(messageId: string): OutboxRow {
  return previousRelease.outbox.find(row => row.message_id === messageId) as OutboxRow;
}

/** Adds a row to the old table, at its end. */
async function insertRow(
  url: string,
  { position: _position, ...row }: OutboxRow | Record<string, unknown>,
): Promise<void> {
  const literal = (value: unknown) =>
    value === null ? 'null' : typeof value === 'number' ? String(value) : `'${String(value).replaceAll("'", "''")}'`;
  const values = Object.values(row).map(literal);
  await sqlBeside(url, `insert into outbox (${Object.keys(row).join(', ')}) values (${values.join(', ')})`);
}

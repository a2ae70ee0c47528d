import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { HandlerDefinition } from '../../src/worker/handler.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { gate, handler } from '../helpers/handling.ts';
import { LOOK_MS, scrapeOf } from '../helpers/scrape.ts';
import { signal } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { openStream } from '../helpers/stream.ts';
import { ask } from '../helpers/waits.ts';

const LEASE_MS = 30_000;

describe.each(engines)('a scrape on %s', engine => {
  const clock = new ManualClock();
  let service: TestApp;
  let handlers: HandlerDefinition[];

  beforeEach(async () => {
    handlers = [];
    const delegating = handler(['a.flaky', 'a.fatal', 'a.slow', 'b.*'], (message, context) =>
      handlers.find(({ topics }) => topics.includes(message.topic))?.handle(message, context),
    );
    service = await startApp(engine, { overrides: { clock, handlers: [delegating] } });
  });
  afterEach(() => service.close());

  const scrape = () => scrapeOf(service);
  const post = async (url: string, body?: unknown) => (await service.send('POST', url, body)).body;
  const publish = (topic: string, message_id?: string) => post('/outbox', { topic, payload: 1, message_id });
  const process = () => post('/bus/process', {});

  it('counts the signals that are stored, by their type', async () => {
    for (const type of ['guidance_request', 'guidance_answer', 'completion', 'validation', 'completion']) {
      await post('/control-signals', signal(type));
    }
    // The first answer once more, by name: it is there, and stored only once.
    const answered = (await service.send('GET', '/questions?state=answered')).body.items[0].question_id;
    const repeated = signal('guidance_answer', { in_reply_to: answered });
    expect((await service.send('POST', '/control-signals', repeated)).status).toBe(200);
    const answer = signal('guidance_answer', { in_reply_to: (await ask(service.send)).question_id, run_id: 'another' });
    expect((await service.send('POST', '/control-signals', answer)).status).toBe(422);
    // Once more under its key: nothing is stored.
    for (let time = 0; time < 2; time += 1) {
      await service.send('POST', '/control-signals', signal('validation'), { 'idempotency-key': 'k' });
    }
    const metrics = await scrape();
    const stored = (control_type: string) => metrics.value('forumbus_signals_total', { control_type });
    expect(stored('guidance_request')).toBe(2);
    expect(stored('guidance_answer')).toBe(1);
    expect(stored('completion')).toBe(2);
    expect(stored('validation')).toBe(2);
  });

  it('counts requests by operation, method and status, and refusals by their code', async () => {
    await post('/control-signals', signal('completion'));
    await post('/control-signals', signal('completion', { control_type: 'nonsense' }));
    await service.send('GET', '/runs/none');
    await service.send('GET', '/nowhere');
    await service.send('GET', '/%zz');
    await service.app.inject({ method: 'HEAD', url: '/livez' });
    const metrics = await scrape();
    const answered = (operation: string, method: string, status: string) =>
      metrics.value('forumbus_http_requests_total', { operation, method, status });
    expect(answered('sendControlSignal', 'POST', '2xx')).toBe(1);
    expect(answered('sendControlSignal', 'POST', '4xx')).toBe(1);
    expect(answered('getRun', 'GET', '4xx')).toBe(1);
    expect(answered('getLiveness', 'HEAD', '2xx')).toBe(1);
    expect(answered('none', 'GET', '4xx')).toBe(1);
    const timed = (operation: string) => metrics.value('forumbus_http_request_duration_seconds_count', { operation });
    expect(['sendControlSignal', 'getRun', 'getLiveness', 'none'].map(timed)).toEqual([2, 1, 1, 1]);
    const rejected = (code: string) => metrics.value('forumbus_rejections_total', { code });
    expect(['VALIDATION_FAILED', 'RUN_NOT_FOUND', 'NOT_FOUND', 'MALFORMED_URL'].map(rejected)).toEqual([1, 1, 1, 1]);
    expect(rejected('INTERNAL_ERROR')).toBe(0);
    expect(metrics.value('forumbus_rejections_total')).toBe(4);
  });

  it('counts attempts by their topic and outcome, and those that end dead', async () => {
    let failures = 0;
    handlers = [
      handler('a.flaky', () => {
        failures += 1;
        if (failures === 1) throw new Error('not this time');
      }),
      handler('a.fatal', (_message, context) => {
        throw context.permanent('never');
      }),
      handler('b.c', () => {}),
    ];
    for (const topic of ['a.flaky', 'a.fatal', 'b.c', 'nobody.knows']) await publish(topic);
    clock.advance(7);
    await process();
    clock.advance(10_000);
    await process();
    const metrics = await scrape();
    const attempts = (topic: string) => metrics.value('forumbus_attempts_total', { topic });
    // Nothing tries what no subscription matches.
    expect(['a.flaky', 'a.fatal', 'b.*', 'other'].map(attempts)).toEqual([2, 1, 1, 0]);
    const ended = (topic: string, outcome: string) =>
      metrics.value('forumbus_dispatch_duration_seconds_count', { topic, outcome });
    expect(ended('a.flaky', 'retry')).toBe(1);
    expect(ended('a.flaky', 'sent')).toBe(1);
    expect(ended('a.fatal', 'dead')).toBe(1);
    expect(ended('b.*', 'sent')).toBe(1);
    const dead = (topic: string) => metrics.value('forumbus_dead_total', { topic });
    expect(['a.flaky', 'a.fatal'].map(dead)).toEqual([0, 1]);
    expect(metrics.value('forumbus_dispatch_wait_seconds_count')).toBe(4);
    expect(metrics.value('forumbus_worker_last_claim_timestamp_seconds')).toBe(clock.now() / 1000);
  });

  it('shows the outbox as it is, of the whole database', async () => {
    handlers = [
      handler('a.fatal', (_message, context) => {
        throw context.permanent('never');
      }),
    ];
    for (const topic of ['a.fatal', 'nobody.knows']) await publish(topic);
    await process();
    await publish('b.c');
    clock.advance(2000);
    await publish('b.d');
    await post('/bus/topics/b.c/pause');
    await post('/bus/topics/b.e/pause');
    clock.advance(LOOK_MS);
    const metrics = await scrape();
    const messages = (topic: string, status: string) => metrics.value('forumbus_outbox_messages', { topic, status });
    expect(messages('a.fatal', 'dead')).toBe(1);
    expect(messages('other', 'failed')).toBe(1);
    expect(messages('b.*', 'pending')).toBe(2);
    expect(messages('b.*', 'processing')).toBe(0);
    const age = (topic: string) => metrics.value('forumbus_outbox_oldest_pending_age_seconds', { topic });
    expect(['b.*', 'other', 'a.fatal'].map(age)).toEqual([3.001, 0, 0]);
    expect(metrics.value('forumbus_outbox_paused_topics')).toBe(2);
    expect(metrics.value('forumbus_outbox_topics_without_handler')).toBe(1);
    expect(metrics.value('forumbus_outbox_blocked_lanes')).toBe(0);
    expect(metrics.value('forumbus_health_status', { status: 'degraded' })).toBe(1);
    expect(metrics.value('forumbus_health_status')).toBe(1);
  });

  it('shows what waits for each subscription, including events without a delivery, until it is deleted', async () => {
    const fatal = handler('c', (_message, context) => Promise.reject(context.permanent('never')), { name: 'fatal' });
    const notes = handler('forum.events.control.*', () => {}, { name: 'notes' });
    const other = await startApp(engine, { overrides: { clock, handlers: [fatal, notes] } });
    onTestFinished(() => other.close());
    const look = () => {
      clock.advance(LOOK_MS);
      return scrapeOf(other);
    };
    await other.send('POST', '/outbox', { topic: 'c', payload: 1 });
    await other.send('POST', '/bus/process', {});
    await other.send('POST', '/outbox', { topic: 'c', payload: 2 });
    clock.advance(2000);
    await other.send('POST', '/control-signals', signal('completion'));
    expect((await other.send('GET', '/outbox?consumer=notes')).body.items).toEqual([]);
    await sqlBeside(
      other.url,
      "insert into subscription_servers select subscription_id, 'p' from subscriptions where name = 'fatal'",
    );
    const before = await look();
    const waiting = (subscription: string, status: string) =>
      before.value('forumbus_subscription_deliveries', { subscription, status });
    expect(['pending', 'processing', 'failed', 'dead'].map(status => waiting('fatal', status))).toEqual([1, 0, 0, 1]);
    expect(['pending', 'processing', 'failed', 'dead'].map(status => waiting('notes', status))).toEqual([1, 0, 0, 0]);
    const lag = (subscription: string) => before.value('forumbus_subscription_lag_seconds', { subscription });
    expect(['fatal', 'notes', 'forumbus'].map(lag)).toEqual([(2000 + LOOK_MS) / 1000, LOOK_MS / 1000, 0]);
    const servers = (subscription: string) => before.value('forumbus_subscription_servers', { subscription });
    expect(['fatal', 'notes', 'forumbus'].map(servers)).toEqual([1, 0, 0]);

    expect((await other.send('DELETE', '/bus/subscriptions/notes')).status).toBe(200);
    const names = async () => {
      const metrics = await look();
      return ['deliveries', 'lag_seconds', 'servers'].map(name =>
        metrics.value(`forumbus_subscription_${name}`, { subscription: 'notes' }),
      );
    };
    // A scrape does not wait for a look at a slow database.
    await expect.poll(names, { timeout: 5000 }).toEqual([undefined, undefined, undefined]);
  });

  it('shows the keys that a dead message blocks', async () => {
    const policy = { dead: 'block' as const };
    const blocking = handler('c', (_message, context) => Promise.reject(context.permanent('never')), { policy });
    const other = await startApp(engine, { overrides: { clock, handlers: [blocking] } });
    for (const message_key of ['k', 'k', 'l', null]) {
      await other.send('POST', '/outbox', { topic: 'c', payload: 1, ...(message_key && { message_key }) });
    }
    await other.send('POST', '/bus/process', {});
    const metrics = await scrapeOf(other);
    expect(metrics.value('forumbus_outbox_messages', { topic: 'c', status: 'dead' })).toBe(3);
    expect(metrics.value('forumbus_outbox_blocked_lanes')).toBe(2);
    await other.close();
  });

  it('counts outcomes that come too late, and leases that run out', async () => {
    const { open, passed } = gate();
    const begun = gate();
    handlers = [
      handler('a.slow', () => {
        begun.open();
        return passed;
      }),
    ];
    await publish('a.slow', 'slow');
    const first = process();
    await begun.passed;
    clock.advance(LEASE_MS + 1);
    handlers = [handler('a.slow', () => {})];
    expect(await process()).toMatchObject({ claimed: 1, sent: 1 });
    open();
    await first;
    const metrics = await scrape();
    expect(metrics.value('forumbus_stale_acks_total')).toBe(1);
    expect(metrics.value('forumbus_leases_reclaimed_total', { reason: 'expired' })).toBe(1);
    expect(metrics.value('forumbus_leases_reclaimed_total', { reason: 'dead_process' })).toBe(0);
    expect(metrics.value('forumbus_attempts_total', { topic: 'a.slow' })).toBe(2);
    expect((await service.send('GET', '/outbox/slow')).body).toMatchObject({ status: 'sent', attempts: 2 });
  });

  it('counts leases that are taken back from a process that has died', async () => {
    await publish('a.slow');
    const claim = "update deliveries set status = 'processing', lease_token = 't', leased_by = 'gone', attempts = 1";
    await sqlBeside(service.url, claim);
    await service.restart();
    const metrics = await scrape();
    expect(metrics.value('forumbus_leases_reclaimed_total', { reason: 'dead_process' })).toBe(1);
    await process();
    expect((await scrape()).value('forumbus_leases_reclaimed_total', { reason: 'expired' })).toBe(0);
  });

  it('shows who waits and who streams, until they have gone', async () => {
    const origin = `http://127.0.0.1:${await listen(service.app)}`;
    const now = async () => {
      const metrics = await scrape();
      const waiting = (resource: string) => metrics.value('forumbus_waiters', { resource });
      return [waiting('question'), waiting('run'), metrics.value('forumbus_streams')];
    };
    expect(await now()).toEqual([0, 0, 0]);
    const { question_id, run_id } = await ask(service.send);
    const leaving = new AbortController();
    const paths = [`/questions/${question_id}`, `/questions/${question_id}`, `/runs/${run_id}`];
    const waits = paths.map(path => fetch(`${origin}${path}?wait=50`, { signal: leaving.signal }).catch(() => {}));
    const stream = await openStream(origin);
    await stream.event();
    await expect.poll(now).toEqual([2, 1, 1]);
    leaving.abort();
    stream.leave();
    await Promise.all(waits);
    await expect.poll(now).toEqual([0, 0, 0]);
  });

  it('times writes and reads', async () => {
    const before = await scrape();
    await Promise.all(['a', 'b', 'c'].map(run_id => post('/control-signals', signal('completion', { run_id }))));
    await post('/control-signals', signal('completion'));
    // One query, then two, of which one is always the same statement.
    await service.send('GET', '/questions');
    await service.send('GET', '/bus/topics');
    const after = await scrape();
    const grown = (name: string, labels = {}) => (after.value(name, labels) ?? 0) - (before.value(name, labels) ?? 0);
    expect(grown('forumbus_db_write_wait_seconds_count')).toBe(4);
    expect(grown('forumbus_db_transaction_works_sum')).toBe(4);
    const transactions = grown('forumbus_db_transaction_works_count');
    expect(transactions).toBeLessThanOrEqual(4);
    for (const phase of ['run', 'commit']) {
      expect(grown('forumbus_db_transaction_seconds_count', { phase })).toBe(transactions);
      expect(grown('forumbus_db_transaction_seconds_sum', { phase })).toBeGreaterThan(0);
    }
    // Besides those three, each request to an open service asks whether it still is; requests of one turn share that.
    const reads = grown('forumbus_db_read_seconds_count');
    expect(reads).toBeGreaterThan(3 + 1);
    expect(reads).toBeLessThanOrEqual(3 + 12);
  });

  it('reads the database once a second, however many ask', async () => {
    const reads = async () => (await scrape()).value('forumbus_db_read_seconds_count');
    clock.advance(LOOK_MS);
    await reads();
    let first: number | undefined;
    // The service looks for new tokens now and then, which may fall between two of them.
    const differing = async () => {
      first = await reads();
      return new Set([first, ...(await Promise.all(Array.from({ length: 10 }, reads)))]).size;
    };
    await expect.poll(differing, { timeout: 5000 }).toBe(1);
    clock.advance(LOOK_MS);
    expect(await reads().then(reads)).toBeGreaterThan(first as number);
  });

  it('says what runs', async () => {
    const metrics = await scrape();
    expect(metrics.value('forumbus_build_info', { engine })).toBe(1);
    expect(metrics.value('forumbus_worker_running')).toBe(0);
    // It has not claimed, and will not.
    expect(metrics.value('forumbus_worker_last_claim_timestamp_seconds')).toBeUndefined();
    const started = metrics.value('process_start_time_seconds') as number;
    expect(started).toBeGreaterThan(Date.now() / 1000 - 3600);
    expect(started).toBeLessThan(Date.now() / 1000);
    for (const name of ['process_cpu_seconds_total', 'process_resident_memory_bytes', 'nodejs_heap_size_used_bytes']) {
      expect(metrics.value(name)).toBeGreaterThan(0);
    }
    const delays = async () => (await scrape()).value('forumbus_event_loop_delay_seconds_count');
    await expect.poll(delays).toBeGreaterThan(0);
  });
});

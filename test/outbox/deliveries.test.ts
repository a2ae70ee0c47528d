import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import type { Delivery } from '../../src/outbox/delivery.ts';
import type { Outbox } from '../../src/outbox/service.ts';
import { createServices, type Services } from '../../src/services.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';

/** What workers rely on, held by both engines. Time stands still unless a test moves it. */
describe.each(engines)('deliveries on %s', engine => {
  const LEASE = 30_000;
  let scratch: Scratch;
  let services: Services;
  let outbox: Outbox;
  let clock: ManualClock;

  beforeEach(async () => {
    clock = new ManualClock();
    scratch = await scratchDatabase(engine);
    const config = readConfig({ DATABASE_URL: scratch.url, LEASE_MS: String(LEASE), MAX_ATTEMPTS: '3' });
    services = await createServices(config, pino({ level: 'silent' }), { clock });
    outbox = services.outbox;
  });
  afterEach(async () => {
    await services.close();
    await scratch.drop();
  });

  const publish = async (message_id: string, message_key?: string, fields: object = {}) =>
    outbox.publish({
      topic: 'a.b',
      payload: { n: message_id },
      message_id,
      ...(message_key && { message_key }),
      ...fields,
    });
  const claim = async (limit = 10) => outbox.claim(limit);
  const ids = (deliveries: Delivery[]) => deliveries.map(delivery => delivery.message.message_id);
  const one = async (): Promise<Delivery> => {
    const [delivery] = await claim(1);
    if (!delivery) throw new Error('nothing to claim');
    return delivery;
  };
  const sent = { kind: 'sent' } as const;
  const retry = { kind: 'retry', delayMs: 5000, error: 'busy' } as const;

  it('are claimed oldest first, no more than asked for, and not twice', async () => {
    for (const id of ['m1', 'm2', 'm3']) await publish(id);
    expect(ids(await claim(2))).toEqual(['m1', 'm2']);
    expect(ids(await claim(2))).toEqual(['m3']);
    expect(ids(await claim(2))).toEqual([]);
    expect(await outbox.get('m1')).toMatchObject({ status: 'processing', attempts: 1 });
  });

  it('are not claimed before they are available', async () => {
    await publish('m1', undefined, { available_at: new Date(clock.now() + 1000).toISOString() });
    expect(await claim()).toEqual([]);
    clock.advance(1000);
    expect(ids(await claim())).toEqual(['m1']);
  });

  it('of one key come one after the other, in the order published, while other keys go on', async () => {
    for (const id of ['a1', 'a2', 'a3']) await publish(id, 'a');
    await publish('b1', 'b');
    const [a1, b1] = await claim();
    expect(ids([a1, b1] as Delivery[])).toEqual(['a1', 'b1']);
    expect(await claim()).toEqual([]);
    await outbox.settle(a1 as Delivery, sent);
    expect(ids(await claim())).toEqual(['a2']);
  });

  it('keep their key waiting while they are retried', async () => {
    await publish('a1', 'a');
    await publish('a2', 'a');
    await outbox.settle(await one(), retry);
    expect(await outbox.get('a1')).toMatchObject({ status: 'failed', last_error: 'busy', attempts: 1 });
    expect(await claim()).toEqual([]);
    clock.advance(5000);
    const again = await one();
    expect(ids([again])).toEqual(['a1']);
    await outbox.settle(again, sent);
    expect(ids(await claim())).toEqual(['a2']);
  });

  it('let their key pass when they are dead', async () => {
    await publish('a1', 'a');
    await publish('a2', 'a');
    await outbox.settle(await one(), { kind: 'dead', error: 'no use' });
    expect(await outbox.get('a1')).toMatchObject({ status: 'dead', last_error: 'no use' });
    expect(ids(await claim())).toEqual(['a2']);
  });

  it('come back when their lease runs out, and the late worker changes nothing', async () => {
    await publish('a1', 'a');
    await publish('a2', 'a');
    const late = await one();
    clock.advance(LEASE);
    const again = await one();
    expect(again.message).toMatchObject({ message_id: 'a1', attempts: 2 });
    const before = await outbox.get('a1');
    for (const outcome of [sent, retry, { kind: 'dead', error: 'x' }, { kind: 'released' }] as const) {
      expect(await outbox.settle(late, outcome)).toBe(false);
    }
    expect(await outbox.renew([late.lease])).toEqual([]);
    expect(await outbox.get('a1')).toEqual(before);
    expect(await claim()).toEqual([]);
    expect(await outbox.settle(again, sent)).toBe(true);
    expect(ids(await claim())).toEqual(['a2']);
  });

  it('stay with a worker that renews its lease', async () => {
    await publish('m1');
    const delivery = await one();
    for (let renewal = 0; renewal < 5; renewal += 1) {
      clock.advance(LEASE - 1);
      expect(await outbox.renew([delivery.lease])).toEqual([delivery.lease]);
    }
    expect(await claim()).toEqual([]);
    expect(await outbox.settle(delivery, sent)).toBe(true);
  });

  it('use up no attempt when they are postponed, released or not handled', async () => {
    await publish('a1', 'a');
    await outbox.settle(await one(), { kind: 'postponed', until: clock.now() + 1000, error: 'later' });
    expect(await outbox.get('a1')).toMatchObject({ status: 'failed', attempts: 0 });
    clock.advance(1000);
    await outbox.settle(await one(), { kind: 'released' });
    expect(await outbox.get('a1')).toMatchObject({ status: 'pending', attempts: 0 });
    await outbox.settle(await one(), { kind: 'unhandled', error: 'no handler for topic a.b' });
    expect(await outbox.get('a1')).toMatchObject({
      status: 'failed',
      attempts: 0,
      last_error: 'no handler for topic a.b',
    });
  });

  it('without a handler wait, hold up their own key only, and go on when a handler appears', async () => {
    await publish('a1', 'a');
    await publish('a2', 'a');
    await outbox.settle(await one(), { kind: 'unhandled', error: 'no handler for topic a.b' });
    clock.advance(365 * 86_400_000);
    expect(await claim()).toEqual([]);
    await publish('b1', 'b', { topic: 'other' });
    expect(ids(await claim())).toEqual(['b1']);
    expect(await outbox.topicsWithoutHandler()).toEqual(['a.b']);
    await outbox.unparkHandled(topic => topic !== 'a.b');
    expect(await claim()).toEqual([]);
    await outbox.unparkHandled(topic => topic === 'a.b');
    expect(await outbox.topicsWithoutHandler()).toEqual([]);
    expect(ids(await claim())).toEqual(['a1']);
  });

  it('are marked sent together with the effect of their handler, or not at all', async () => {
    await publish('m1');
    const delivery = await one();
    const effect = async () => {
      throw new Error('constraint');
    };
    await expect(outbox.settleWith(delivery, effect)).rejects.toThrow('constraint');
    expect((await outbox.get('m1')).status).toBe('processing');
    clock.advance(LEASE);
    const again = await one();
    let begun = 0;
    const counted = async () => {
      begun += 1;
    };
    expect(await outbox.settleWith(delivery, counted)).toBe(false);
    expect(begun).toBe(0);
    expect(await outbox.settleWith(again, counted)).toBe(true);
    expect(begun).toBe(1);
    expect((await outbox.get('m1')).status).toBe('sent');
  });

  it('keep a bounded history of their attempts', async () => {
    await publish('m1');
    for (let attempt = 1; attempt <= 30; attempt += 1) {
      await outbox.settle(await one(), { ...retry, error: `error ${attempt}` });
      clock.advance(5000);
    }
    const { attempt_history } = await outbox.get('m1');
    expect(attempt_history).toHaveLength(20);
    expect(attempt_history.at(-1)).toMatchObject({ attempt: 30, generation: 1, outcome: 'failed', error: 'error 30' });
  });

  it('are counted by status and topic', async () => {
    await publish('m1');
    await publish('m2');
    await publish('m3', 'k', { topic: 'c' });
    await outbox.settle(await one(), sent);
    await outbox.settle(await one(), { kind: 'dead', error: 'x' });
    clock.advance(2500);
    const stats = await outbox.stats();
    expect(stats.by_status).toEqual({ pending: 1, processing: 0, failed: 0, dead: 1, sent: 1, discarded: 0 });
    expect(stats.by_topic).toMatchObject([
      { topic: 'a.b', sent: 1, dead: 1, pending: 0 },
      { topic: 'c', pending: 1 },
    ]);
    expect(stats.oldest_pending_age_seconds).toBe(2.5);
  });

  it('of a killed process are taken back at the next start on SQLite', async () => {
    await publish('a1', 'a');
    await publish('m1');
    await claim();
    const taken = await outbox.takeBack();
    expect(taken).toBe(engine === 'sqlite' ? 2 : 0);
    if (engine === 'postgres') clock.advance(LEASE);
    expect(ids(await claim())).toEqual(['a1', 'm1']);
    expect(await outbox.get('a1')).toMatchObject({ attempts: 2 });
  });
});

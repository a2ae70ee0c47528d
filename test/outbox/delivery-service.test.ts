import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import type { DeliveryService } from '../../src/outbox/delivery-service.ts';
import type { LeasedDelivery } from '../../src/outbox/leased-delivery.ts';
import { createServices, type Services } from '../../src/services.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { handler } from '../helpers/handling.ts';
import { inOwnWrites, type OwnWrites } from '../helpers/outbox.ts';
import { settle } from '../helpers/settling.ts';
import { sqlBeside } from '../helpers/sql.ts';

/** What workers rely on, held by both engines. Time stands still unless a test moves it. */
describe.each(engines)('deliveries on %s', engine => {
  const LEASE = 30_000;
  let scratch: Scratch;
  let services: Services;
  let outbox: OwnWrites;
  let deliveries: DeliveryService;
  let clock: ManualClock;
  /** Their deliveries are claimed by the tests; nothing runs them. */
  const handlers = [
    handler(['a.b', 'c', 'other'], () => {}, { name: 'x' }),
    handler('shared.*', () => {}, { name: 'y' }),
    handler('shared.one', () => {}, { name: 'z' }),
  ];

  beforeEach(async () => {
    clock = new ManualClock();
    scratch = await scratchDatabase(engine);
    const config = readConfig({ DATABASE_URL: scratch.url, LEASE_MS: String(LEASE), MAX_ATTEMPTS: '3', ROLE: 'http' });
    services = await createServices(config, pino({ level: 'silent' }), { clock, handlers });
    outbox = inOwnWrites(services.db, services.delivery.outbox);
    deliveries = services.delivery.deliveries;
    await services.start();
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
  const claim = async (limit = 10) => deliveries.claim(limit);
  const ids = (claimed: LeasedDelivery[]) => claimed.map(delivery => delivery.message.message_id);
  const one = async (): Promise<LeasedDelivery> => {
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

  it('that are settled at once keep what was different: claims, attempts, and those that were lost', async () => {
    for (const id of ['m1', 'm2', 'm3', 'm4']) await publish(id);
    const [lost, failing] = (await claim(2)) as [LeasedDelivery, LeasedDelivery];
    await settle(deliveries, failing, { ...retry, delayMs: 0 });
    clock.advance(LEASE);
    // Two claims of one moment.
    const earlier = [...(await claim(2)), ...(await claim(1))];
    clock.advance(1000);
    const later = await claim(1);
    expect([ids(earlier).sort(), ids(later)]).toEqual([['m2', 'm3', 'm4'], ['m1']]);
    const all = [lost, ...later, ...earlier].map(delivery => ({ delivery, outcome: sent }));
    expect((await deliveries.settle(() => all)).held).toEqual([false, true, true, true, true]);
    const attempts = async (id: string) =>
      (await outbox.get(id)).attempt_history.map(({ attempt, outcome, duration_ms }) => [
        attempt,
        outcome,
        duration_ms,
      ]);
    expect(await attempts('m1')).toEqual([[2, 'sent', 0]]);
    expect(await attempts('m2')).toEqual([
      [1, 'failed', 0],
      [2, 'sent', 1000],
    ]);
    expect(await attempts('m3')).toEqual([[1, 'sent', 1000]]);
    expect(await attempts('m4')).toEqual([[1, 'sent', 1000]]);
  });

  it('of one key come one after the other, in the order published, while other keys go on', async () => {
    for (const id of ['a1', 'a2', 'a3']) await publish(id, 'a');
    await publish('b1', 'b');
    const [a1, b1] = await claim();
    expect(ids([a1, b1] as LeasedDelivery[])).toEqual(['a1', 'b1']);
    expect(await claim()).toEqual([]);
    await settle(deliveries, a1 as LeasedDelivery, sent);
    expect(ids(await claim())).toEqual(['a2']);
  });

  it.each(['q"\\uote', "it's %_", '[1]', '\\u0000', 'é\u2028😀', '\u0001\t\n', '\uFFFD'])(
    'follow one another whatever their key is made of: %j',
    async key => {
      for (const id of ['a1', 'a2', 'a3']) await publish(id, key);
      for (const id of ['a1', 'a2', 'a3']) {
        const delivery = await one();
        expect(ids([delivery])).toEqual([id]);
        await settle(deliveries, delivery, sent);
      }
    },
  );

  it('keep their key waiting while they are retried', async () => {
    await publish('a1', 'a');
    await publish('a2', 'a');
    await settle(deliveries, await one(), retry);
    expect(await outbox.get('a1')).toMatchObject({ status: 'failed', last_error: 'busy', attempts: 1 });
    expect(await claim()).toEqual([]);
    clock.advance(5000);
    const again = await one();
    expect(ids([again])).toEqual(['a1']);
    await settle(deliveries, again, sent);
    expect(ids(await claim())).toEqual(['a2']);
  });

  it('let their key pass when they are dead', async () => {
    await publish('a1', 'a');
    await publish('a2', 'a');
    await settle(deliveries, await one(), { kind: 'dead', error: 'no use', blocks: false });
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
    for (const outcome of [sent, retry, { kind: 'dead', error: 'x', blocks: false }, { kind: 'released' }] as const) {
      expect(await settle(deliveries, late, outcome)).toBe(false);
    }
    expect(await deliveries.renew([late.lease])).toEqual([]);
    expect(await outbox.get('a1')).toEqual(before);
    expect(await claim()).toEqual([]);
    expect(await settle(deliveries, again, sent)).toBe(true);
    expect(ids(await claim())).toEqual(['a2']);
  });

  it('stay with a worker that renews its lease', async () => {
    await publish('m1');
    const delivery = await one();
    for (let renewal = 0; renewal < 5; renewal += 1) {
      clock.advance(LEASE - 1);
      expect(await deliveries.renew([delivery.lease])).toEqual([delivery.lease]);
    }
    expect(await claim()).toEqual([]);
    expect(await settle(deliveries, delivery, sent)).toBe(true);
  });

  it('use up no attempt when they are postponed or released', async () => {
    await publish('a1', 'a');
    await settle(deliveries, await one(), { kind: 'postponed', until: clock.now() + 1000, error: 'later' });
    expect(await outbox.get('a1')).toMatchObject({ status: 'failed', attempts: 0 });
    clock.advance(1000);
    await settle(deliveries, await one(), { kind: 'released' });
    expect(await outbox.get('a1')).toMatchObject({ status: 'pending', attempts: 0 });
  });

  it('are marked sent together with the effect of their handler, or not at all', async () => {
    await publish('m1');
    const delivery = await one();
    const effect = async () => {
      throw new Error('constraint');
    };
    await expect(deliveries.settleWith(delivery, effect)).rejects.toThrow('constraint');
    expect((await outbox.get('m1')).status).toBe('processing');
    clock.advance(LEASE);
    const again = await one();
    let begun = 0;
    const counted = async () => {
      begun += 1;
      return { kind: 'sent' as const };
    };
    expect(await deliveries.settleWith(delivery, counted)).toBe(false);
    expect(begun).toBe(0);
    expect(await deliveries.settleWith(again, counted)).toBe(true);
    expect(begun).toBe(1);
    expect((await outbox.get('m1')).status).toBe('sent');
  });

  it('keep a bounded history of their attempts', async () => {
    await publish('m1');
    for (let attempt = 1; attempt <= 30; attempt += 1) {
      await settle(deliveries, await one(), { ...retry, error: `error ${attempt}` });
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
    await settle(deliveries, await one(), sent);
    await settle(deliveries, await one(), { kind: 'dead', error: 'x', blocks: false });
    clock.advance(2500);
    const stats = await outbox.stats();
    expect(stats.by_status).toEqual({ pending: 1, processing: 0, failed: 0, dead: 1, sent: 1, discarded: 0 });
    expect(stats.by_topic).toMatchObject([
      { topic: 'a.b', sent: 1, dead: 1, pending: 0 },
      { topic: 'c', pending: 1 },
    ]);
    expect(stats.oldest_pending_age_seconds).toBe(2.5);
  });

  it('of a dead process are taken back without waiting for their leases, those of a living one are not', async () => {
    await publish('a1', 'a');
    await publish('m1');
    await claim();
    expect(await services.delivery.maintenance.reclaim()).toMatchObject({ count: 0 });
    await sqlBeside(scratch.url, "update deliveries set leased_by = 'a-process-that-died' where message_key = 'a'");
    await expect
      .poll(() => services.delivery.maintenance.reclaim(), { interval: 10 })
      .toEqual({ count: 1, again: false });
    expect(ids(await claim())).toEqual(['a1']);
    expect(await outbox.get('a1')).toMatchObject({ attempts: 2 });
  });

  describe('of a message with several consumers', () => {
    const topic = 'shared.one';

    it('are one for each, and carry the message as it was published', async () => {
      await publish('m1', 'k', { topic });
      const claimed = await claim();
      const facts = claimed.map(({ consumer, message: { message_id, message_key, payload } }) => {
        return { consumer, message_id, message_key, payload };
      });
      const message = { message_id: 'm1', message_key: 'k', payload: { n: 'm1' } };
      expect(facts).toEqual([
        { consumer: 'y', ...message },
        { consumer: 'z', ...message },
      ]);
      const [ofY, ofZ] = claimed as [LeasedDelivery, LeasedDelivery];
      await settle(deliveries, ofY, { kind: 'sent', result: '{"done":1}' });
      await settle(deliveries, ofZ, retry);
      // The message is as far as the least finished of them.
      const view = await outbox.get('m1');
      expect(view).toMatchObject({ consumer: 'z', status: 'failed', last_error: 'busy' });
      expect(view.deliveries.map(({ consumer, status, result }) => [consumer, status, result])).toEqual([
        ['y', 'sent', { done: 1 }],
        ['z', 'failed', null],
      ]);
    });

    it('keep the order of a key for each, and none waits for the others', async () => {
      for (const id of ['m1', 'm2']) await publish(id, 'k', { topic });
      await publish('m3', 'k', { topic: 'shared.two' });
      const [y1, z1] = (await claim()) as [LeasedDelivery, LeasedDelivery];
      await settle(deliveries, y1, sent);
      await settle(deliveries, z1, retry);
      const [y2, ...none] = (await claim()) as [LeasedDelivery];
      expect([y2.consumer, ids([y2]), none]).toEqual(['y', ['m2'], []]);
      await settle(deliveries, y2, sent);
      // Across topics, too.
      const [y3] = (await claim()) as [LeasedDelivery];
      expect([y3.consumer, ids([y3])]).toEqual(['y', ['m3']]);
    });

    it('are replayed and discarded together, or for one of them', async () => {
      await publish('m1', 'k', { topic });
      for (const delivery of await claim()) {
        await settle(deliveries, delivery, { kind: 'dead', error: 'x', blocks: false });
      }
      const states = async () => (await outbox.get('m1')).deliveries.map(({ status }) => status);
      await outbox.replay('m1', 'z');
      expect(await states()).toEqual(['dead', 'pending']);
      await expect(outbox.replay('m1', 'z')).rejects.toMatchObject({ code: 'MESSAGE_STATUS_CONFLICT' });
      await expect(outbox.replay('m1', 'x')).rejects.toMatchObject({ code: 'MESSAGE_NOT_FOUND' });
      await outbox.discard('m1', 'z');
      expect(await states()).toEqual(['dead', 'discarded']);
      await outbox.discard('m1');
      expect(await states()).toEqual(['discarded', 'discarded']);
      expect(await claim()).toEqual([]);
    });

    it('can be listed and replayed by consumer', async () => {
      await publish('m1', 'k', { topic });
      await publish('m2', 'k');
      for (const delivery of await claim()) {
        await settle(deliveries, delivery, { kind: 'dead', error: 'x', blocks: false });
      }
      const listed = (await outbox.list({ consumer: 'z' })).items;
      expect(listed.map(({ message_id, consumer }) => [message_id, consumer])).toEqual([['m1', 'z']]);
      expect((await outbox.list({ consumer: 'nobody' })).items).toEqual([]);
      expect(await outbox.replayDead({ consumer: 'nobody' })).toBe(0);
      expect(await outbox.replayDead({ consumer: 'z' })).toBe(1);
      expect((await claim()).map(({ consumer }) => consumer)).toEqual(['z']);
    });
  });

  describe('that are dead', () => {
    const die = async (blocks: boolean) => settle(deliveries, await one(), { kind: 'dead', error: 'x', blocks });

    it('are replayed into their lane with all attempts, a new generation and their history', async () => {
      await publish('a1', 'a');
      await publish('a2', 'a');
      await die(false);
      const [a2] = await claim();
      expect(await outbox.replay('a1')).toMatchObject({ status: 'pending', generation: 2, attempts: 0 });
      // a2 is being handled: a1 waits for its turn, and no two messages of a key are handled at once.
      expect(await claim()).toEqual([]);
      await settle(deliveries, a2 as LeasedDelivery, sent);
      const again = await one();
      expect(again.message).toMatchObject({ message_id: 'a1', generation: 2, attempts: 1 });
      await settle(deliveries, again, sent);
      const { attempt_history } = await outbox.get('a1');
      expect(attempt_history.map(({ generation, outcome }) => [generation, outcome])).toEqual([
        [1, 'dead'],
        [2, 'sent'],
      ]);
    });

    it('take their old place among the messages of their key when replayed', async () => {
      for (const id of ['a1', 'a2', 'a3']) await publish(id, 'a');
      await die(false);
      const [a2] = await claim();
      await outbox.replay('a1');
      await settle(deliveries, a2 as LeasedDelivery, sent);
      expect(ids(await claim())).toEqual(['a1']);
    });

    it('can be replayed all at once, by topic, none lost', async () => {
      for (let n = 0; n < 230; n += 1)
        await publish(`m${n}`, n % 2 ? `k${n % 7}` : undefined, { topic: n % 5 ? 'a.b' : 'c' });
      const dying = async () => {
        for (let batch = await claim(100); batch.length > 0; batch = await claim(100)) {
          for (const delivery of batch) await settle(deliveries, delivery, { kind: 'dead', error: 'x', blocks: false });
        }
      };
      await dying();
      expect(await outbox.replayDead({ topic: 'c' })).toBe(46);
      expect(await outbox.replayDead()).toBe(184);
      expect(await outbox.replayDead()).toBe(0);
      expect((await outbox.stats()).by_status).toMatchObject({ dead: 0, pending: 230 });
      await dying();
      expect((await outbox.stats()).by_status).toMatchObject({ dead: 230, pending: 0 });
    });

    it('may block their key until they are replayed or discarded', async () => {
      for (const id of ['a1', 'a2', 'a3']) await publish(id, 'a');
      await die(true);
      clock.advance(86_400_000);
      await publish('a4', 'a');
      expect(await claim()).toEqual([]);
      expect((await outbox.stats()).blocked_lanes).toEqual([
        { message_key: 'a', topic: 'a.b', consumer: 'x', message_id: 'a1' },
      ]);
      await outbox.replay('a1');
      expect((await outbox.stats()).blocked_lanes).toEqual([]);
      await die(true);
      await outbox.discard('a1');
      expect(ids(await claim())).toEqual(['a2']);
      expect((await outbox.stats()).blocked_lanes).toEqual([]);
    });
  });

  it('can be discarded unless they are being handled or sent, and their key goes on', async () => {
    for (const id of ['a1', 'a2', 'a3', 'a4']) await publish(id, 'a');
    const a1 = await one();
    const refused = { code: 'MESSAGE_STATUS_CONFLICT' };
    await expect(outbox.discard('a1')).rejects.toMatchObject(refused);
    await expect(outbox.replay('a1')).rejects.toMatchObject(refused);
    await outbox.discard('a2');
    expect(await claim()).toEqual([]);
    await settle(deliveries, a1, sent);
    await expect(outbox.discard('a1')).rejects.toMatchObject(refused);
    await settle(deliveries, await one(), retry);
    await outbox.discard('a3');
    expect(await outbox.discard('a3')).toMatchObject({ status: 'discarded' });
    expect(ids(await claim())).toEqual(['a4']);
  });

  it('of a paused topic wait until it is resumed, those of other topics do not', async () => {
    await publish('a1', 'a');
    await publish('m1', undefined, { topic: 'other' });
    await outbox.pause('a.b');
    await publish('a2', 'a');
    const others = await claim();
    expect(ids(others)).toEqual(['m1']);
    await settle(deliveries, others[0] as LeasedDelivery, sent);
    clock.advance(86_400_000);
    await services.delivery.maintenance.unparkReady();
    expect(await claim()).toEqual([]);
    expect(await outbox.get('a1')).toMatchObject({ status: 'pending', attempts: 0 });
    expect(await outbox.pausedTopics()).toEqual(['a.b']);
    await services.db.write(tx => deliveries.resume(tx, 'a.b'));
    expect(ids(await claim())).toEqual(['a1']);
  });

  it('of one key with a long backlog take turns with those of other keys', async () => {
    for (let n = 0; n < 20; n += 1) await publish(`a${n}`, 'a');
    clock.advance(1000);
    await publish('b0', 'b');
    const order: string[] = [];
    for (let n = 0; n < 3; n += 1) {
      clock.advance(1);
      const delivery = await one();
      order.push(delivery.message.message_id);
      await settle(deliveries, delivery, sent);
    }
    expect(order).toEqual(['a0', 'b0', 'a1']);
  });

  it('leave when they have been done for long enough, and only then', async () => {
    for (const id of ['old', 'dead', 'gone']) await publish(id);
    await settle(deliveries, await one(), sent);
    await settle(deliveries, await one(), { kind: 'dead', error: 'x', blocks: false });
    await outbox.discard('gone');
    const week = 168 * 3_600_000;
    clock.advance(week);
    for (let n = 0; n < 450; n += 1) await publish(`new${n}`);
    await settle(deliveries, await one(), sent);
    await services.delivery.maintenance.deleteOld();
    expect((await outbox.stats()).by_status).toMatchObject({ sent: 2, dead: 1, pending: 449, discarded: 1 });
    clock.advance(1);
    await services.delivery.maintenance.deleteOld();
    await expect(outbox.get('old')).rejects.toMatchObject({ code: 'MESSAGE_NOT_FOUND' });
    await expect(outbox.get('gone')).rejects.toMatchObject({ code: 'MESSAGE_NOT_FOUND' });
    expect((await outbox.get('dead')).status).toBe('dead');
    expect((await outbox.get('new0')).status).toBe('sent');
    clock.advance(week);
    await services.delivery.maintenance.deleteOld();
    await expect(outbox.get('new0')).rejects.toMatchObject({ code: 'MESSAGE_NOT_FOUND' });
  });
});

import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CommitNotifier } from '../../src/commit-notifier.ts';
import type { Database } from '../../src/db/database.ts';
import { openDatabase } from '../../src/db/open.ts';
import { createEvents } from '../../src/events/service.ts';
import { createDeliveryService } from '../../src/outbox/delivery-service.ts';
import { createOutboxMaintenance } from '../../src/outbox/maintenance.ts';
import type { Outcome } from '../../src/outbox/outcome.ts';
import { createOutbox } from '../../src/outbox/service.ts';
import { createSubscriptions } from '../../src/subscriptions/service.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { inOwnWrites } from '../helpers/outbox.ts';
import { settle } from '../helpers/settling.ts';

const LEASE_MS = 1000;

describe.each(engines)('the order of a key on %s', engine => {
  let scratch: Scratch;
  let db: Database;
  const clock = new ManualClock();
  /** Whether the next commit breaks off after it has been stored. */
  let breaksOff = false;

  const world = async () => {
    const flaky: Database = {
      ...db,
      async write(work, options) {
        const value = await db.write(work, options);
        if (breaksOff) throw Object.assign(new Error('Connection terminated'), { code: 'ECONNRESET' });
        return value;
      },
      presence: { ...db.presence, deadAmong: async names => names },
    };
    let uids = 0;
    const basics = { clock, newUid: () => `u${++uids}`, commits: new CommitNotifier() };
    const events = createEvents({ ...basics, db });
    const subscriptions = createSubscriptions({ ...basics, db, events, process: 'w' });
    const common = { ...basics, events, subscriptions, maxAttempts: 3 };
    const deliveries = createDeliveryService({ ...common, db: flaky, workerName: 'w', leaseMs: LEASE_MS });
    const outbox = inOwnWrites(db, createOutbox({ ...common, db }));
    await outbox.register([{ name: 'x', topics: ['a', 'forum.events.**'], policy: { dead: 'pass' } }], true);
    const maintenance = createOutboxMaintenance({ ...common, db: flaky, retentionMs: 1000 });
    const publish = (message_id: string, message_key = 'k') =>
      outbox.publish({ message_id, message_key, topic: 'a', payload: message_id });
    /** Claims one message, which must be this. */
    const claim = async (expected: string) => {
      const claimed = await deliveries.claim(10);
      expect(claimed.map(({ message }) => message.message_id)).toEqual([expected]);
      return claimed[0] as (typeof claimed)[number];
    };
    const take = async (expected: string, outcome: Outcome) =>
      expect(await settle(deliveries, await claim(expected), outcome)).toBe(true);
    return { events, deliveries, outbox, maintenance, publish, claim, take };
  };

  beforeAll(async () => {
    scratch = await scratchDatabase(engine);
    db = await openDatabase(scratch.url, pino({ level: 'silent' }), clock);
  });
  afterAll(async () => {
    await db.close();
    await scratch.drop();
  });
  beforeEach(async () => {
    breaksOff = false;
    await db.write(async tx => {
      for (const table of ['deliveries', 'messages', 'subscription_servers', 'subscriptions', 'events'] as const)
        await tx.query.deleteFrom(table).execute();
    });
  });

  const sent = { kind: 'sent' } as const;
  const dead = (blocks: boolean) => ({ kind: 'dead', error: 'no', blocks }) as const;
  const retry = { kind: 'retry', delayMs: 0, error: 'no' } as const;
  const goingBack: [what: string, outcome: Outcome | 'lost' | 'reclaimed'][] = [
    ['is retried', retry],
    ['is retried later', { ...retry, delayMs: 5000 }],
    ['is postponed', { kind: 'postponed', until: 0, error: 'later' }],
    ['is released', { kind: 'released' }],
    ['ends dead and blocks', dead(true)],
    ['outlives its lease', 'lost'],
    ['loses its process', 'reclaimed'],
  ];

  it.each(goingBack)('a replayed message goes before a younger one that %s', async (_, outcome) => {
    const { publish, take, claim, outbox, deliveries, maintenance } = await world();
    const [m1, m2] = ['m1', 'm2'];
    for (const id of [m1, m2, 'm3']) await publish(id);
    await take(m1, dead(false));
    const second = await claim(m2);
    await outbox.replay(m1);
    if (outcome === 'lost') clock.advance(LEASE_MS + 1);
    else if (outcome === 'reclaimed') await maintenance.reclaim();
    else expect(await settle(deliveries, second, outcome)).toBe(true);
    await take(m1, sent);
    if (typeof outcome === 'object' && outcome.kind === 'dead') {
      expect(await deliveries.claim(10)).toEqual([]);
      await outbox.discard(m2);
    } else {
      clock.advance(5000);
      await take(m2, sent);
    }
    await take('m3', sent);
  });

  it('a claim whose commit breaks off costs neither its lease nor an attempt', async () => {
    const { publish, deliveries, claim } = await world();
    for (const id of ['m1', 'm2']) await publish(id);
    for (const _ of [1, 2]) {
      breaksOff = true;
      await expect(deliveries.claim(10)).rejects.toThrow('Connection terminated');
      breaksOff = false;
    }
    const first = await claim('m1');
    expect(first.message.attempts).toBe(1);
    // What another claim holds is left alone.
    expect(await deliveries.renew([first.lease])).toEqual([first.lease]);
    breaksOff = true;
    await expect(deliveries.claim(10)).rejects.toThrow('Connection terminated');
    breaksOff = false;
    expect(await deliveries.claim(10)).toEqual([]);
    expect(await settle(deliveries, first, sent)).toBe(true);
    expect((await claim('m2')).message.attempts).toBe(1);
  });

  it('a claim of what follows whose commit breaks off costs neither its lease nor an attempt', async () => {
    const { publish, deliveries, claim, outbox } = await world();
    for (const id of ['m1', 'm2']) await publish(id);
    const delivery = await claim('m1');
    breaksOff = true;
    const settling = deliveries.settle(() => [{ delivery, outcome: sent }], { claims: true });
    await expect(settling).rejects.toThrow('Connection terminated');
    breaksOff = false;
    expect(await outbox.get('m2')).toMatchObject({ status: 'processing', attempts: 1 });
    const second = await claim('m2');
    expect(second.message.attempts).toBe(1);
    expect((await deliveries.settle(() => [{ delivery: second, outcome: sent }], { claims: true })).held).toEqual([
      true,
    ]);
  });

  it('a lane without a head is found and mended', async () => {
    const { publish, outbox, maintenance, claim } = await world();
    for (const id of ['m1', 'm2']) await publish(id);
    await publish('n1', 'fine');
    expect(await outbox.headlessLanes()).toEqual([]);
    expect(await maintenance.mendLanes()).toBe(0);
    await db.write(async tx => {
      await tx.query.updateTable('deliveries').set({ claimable_at: null }).where('message_key', '=', 'k').execute();
      await tx.query.deleteFrom('deliveries').where('message_key', '<>', 'k').execute();
    });
    expect(await outbox.headlessLanes()).toEqual(['k']);
    expect(await maintenance.mendLanes()).toBe(1);
    expect(await outbox.headlessLanes()).toEqual([]);
    await claim('m1');
  });

  it('a claim of events whose commit breaks off gives none of them twice and none too late', async () => {
    const { events, deliveries, take } = await world();
    const thread = { thread_id: null, run_id: 'r', agent_name: null, ticket: null };
    const drafts = ['m1', 'm2'].map(uid => ({
      ...events.draft(thread, { type: 'human', name: 'ana' }, 'forum.run.briefed', {}),
      uid,
    }));
    await db.write(tx => events.append(tx, drafts));
    breaksOff = true;
    await expect(deliveries.claim(10)).rejects.toThrow('Connection terminated');
    breaksOff = false;
    await take('msg_m1', sent);
    await take('msg_m2', sent);
    expect(await deliveries.claim(10)).toEqual([]);
  });

  it('an id is not free while a delivery of its message is kept', async () => {
    const { publish, outbox, take, maintenance } = await world();
    // From now on this process has claims for y only.
    await outbox.register([{ name: 'y', topics: ['a'], policy: { dead: 'pass' } }], false);
    await publish('order-1');
    await take('order-1', sent);
    clock.advance(2000);
    await maintenance.deleteOld();
    await expect(outbox.publish({ message_id: 'order-1', topic: 'a', payload: 'other' })).rejects.toMatchObject({
      code: 'MESSAGE_EXISTS',
    });
    expect((await outbox.get('order-1')).deliveries.map(({ consumer }) => consumer)).toEqual(['x']);
    await outbox.discard('order-1');
    clock.advance(2000);
    await maintenance.deleteOld();
    expect(await db.read.query.selectFrom('messages').selectAll().execute()).toEqual([]);
    expect(await publish('order-1')).toMatchObject({ created: true });
  });
});

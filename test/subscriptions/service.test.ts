import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommitNotifier } from '../../src/commit-notifier.ts';
import type { Database } from '../../src/db/database.ts';
import { openDatabase } from '../../src/db/open.ts';
import type { EventType } from '../../src/events/event-types.ts';
import { createEvents } from '../../src/events/service.ts';
import { createDeliveryService } from '../../src/outbox/delivery-service.ts';
import { createOutboxMaintenance } from '../../src/outbox/maintenance.ts';
import type { Outcome } from '../../src/outbox/outcome.ts';
import { createOutbox } from '../../src/outbox/service.ts';
import { assertDistinct, createSubscriptions } from '../../src/subscriptions/service.ts';
import type { Consumer } from '../../src/subscriptions/subscription.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { inOwnWrites } from '../helpers/outbox.ts';
import { settle } from '../helpers/settling.ts';

const OPENED = 'forum.events.thread.opened';
const CLOSED = 'forum.events.thread.closed';
const sent: Outcome = { kind: 'sent' };

describe.each(engines)('subscriptions on %s', engine => {
  let scratch: Scratch;
  let db: Database;
  let clock: ManualClock;
  /** The processes that the database takes for dead. */
  let dead: string[];

  beforeEach(async () => {
    clock = new ManualClock();
    dead = [];
    scratch = await scratchDatabase(engine);
    db = await openDatabase(scratch.url, pino({ level: 'silent' }), clock);
  });
  afterEach(async () => {
    await db.close();
    await scratch.drop();
  });

  let uids = 0;
  /** A process that has registered these consumers. */
  const process = async (name: string, consumers: Consumer[], serves = true) => {
    const presence = { ...db.presence, deadAmong: async (names: string[]) => names.filter(one => dead.includes(one)) };
    const basics = { db: { ...db, presence }, clock, newUid: () => `u${++uids}`, commits: new CommitNotifier() };
    const events = createEvents(basics);
    const subscriptions = createSubscriptions({ ...basics, events, process: name });
    const common = { ...basics, events, subscriptions, maxAttempts: 3 };
    const outbox = inOwnWrites(db, createOutbox(common));
    await outbox.register(consumers, serves);
    const deliveries = createDeliveryService({ ...common, workerName: name, leaseMs: 1000 });
    const maintenance = createOutboxMaintenance({ ...common, retentionMs: 1000 });
    /** Claims all that there is, settles it in order, and answers what it was. */
    const handle = async (outcome: Outcome = sent) => {
      const seen: unknown[] = [];
      for (;;) {
        const claimed = await deliveries.claim(10);
        if (claimed.length === 0) return seen;
        for (const delivery of claimed) {
          seen.push(delivery.row.event_sequence ?? delivery.message.message_id);
          await settle(deliveries, delivery, outcome);
        }
      }
    };
    const publish = (message_id: string, topic = 'a', message_key = 'k') =>
      outbox.publish({ topic, payload: message_id, message_id, message_key });
    return { subscriptions, outbox, deliveries, maintenance, events, handle, publish };
  };
  const consumer = (name: string, topics: string[], more: Partial<Consumer> = {}): Consumer => {
    return { name, topics, policy: { dead: 'pass' }, ...more };
  };
  /** Appends events of one run, and answers their sequences. */
  const append = async (...types: EventType[]) => {
    const { events } = await process('publisher', []);
    const thread = { thread_id: null, run_id: 'r', agent_name: null, ticket: null };
    const drafts = types.map(type => events.draft(thread, { type: 'human', name: 'ana' }, type, {}));
    return db.write(tx => events.append(tx, drafts));
  };
  const servedBy = async () => {
    const { subscriptions } = await process('reader', []);
    const served = await subscriptions.served(db.read);
    return Object.fromEntries(served.map(({ subscription, served_by }) => [subscription.name, served_by]));
  };

  it('begin at the head of the log, or at its start', async () => {
    const before = await append('forum.thread.opened', 'forum.thread.closed');
    const late = await process('w1', [consumer('late', [OPENED])]);
    const early = await process('w2', [consumer('early', [OPENED], { from: 'beginning' })]);
    const [after] = await append('forum.thread.opened');
    expect(await late.handle()).toEqual([after]);
    expect(await early.handle()).toEqual([before[0], after]);
    // Only a new one begins there.
    const again = await process('w3', [consumer('late', [OPENED], { from: 'beginning' })]);
    expect(await again.handle()).toEqual([]);
  });

  it('keep their place while no process serves them', async () => {
    const first = await process('w1', [consumer('x', [OPENED])]);
    await first.subscriptions.leave();
    const meanwhile = await append('forum.thread.opened', 'forum.thread.opened');
    const second = await process('w2', [consumer('x', [OPENED])]);
    expect(await second.handle()).toEqual(meanwhile);
  });

  it('with new patterns get what the old ones had not been given, and nothing that came before', async () => {
    const first = await process('w1', [consumer('x', [OPENED])]);
    const [opened] = await append('forum.thread.opened', 'forum.thread.closed');
    expect(await first.handle()).toEqual([opened]);
    const second = await process('w2', [consumer('x', [OPENED, CLOSED])]);
    expect(await second.handle()).toEqual([]);
    const more = await append('forum.thread.closed', 'forum.thread.opened', 'forum.thread.closed');
    // The first event that the old patterns would have been given next is where the new ones begin.
    const third = await process('w3', [consumer('x', [CLOSED])]);
    expect(await third.handle()).toEqual(more.filter((_, index) => index !== 1));
  });

  it('with another policy stay what they are', async () => {
    const first = await process('w1', [consumer('x', [OPENED])]);
    const appended = await append('forum.thread.opened');
    const second = await process('w2', [consumer('x', [OPENED], { policy: { dead: 'block' } })]);
    const [one, ...none] = await second.subscriptions.all(db.read);
    expect([one?.dead_policy, none]).toEqual(['block', []]);
    expect(await first.handle()).toEqual(appended);
  });

  it('whose policy becomes to pass let go what dead messages have blocked', async () => {
    const died: Outcome = { kind: 'dead', error: 'x', blocks: true };
    const blocking = await process('w1', [consumer('x', ['a'], { policy: { dead: 'block' } })]);
    for (const [id, key] of ['1k', '2k', '3l', '4k'].entries()) await blocking.publish(`m${id}`, 'a', key.slice(1));
    expect(await blocking.handle(died)).toEqual(['m0', 'm2']);
    await blocking.maintenance.passDead();
    expect(await blocking.handle()).toEqual([]);

    const passing = await process('w2', [consumer('x', ['a'])]);
    await passing.maintenance.passDead();
    expect(await passing.outbox.blockedLanes()).toBe(0);
    // A process that still has the former policy may go on for a while.
    expect(await blocking.handle(died)).toEqual(['m1']);
    await blocking.maintenance.passDead();
    expect(await passing.handle()).toEqual(['m3']);
    await passing.outbox.replay('m0');
    expect(await passing.handle()).toEqual(['m0']);
  });

  it('are replayed from a sequence: each event is delivered again, beside its first delivery', async () => {
    const worker = await process('w', [consumer('x', [OPENED])]);
    const appended = await append('forum.thread.opened', 'forum.thread.opened', 'forum.thread.opened');
    expect(await worker.handle()).toEqual(appended);
    const replay = (after: number) => db.write(tx => worker.subscriptions.replay(tx, 'x', after));
    expect(await replay(appended[0] as number)).toBe(appended[0]);
    const waiting = (await worker.outbox.subscriptions()).map(one => [one.subscription.name, one.waiting]);
    expect(waiting).toEqual([['x', 2]]);
    expect(await worker.handle()).toEqual(appended.slice(1));
    // What has not been given yet is not skipped.
    const [next] = await append('forum.thread.opened');
    expect(await replay(1_000_000)).toBe(appended[2]);
    expect(await worker.handle()).toEqual([next]);
    await expect(db.write(tx => worker.subscriptions.replay(tx, 'y', 0))).rejects.toMatchObject({
      code: 'SUBSCRIPTION_NOT_FOUND',
    });
  });

  it('of a webhook that is enabled while what waited is discarded keep what is new', async () => {
    const { subscriptions, outbox, publish } = await process('w', []);
    const wants = (topics: string[]) => ({ topics, filter: null });
    const id = await db.write(tx => subscriptions.addWebhook(tx, 'webhook:x', wants(['a'])));
    await publish('old');
    await db.write(tx => subscriptions.changeWebhook(tx, id, wants([])));
    const enabling: Database = {
      ...db,
      async write(work, options) {
        await db.write(tx => subscriptions.changeWebhook(tx, id, wants(['a'])));
        await publish('new');
        return db.write(work, options);
      },
    };
    const commits = new CommitNotifier();
    await createOutboxMaintenance({ db: enabling, clock, subscriptions, commits, retentionMs: 1000 }).discardOrphans();
    expect((await outbox.get('new')).deliveries).toMatchObject([{ consumer: 'webhook:x', status: 'pending' }]);
  });

  it('are deleted only when no process serves them, and what waits for them is discarded', async () => {
    const worker = await process('w', [consumer('x', ['a', 'b', OPENED])]);
    const other = await process('v', []);
    const remove = () => db.write(tx => other.subscriptions.remove(tx, 'x'));
    await expect(remove()).rejects.toMatchObject({ code: 'SUBSCRIPTION_SERVED', message: /is served by w\./ });
    for (const id of ['m1', 'm2', 'm3']) await worker.publish(id);
    const [held] = await worker.deliveries.claim(1);
    // Parked, and without a place in a lane.
    await worker.outbox.pause('b');
    await worker.outbox.publish({ topic: 'b', payload: 1, message_id: 'm4' });
    expect(await worker.deliveries.claim(5)).toEqual([]);
    await worker.subscriptions.leave();
    await remove();
    await expect(remove()).rejects.toMatchObject({ code: 'SUBSCRIPTION_NOT_FOUND' });
    await other.maintenance.discardOrphans();
    const rows = await db.read.query.selectFrom('deliveries').select(['status', 'queued', 'claimable_at']).execute();
    expect(rows).toEqual(rows.map(() => ({ status: 'discarded', queued: 0, claimable_at: null })));
    expect(await settle(worker.deliveries, held as never, sent)).toBe(false);
    expect((await other.outbox.get('m1')).deliveries).toMatchObject([{ consumer: 'x', status: 'discarded' }]);
    // One of the same name is a new one.
    await append('forum.thread.opened');
    const again = await process('w2', [consumer('x', ['a', OPENED])]);
    expect(await again.handle()).toEqual([]);
    await again.publish('m5');
    expect(await again.handle()).toEqual(['m5']);
  });

  it('say which processes serve them', async () => {
    const first = await process('w1', [consumer('x', ['a']), consumer('y', ['a'])]);
    const second = await process('w2', [consumer('x', ['a'])]);
    await process('w3', [consumer('x', ['a']), consumer('z', ['a'])], false);
    expect(await servedBy()).toEqual({ x: ['w1', 'w2'], y: ['w1'], z: [] });
    await first.subscriptions.leave();
    expect(await servedBy()).toEqual({ x: ['w2'], y: [], z: [] });
    // A process that has left does not come back by itself.
    await first.subscriptions.keepServers();
    // One that has died is forgotten, and one that was only taken for dead notes itself again.
    dead = ['w2'];
    clock.advance(5000);
    await first.subscriptions.keepServers();
    expect(await servedBy()).toEqual({ x: [], y: [], z: [] });
    const [x] = await first.subscriptions.all(db.read);
    expect(x?.last_seen_at).toBe(clock.now());
    dead = [];
    await second.subscriptions.keepServers();
    expect(await servedBy()).toEqual({ x: ['w2'], y: [], z: [] });
  });

  it('that are deleted while their process is taken for dead are registered again by it', async () => {
    const consumers = [consumer('x', ['a']), consumer('y', ['b'])];
    const cutOff = await process('w1', consumers);
    const other = await process('w2', []);
    expect(await cutOff.subscriptions.keepServers()).toBe(false);
    dead = ['w1'];
    await other.subscriptions.keepServers();
    await db.write(tx => other.subscriptions.remove(tx, 'x'));
    dead = [];
    await other.publish('m1');
    expect(await cutOff.subscriptions.keepServers()).toBe(true);
    await cutOff.outbox.register(consumers, true);
    expect(await cutOff.subscriptions.keepServers()).toBe(false);
    expect(await servedBy()).toEqual({ x: ['w1'], y: ['w1'] });
    expect(await cutOff.handle()).toEqual(['m1']);
  });

  it('get the messages that none matched before, each one in order', async () => {
    const publisher = await process('w', []);
    for (const id of ['m1', 'm2', 'm3']) await publisher.publish(id);
    await publisher.publish('n1', 'other');
    const worker = await process('w1', [consumer('x', ['a']), consumer('y', ['*'])]);
    const deliveriesOf = async (id: string) => (await publisher.outbox.get(id)).deliveries.map(one => one.consumer);
    expect(await deliveriesOf('m1')).toEqual(['x', 'y']);
    expect(await deliveriesOf('n1')).toEqual(['y']);
    expect(await worker.handle()).toEqual(['m1', 'm1', 'm2', 'm2', 'm3', 'm3', 'n1']);
  });

  it('get such messages without two of a key being handled at once', async () => {
    const worker = await process('w', [consumer('x', ['a'])]);
    for (const id of ['m1', 'm2']) await worker.publish(id);
    await worker.publish('n1', 'b');
    const [first] = await worker.deliveries.claim(1);
    await settle(worker.deliveries, first as never, { kind: 'dead', error: 'no', blocks: false });
    const [second] = await worker.deliveries.claim(1);
    // m1 waits for m2, which is being handled, when n1 comes to their lane.
    await worker.outbox.replay('m1');
    const wider = await process('w2', [consumer('x', ['a', 'b'])]);
    expect(await wider.deliveries.claim(5)).toEqual([]);
    await settle(worker.deliveries, second as never, sent);
    expect(await wider.handle()).toEqual(['m1', 'n1']);
  });

  it('have names that differ', () => {
    expect(() => assertDistinct([{ name: 'x' }, { name: 'y' }, { name: 'x' }])).toThrow(/Two handlers are named x/);
    assertDistinct([{ name: 'x' }, { name: 'y' }]);
  });
});

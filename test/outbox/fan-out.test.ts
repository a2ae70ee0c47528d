import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommitNotifier } from '../../src/commit-notifier.ts';
import type { Database } from '../../src/db/database.ts';
import { openDatabase } from '../../src/db/open.ts';
import type { EventType } from '../../src/events/event-types.ts';
import { createEvents } from '../../src/events/service.ts';
import { createDeliveryService } from '../../src/outbox/delivery-service.ts';
import type { LeasedDelivery } from '../../src/outbox/leased-delivery.ts';
import { createOutbox } from '../../src/outbox/service.ts';
import { createSubscriptions } from '../../src/subscriptions/service.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { inOwnWrites } from '../helpers/outbox.ts';

const OPENED = 'forum.events.thread.opened';
const CLOSED = 'forum.events.thread.closed';

/** What a claim makes of the event log, beyond what the model tries: many events, many places, and who is told. */
describe.each(engines)('the fan-out on %s', engine => {
  let scratch: Scratch;
  let db: Database;
  const clock = new ManualClock();

  beforeEach(async () => {
    scratch = await scratchDatabase(engine);
    db = await openDatabase(scratch.url, pino({ level: 'silent' }), clock);
  });
  afterEach(async () => {
    await db.close();
    await scratch.drop();
  });

  let uids = 0;
  /** A process with its own subscriptions. */
  const process = async (name: string, consumers: { name: string; topics: string[]; from?: 'beginning' }[]) => {
    const commits = new CommitNotifier();
    let wakes = 0;
    commits.on('claimable', () => {
      wakes += 1;
    });
    const basics = { db, clock, newUid: () => `u${++uids}`, commits };
    const events = createEvents(basics);
    const subscriptions = createSubscriptions({ ...basics, events, process: name });
    const common = { ...basics, events, subscriptions, maxAttempts: 3 };
    const outbox = inOwnWrites(db, createOutbox(common));
    const deliveries = createDeliveryService({ ...common, workerName: name, leaseMs: 1000 });
    const policy = { dead: 'pass' } as const;
    await outbox.register(
      consumers.map(consumer => ({ ...consumer, policy })),
      true,
    );
    return { outbox, deliveries, subscriptions, events, wakes: () => wakes };
  };
  /** Appends one event for each of these runs. */
  const append = async (type: EventType, runs: string[]) => {
    const { events } = await process('publisher', []);
    const thread = { thread_id: null, agent_name: null, ticket: null };
    const drafts = runs.map(run_id => events.draft({ ...thread, run_id }, { type: 'human', name: 'ana' }, type, {}));
    return db.write(tx => events.append(tx, drafts));
  };
  const positions = async () => {
    const rows = await db.read.query.selectFrom('subscriptions').select(['name', 'position']).orderBy('name').execute();
    return Object.fromEntries(rows.map(({ name, position }) => [name, position]));
  };
  const sequences = (claimed: LeasedDelivery[]) => claimed.map(({ row }) => row.event_sequence);
  const numbers = (count: number) => Array.from({ length: count }, (_, number) => `r${number}`);

  it('gives a long log in parts, in order, each event once', async () => {
    const worker = await process('w', [{ name: 'x', topics: [OPENED] }]);
    const appended = await append('forum.thread.opened', numbers(1200));
    const given: (number | null)[] = [];
    for (let before = -1; given.length > before; ) {
      before = given.length;
      const wakes = worker.wakes();
      const claimed = await worker.deliveries.claim(700);
      given.push(...sequences(claimed));
      // Who has not reached the end says so, or the rest would wait for the next poll.
      if (given.length < 1200) expect(worker.wakes()).toBeGreaterThan(wakes);
      await worker.deliveries.settle(() => claimed.map(delivery => ({ delivery, outcome: { kind: 'sent' } })));
    }
    expect(given).toEqual(appended);
  });

  it('stores the position of a subscription that nothing matches now and then', async () => {
    const worker = await process('w', [{ name: 'x', topics: [CLOSED], from: 'beginning' }]);
    const appended = await append('forum.thread.opened', numbers(1100));
    await worker.deliveries.claim(10);
    expect(await positions()).toEqual({ x: 0 });
    for (let n = 0; n < 3; n += 1) await worker.deliveries.claim(10);
    expect((await positions()).x).toBeGreaterThanOrEqual(appended[999] as number);
    // The next match is found from wherever it has looked up to.
    const [closed] = await append('forum.thread.closed', ['r']);
    expect(sequences(await worker.deliveries.claim(10))).toEqual([closed]);
    expect(await positions()).toEqual({ x: closed });
  });

  it('lets none wait of many subscriptions at many places', async () => {
    const consumers = [];
    for (let number = 0; number < 9; number += 1) {
      consumers.push({ name: `x${number}`, topics: [OPENED] });
      await process(`w${number}`, consumers);
      await append('forum.thread.opened', ['r']);
    }
    const worker = await process('w', consumers);
    const served = new Set<string>();
    for (let claims = 0; claims < 9 && served.size < 9; claims += 1) {
      const wakes = worker.wakes();
      for (const { consumer } of await worker.deliveries.claim(100)) served.add(consumer);
      if (served.size < 9) expect(worker.wakes()).toBeGreaterThan(wakes);
    }
    expect([...served].sort()).toEqual(consumers.map(({ name }) => name));
  });

  it('tells of deliveries that it left although there was room for them', async () => {
    const first = await process('w1', [
      { name: 'a', topics: [OPENED, 'one'] },
      { name: 'b', topics: [CLOSED], from: 'beginning' },
    ]);
    await append('forum.thread.opened', ['r0']);
    expect(await first.deliveries.claim(10)).toHaveLength(1);
    // A new process knows of no event that b has been looked through for, so a and b are at two places.
    const second = await process('w2', [
      { name: 'a', topics: [OPENED, 'one'] },
      { name: 'b', topics: [CLOSED] },
    ]);
    for (const message_id of ['m1', 'm2', 'm3']) await first.outbox.publish({ topic: 'one', payload: 1, message_id });
    await append('forum.thread.opened', ['r1', 'r2']);
    const claimed = await second.deliveries.claim(5);
    if (claimed.length < 5) expect(second.wakes()).toBeGreaterThan(0);
    expect([...claimed, ...(await second.deliveries.claim(5))]).toHaveLength(5);
  });

  it('lets none of many subscriptions wait while the others have enough to do', async () => {
    const consumers = Array.from({ length: 20 }, (_, number) => ({ name: `x${number}`, topics: [`t${number}`] }));
    const worker = await process('w', consumers);
    for (let round = 0; round < 4; round += 1) {
      for (const { topics } of consumers) await worker.outbox.publish({ topic: topics[0] as string, payload: 1 });
    }
    const served = new Set<string>();
    for (let claims = 0; claims < 4; claims += 1) {
      for (const { consumer } of await worker.deliveries.claim(16)) served.add(consumer);
    }
    expect(served.size).toBe(20);
  });

  it('gives what the stored patterns match, whichever process claims', async () => {
    const older = await process('w1', [{ name: 'x', topics: [OPENED] }]);
    const newer = await process('w2', [{ name: 'x', topics: [CLOSED] }]);
    const [, closed] = [
      ...(await append('forum.thread.opened', ['r1'])),
      ...(await append('forum.thread.closed', ['r2'])),
    ];
    expect(sequences(await older.deliveries.claim(10))).toEqual([closed]);
    expect(await newer.deliveries.claim(10)).toEqual([]);
  });

  it('gives the events after a replay again, also those that this process has looked through', async () => {
    const worker = await process('w', [{ name: 'x', topics: [OPENED] }]);
    const [first, second] = await append('forum.thread.opened', ['r1', 'r2']);
    const claimed = await worker.deliveries.claim(10);
    await worker.deliveries.settle(() => claimed.map(delivery => ({ delivery, outcome: { kind: 'sent' } })));
    expect(await db.write(tx => worker.subscriptions.replay(tx, 'x', first as number))).toBe(first);
    expect(sequences(await worker.deliveries.claim(10))).toEqual([second]);
  });
});

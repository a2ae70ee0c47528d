import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect } from 'vitest';
import { CommitNotifier } from '../../src/commit-notifier.ts';
import type { Database } from '../../src/db/database.ts';
import type { createDeliveryService, DeliveryService } from '../../src/outbox/delivery-service.ts';
import type { Delivery, MessageRow } from '../../src/outbox/leased-delivery.ts';
import type { createOutboxMaintenance } from '../../src/outbox/maintenance.ts';
import type { Outcome } from '../../src/outbox/outcome.ts';
import type { createOutbox } from '../../src/outbox/service.ts';
import type { ManualClock } from '../helpers/clock.ts';
import { inOwnWrites, type OwnWrites } from '../helpers/outbox.ts';
import { settle as settleOne } from '../helpers/settling.ts';
import {
  LEASE_MS,
  MAX_ATTEMPTS,
  type ModelClaim,
  type ModelDelivery,
  type ModelMessage,
  OutboxModel,
} from './model.ts';

/** What the commands run on: one outbox, and the deliveries of two workers on its database. */
interface Real {
  db: Database;
  /** Measures leases. */
  clock: ManualClock;
  /** How far the wall clock of the processes is ahead of it. Milliseconds. */
  skew: number;
  outbox: OwnWrites;
  workers: DeliveryService[];
  startWorker: (name: string) => DeliveryService;
  maintenance: ReturnType<typeof createOutboxMaintenance>;
  /** Whose leases may be taken back. */
  missing: ReadonlySet<string>;
  /** What the workers got for the deliveries of the model. */
  deliveries: Map<ModelDelivery, Delivery>;
  tokens: Map<ModelClaim, string>;
  /** How often the service has told that a message may have become claimable. */
  wakes: number;
}

type Command = fc.AsyncCommand<OutboxModel, Real>;

/** The functions that are tested: those of src, or some that stand on broken statements. */
export interface Makers {
  createDeliveryService: typeof createDeliveryService;
  createOutboxMaintenance: typeof createOutboxMaintenance;
  createOutbox: typeof createOutbox;
}

const TOPICS = ['one', 'two.b'];
const CONSUMERS = ['x', 'y'];
const WORKERS = ['v1', 'w1'];

/** An empty outbox and its model. */
export async function begin(db: Database, clock: ManualClock, makers: Makers) {
  await db.write(async tx => {
    await tx.query.deleteFrom('outbox').execute();
    await tx.query.deleteFrom('topics').execute();
  });
  let uids = 0;
  const presence = {
    ...db.presence,
    deadAmong: async (names: string[]) => names.filter(name => real.missing.has(name)),
  };
  const commits = new CommitNotifier();
  commits.on('claimable', () => {
    real.wakes += 1;
  });
  const common = {
    db: { ...db, presence },
    clock: { now: () => clock.now() + real.skew },
    newUid: () => `u${++uids}`,
    // No message here is one of an event.
    events: { at: async () => new Map() },
    commits,
    isSubscribed: () => true,
  };
  const startWorker = (workerName: string) =>
    makers.createDeliveryService({ ...common, workerName, leaseMs: LEASE_MS });
  const real: Real = {
    db,
    clock,
    skew: 0,
    outbox: inOwnWrites(db, makers.createOutbox({ ...common, maxAttempts: MAX_ATTEMPTS })),
    workers: WORKERS.map(startWorker),
    maintenance: makers.createOutboxMaintenance({ ...common, retentionMs: 0 }),
    startWorker,
    missing: new Set(),
    deliveries: new Map(),
    tokens: new Map(),
    wakes: 0,
  };
  return { model: new OutboxModel(() => clock.now(), WORKERS), real };
}

/** The property: whatever the commands, the outbox agrees with the model, and nothing that can go on is stuck. */
export function outboxAgrees(start: () => ReturnType<typeof begin>) {
  return fc.asyncProperty(commands(), async sequence => {
    const { model, real } = await start();
    await fc.asyncModelRun(() => ({ model, real }), sequence);
    await drain(model, real);
  });
}

function commands() {
  const topic = fc.constantFrom(...TOPICS);
  const worker = fc.nat(WORKERS.length - 1);
  const pick = fc.nat(99);
  const which = fc.constantFrom('held' as const, 'lost' as const);
  const key = fc.constantFrom('a', 'a', 'b', null);
  const delay = fc.constantFrom(undefined, undefined, undefined, 1, LEASE_MS, -LEASE_MS);
  const repeat = fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: pick });
  const times = fc.constantFrom(0, 1, LEASE_MS / 2, LEASE_MS);
  const outcome = fc.oneof(
    { weight: 3, arbitrary: fc.constant<Planned>({ kind: 'sent' }) },
    { weight: 2, arbitrary: times.map((delayMs): Planned => ({ kind: 'retry', delayMs, error: 'busy' })) },
    {
      weight: 4,
      arbitrary: fc
        .constantFrom(false, false, true)
        .map((blocks): Planned => ({ kind: 'dead', error: 'no use', blocks })),
    },
    times.map((later): Planned => ({ kind: 'postponed', later, error: 'not yet' })),
    fc.constant<Planned>({ kind: 'unhandled', error: 'no handler' }),
    fc.subarray(CONSUMERS, { minLength: 1 }).map((consumers): Planned => ({ kind: 'routed', consumers })),
    fc.constant<Planned>({ kind: 'released' }),
  );
  const one = fc.oneof(
    { weight: 16, arbitrary: fc.record({ topic, key, delay, repeat }).map(publish) },
    { weight: 14, arbitrary: fc.tuple(fc.integer({ min: 1, max: 4 }), worker).map(args => claim(...args)) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 2 }).map(claimBoth) },
    { weight: 18, arbitrary: fc.tuple(pick, outcome).map(([at, planned]) => settle('held', at, planned)) },
    { weight: 4, arbitrary: fc.tuple(pick, outcome).map(([at, planned]) => settle('lost', at, planned)) },
    {
      weight: 6,
      arbitrary: fc
        .tuple(worker, fc.array(fc.tuple(pick, outcome), { minLength: 2, maxLength: 4 }))
        .map(args => settleTogether(...args)),
    },
    { weight: 2, arbitrary: fc.tuple(pick, fc.boolean()).map(args => settleWith(...args)) },
    { weight: 3, arbitrary: fc.tuple(which, pick).map(args => renew(...args)) },
    { weight: 1, arbitrary: worker.map(renewAll) },
    { weight: 10, arbitrary: fc.constantFrom(1, LEASE_MS / 2, LEASE_MS, LEASE_MS + 1).map(advance) },
    { weight: 2, arbitrary: fc.constantFrom(-3_600_000, -LEASE_MS, 0, LEASE_MS, 86_400_000).map(jump) },
    { weight: 2, arbitrary: topic.map(pause) },
    { weight: 2, arbitrary: fc.tuple(topic, worker).map(args => resume(...args)) },
    { weight: 8, arbitrary: pick.map(at => replay('dead', at)) },
    { weight: 1, arbitrary: pick.map(at => replay('any', at)) },
    { weight: 2, arbitrary: fc.option(topic, { nil: undefined }).map(replayDead) },
    { weight: 3, arbitrary: pick.map(discard) },
    { weight: 3, arbitrary: fc.tuple(fc.subarray(TOPICS), worker).map(args => unparkReady(...args)) },
    { weight: 3, arbitrary: worker.map(kill) },
    { weight: 4, arbitrary: fc.tuple(worker, fc.option(worker, { freq: 2 })).map(args => reclaim(...args)) },
    { weight: 2, arbitrary: fc.tuple(topic, worker).map(args => comeBack(...args)) },
  );
  return fc.commands([one], { maxCommands: 60, size: 'max' });
}

/** An outcome before the time at which it is stored is known. */
type Planned = Exclude<Outcome, { kind: 'postponed' }> | { kind: 'postponed'; later: number; error: string };

/** A step on both sides, after which they must agree. `isPossible` keeps steps out that would do nothing. */
function command(
  name: string,
  run: (model: OutboxModel, real: Real) => Promise<unknown>,
  isPossible: (model: OutboxModel) => boolean = model => model.messages.length > 0,
): Command {
  return {
    check: isPossible,
    run: async (model, real) => {
      const due = new Set(model.due());
      const wakes = real.wakes;
      const movesTime = (await run(model, real)) === 'moves time';
      await agree(model, real);
      const isNew = model.due().some(message => !due.has(message));
      if (isNew && !movesTime) expect(real.wakes, 'a message became due and nobody was told').toBeGreaterThan(wakes);
    },
    toString: () => name,
  };
}

/** With `repeat`, under the id of an earlier message. The content differs if topic or key do, and only then. */
function publish(args: { topic: string; key: string | null; delay: number | undefined; repeat: number | undefined }) {
  const { topic, key, delay, repeat } = args;
  const run = async (model: OutboxModel, { outbox, clock }: Real): Promise<void> => {
    const before = repeat === undefined ? undefined : at(model.messages, repeat);
    const id = before?.id ?? `m${model.messages.length + 1}`;
    const availableAt = delay === undefined ? undefined : clock.now() + delay;
    const answer = outbox.publish({
      message_id: id,
      topic,
      payload: topic,
      ...(key !== null && { message_key: key }),
      ...(availableAt !== undefined && { available_at: new Date(availableAt).toISOString() }),
    });
    if (before && !(before.topic === topic && before.key === key)) {
      await expect(answer).rejects.toMatchObject({ code: 'MESSAGE_EXISTS' });
      return;
    }
    const message = before ?? model.publish({ id, topic, key, consumer: null }, availableAt);
    const expected = { created: before === undefined, message: { message_id: id, status: message.status } };
    expect(await answer).toMatchObject(expected);
  };
  return command(`publish(${JSON.stringify(args)})`, run, () => true);
}

function claim(limit: number, worker: number): Command {
  return command(`claim(${limit}, ${worker})`, async (model, real) => {
    claimed(model, real, await claimOf(real, limit, worker), limit, worker);
  });
}

/** Both workers claim at the same time: it is as if one of them had come first. */
function claimBoth(limit: number): Command {
  return command(`claimBoth(${limit})`, async (model, real) => {
    const answers = await Promise.all([claimOf(real, limit, 0), claimOf(real, limit, 1)]);
    const ids = model
      .due()
      .filter(({ topic }) => !model.paused.has(topic))
      .slice(0, limit)
      .map(({ id }) => id);
    const first = isDeepStrictEqual(answers[0].map(({ row }) => row.message_id).sort(), ids.sort()) ? 0 : 1;
    for (const worker of [first, 1 - first]) claimed(model, real, answers[worker] ?? [], limit, worker);
  });
}

async function claimOf(real: Real, limit: number, worker: number): Promise<Delivery[]> {
  return (await real.workers[worker]?.claim(limit)) ?? [];
}

function claimed(model: OutboxModel, real: Real, deliveries: Delivery[], limit: number, worker: number): void {
  const expected = model.claim(limit, worker);
  const seen = deliveries.map(({ message, consumer, row }) => [row.message_id, message.attempts, consumer]);
  expect(seen).toEqual(expected.map(({ message }) => [message.id, message.attempts, message.consumer]));
  for (const [index, modelled] of expected.entries()) {
    const delivery = deliveries[index] as Delivery;
    // A handler sees the message as it was published, also when it gets one of its own.
    expect(delivery.message.message_id).toBe(modelled.message.id.split('~')[0]);
    expect(delivery.message.payload).toBe(modelled.message.topic);
    real.deliveries.set(modelled, delivery);
    real.tokens.set(modelled.claim, ofClaim(delivery.lease.lease_token));
  }
}

/** Settles a delivery whose lease is held, or one whose lease is not: the late acknowledgement, or the repeated one. */
function settle(which: 'held' | 'lost', pick: number, planned: Planned): Command {
  // Only a message that is for nobody in particular is split up.
  const candidates = (model: OutboxModel) =>
    deliveriesOf(model, which).filter(({ message }) => planned.kind !== 'routed' || message.consumer === null);
  return command(
    `settle(${which} ${pick}, ${JSON.stringify(planned)})`,
    async (model, real) => {
      const delivery = at(candidates(model), pick) as ModelDelivery;
      const outcome = outcomeOf(planned, real);
      const held = await settleOne(
        real.workers[delivery.claim.worker] as DeliveryService,
        received(real, delivery),
        outcome,
      );
      expect(held).toBe(model.settle(delivery, outcome));
    },
    model => candidates(model).length > 0,
  );
}

/** Settles several deliveries of one worker at once, held or not: as if it had been one after the other. */
function settleTogether(worker: number, picks: [pick: number, planned: Planned][]): Command {
  const own = (model: OutboxModel) => model.deliveries.filter(({ claim }) => claim.worker === worker);
  return command(
    `settleTogether(${worker}, ${JSON.stringify(picks)})`,
    async (model, real) => {
      const chosen = new Map<ModelDelivery, Outcome>();
      for (const [pick, planned] of picks) {
        const delivery = at(own(model), pick) as ModelDelivery;
        if (planned.kind === 'routed' && delivery.message.consumer !== null) continue;
        chosen.set(delivery, outcomeOf(planned, real));
      }
      const settlements = [...chosen].map(([delivery, outcome]) => ({ delivery: received(real, delivery), outcome }));
      const held = await real.workers[worker]?.settle(settlements);
      expect(held).toEqual([...chosen].map(([delivery, outcome]) => model.settle(delivery, outcome)));
    },
    model => own(model).length > 0,
  );
}

function outcomeOf(planned: Planned, { clock, skew }: Real): Outcome {
  if (planned.kind !== 'postponed') return planned;
  return { kind: planned.kind, until: clock.now() + skew + planned.later, error: planned.error };
}

/** Settles a delivery together with an effect: begun only under the lease, and if it fails, nothing has changed. */
function settleWith(pick: number, works: boolean): Command {
  return command(
    `settleWith(${pick}, ${works ? 'works' : 'fails'})`,
    async (model, real) => {
      const delivery = at(model.deliveries, pick) as ModelDelivery;
      const isHeld = model.holds(delivery);
      let begun = 0;
      const answer = real.workers[delivery.claim.worker]?.settleWith(received(real, delivery), async () => {
        begun += 1;
        if (!works) throw new Error('constraint');
        return { kind: 'sent' as const };
      });
      if (isHeld && !works) await expect(answer).rejects.toThrow('constraint');
      else expect(await answer).toBe(model.settle(delivery, { kind: 'sent' }));
      expect(begun).toBe(isHeld ? 1 : 0);
    },
    model => model.deliveries.length > 0,
  );
}

/** Renews one delivery. */
function renew(which: 'held' | 'lost', pick: number): Command {
  return command(
    `renew(${which} ${pick})`,
    async (model, real) => {
      const delivery = at(deliveriesOf(model, which), pick) as ModelDelivery;
      await renewed(model, real, delivery.claim.worker, [delivery]);
    },
    model => deliveriesOf(model, which).length > 0,
  );
}

/** Renews all that a worker has, as it does in its rounds. */
function renewAll(worker: number): Command {
  const own = (model: OutboxModel) => model.deliveries.filter(({ claim }) => claim.worker === worker);
  return command(
    `renewAll(${worker})`,
    (model, real) => renewed(model, real, worker, own(model)),
    model => own(model).length > 0,
  );
}

async function renewed(model: OutboxModel, real: Real, worker: number, chosen: ModelDelivery[]): Promise<void> {
  const leaseOf = (delivery: ModelDelivery) => received(real, delivery).lease;
  const held = (await real.workers[worker]?.renew(chosen.map(leaseOf))) ?? [];
  expect(sorted(held)).toEqual(sorted(model.renew(chosen).map(leaseOf)));
}

function advance(milliseconds: number): Command {
  return command(`advance(${milliseconds})`, async (_, { clock }) => {
    clock.advance(milliseconds);
    return 'moves time';
  });
}

/** The wall clock of the processes is set; nothing notices. */
function jump(skew: number): Command {
  return command(`jump(${skew})`, async (model, real) => {
    model.skew = skew;
    real.skew = skew;
  });
}

function pause(topic: string): Command {
  return command(`pause(${topic})`, async (model, { outbox }) => {
    await outbox.pause(topic);
    model.pause(topic);
    expect(await outbox.pausedTopics()).toEqual([...model.paused].sort());
  });
}

function resume(topic: string, worker: number): Command {
  return command(`resume(${topic}, ${worker})`, async (model, { db, outbox, workers }) => {
    await db.write(async tx => workers[worker]?.resume(tx, topic));
    model.resume(topic);
    expect(await outbox.pausedTopics()).toEqual([...model.paused].sort());
  });
}

function replay(which: 'dead' | 'any', pick: number): Command {
  const candidates = (model: OutboxModel) =>
    model.messages.filter(message => which === 'any' || message.status === 'dead');
  return command(
    `replay(${which} ${pick})`,
    async (model, { outbox }) => {
      const message = at(candidates(model), pick) as ModelMessage;
      await answers(outbox.replay(message.id), message, model.replay(message));
    },
    model => candidates(model).length > 0,
  );
}

function replayDead(topic: string | undefined): Command {
  return command(`replayDead(${topic ?? ''})`, async (model, { outbox }) => {
    expect(await outbox.replayDead(topic)).toBe(model.replayDead(topic));
  });
}

function discard(pick: number): Command {
  return command(
    `discard(${pick})`,
    async (model, { outbox }) => {
      const message = at(model.messages, pick) as ModelMessage;
      await answers(outbox.discard(message.id), message, model.discard(message));
    },
    model => model.messages.length > 0,
  );
}

function unparkReady(handled: string[], worker: number): Command {
  const isHandled = (topic: string) => handled.includes(topic);
  return command(`unparkReady([${handled}], ${worker})`, async (model, { outbox, maintenance }) => {
    await maintenance.unparkReady(isHandled);
    model.unparkReady(isHandled);
    const waiting = model.messages.filter(({ parkedFor }) => parkedFor === 'handler').map(({ topic }) => topic);
    expect((await outbox.topicsWithoutHandler()).sort()).toEqual([...new Set(waiting)].sort());
  });
}

/**
 * A message dies, and is replayed while the next one of its lane is being handled, whose lease then runs out. Chance
 * rarely puts these steps in a row, so they have a lane to themselves.
 */
function comeBack(topic: string, worker: number): Command {
  const key = 'c';
  const held = (model: OutboxModel) =>
    model.deliveries.filter(delivery => delivery.message.key === key && model.holds(delivery));
  const message = { topic, key, delay: undefined, repeat: undefined };
  const steps = [
    publish(message),
    publish(message),
    claim(100, worker),
    command('die', async (model, real) => {
      for (const delivery of held(model).slice(0, 1)) {
        const outcome = { kind: 'dead', error: 'no use', blocks: false } as const;
        const holder = real.workers[delivery.claim.worker] as DeliveryService;
        expect(await settleOne(holder, received(real, delivery), outcome)).toBe(model.settle(delivery, outcome));
      }
    }),
    claim(100, worker),
    replayDead(topic),
    advance(LEASE_MS + 1),
    claim(100, worker),
  ];
  const run = async (model: OutboxModel, real: Real) => {
    for (const step of steps) if (step.check(model)) await step.run(model, real);
    return 'moves time';
  };
  return command(`comeBack(${topic}, ${worker})`, run, () => true);
}

/** A worker dies with all it had, and another one starts in its place. */
function kill(worker: number): Command {
  return command(
    `kill(${worker})`,
    async (model, real) => {
      const old = model.names[worker] ?? '';
      const name = old[0] + String(Number(old.slice(1)) + 1);
      model.restart(worker, name);
      real.workers[worker] = real.startWorker(name);
    },
    model => model.deliveries.some(({ claim }) => claim.worker === worker),
  );
}

/** Takes back what the dead had, and what a worker had that is alive but seems to be gone. */
function reclaim(worker: number, seemsGone: number | null): Command {
  return command(
    `reclaim(${worker}${seemsGone === null ? '' : `, ${seemsGone} seems gone`})`,
    async (model, real) => {
      const gone = seemsGone === null ? [] : [model.names[seemsGone] ?? ''];
      real.missing = new Set([...model.dead, ...gone]);
      expect((await real.maintenance.reclaim()).count).toBe(model.reclaim(real.missing));
    },
    model => model.messages.some(({ status }) => status === 'processing'),
  );
}

/** Lets everything through that can go, and looks at what is left, which waits behind the dead, and at the totals. */
async function drain(model: OutboxModel, real: Real): Promise<void> {
  for (const topic of TOPICS) await resume(topic, 0).run(model, real);
  await unparkReady(TOPICS, 0).run(model, real);
  for (;;) {
    await advance(2 * LEASE_MS).run(model, real);
    const before = model.deliveries.length;
    await claim(100, 0).run(model, real);
    const batch = model.deliveries.slice(before);
    if (batch.length === 0) break;
    for (const delivery of batch) {
      expect(await settleOne(real.workers[0] as DeliveryService, received(real, delivery), { kind: 'sent' })).toBe(
        true,
      );
      model.settle(delivery, { kind: 'sent' });
    }
    await agree(model, real);
  }
  const isBlocked = (message: ModelMessage) => message.status === 'dead' && message.place === 'head';
  const blocking = model.messages.filter(isBlocked);
  for (const { status, place, key, consumer } of model.messages) {
    if (['sent', 'discarded', 'dead'].includes(status)) continue;
    expect(place).toBe('waiting');
    expect(blocking.map(head => [head.key, head.consumer])).toContainEqual([key, consumer]);
  }
  const stats = await real.outbox.stats();
  const count = (status: string) => model.messages.filter(message => message.status === status).length;
  const counts = ['pending', 'processing', 'failed', 'dead', 'discarded'].map(status => [status, count(status)]);
  expect(stats.by_status).toEqual({ ...Object.fromEntries(counts), sent: model.sent });
  expect(stats.blocked_lanes.map(lane => lane.message_id).sort()).toEqual(blocking.map(({ id }) => id).sort());
}

/** The stored rows are those of the model, no more and no fewer, and hold together by themselves. */
async function agree(model: OutboxModel, real: Real): Promise<void> {
  const rows = await real.db.read.query.selectFrom('outbox').selectAll().orderBy('position').execute();
  holdTogether(rows);
  const stored = rows.map(row => ({
    id: row.message_id,
    topic: row.topic,
    key: row.message_key,
    consumer: row.consumer,
    status: row.status,
    attempts: row.attempts,
    generation: row.generation,
    availableAt: row.available_at,
    lastError: row.last_error,
    inLane: row.lane !== null,
    dueAt: row.claimable_at,
    parkedFor: row.parked?.split(':')[0] ?? null,
    token: row.lease_token && ofClaim(row.lease_token),
    holder: row.leased_by,
  }));
  const expected = model.messages.map(({ place, heldBy, ...message }) => ({
    ...message,
    inLane: place !== 'nowhere',
    token: heldBy === null ? null : real.tokens.get(heldBy),
    holder: heldBy === null ? null : heldBy.name,
  }));
  expect(stored).toEqual(expected);
  const { items } = await real.outbox.list({ limit: 1000 });
  const seen = items.map(item => [item.message_id, item.status, item.attempts, item.generation, item.consumer]);
  expect(seen).toEqual(
    expected.map(({ id, status, attempts, generation, consumer }) => [id, status, attempts, generation, consumer]),
  );
}

/** What must be true of the rows whatever has happened. */
function holdTogether(rows: MessageRow[]): void {
  const lanes = Map.groupBy(
    rows.filter(row => row.message_key !== null),
    row => JSON.stringify([row.message_key, row.consumer]),
  );
  for (const [lane, members] of lanes) {
    const claimable = members.filter(row => row.claimable_at !== null || row.status === 'processing');
    expect(claimable.length, `claimable or being handled in ${lane}`).toBeLessThanOrEqual(1);
    const inLane = members.filter(row => row.lane !== null);
    const heads = inLane.filter(row => row.claimable_at !== null || row.parked !== null);
    expect(heads.length, `heads of ${lane}`).toBeLessThanOrEqual(1);
    const [head] = heads;
    // Nothing waits for a younger one, unless that is being handled; only a dead one has nobody before it go.
    if (inLane.length > 0 && head?.status !== 'processing') {
      expect(head?.position ?? deadAt(inLane[0]), `the oldest of ${lane}`).toBe(inLane[0]?.position);
    }
    for (const { position } of members.filter(row => row.status === 'processing')) {
      const isOver = ({ status, lane }: MessageRow) =>
        status === 'sent' || status === 'discarded' || (status === 'dead' && lane === null);
      // A message that was replayed may have been overtaken: while it was dead, its lane went on.
      const open = members.filter(row => row.position < position && row.generation === 1 && !isOver(row));
      expect(
        open.map(row => row.message_id),
        `overtaken in ${lane}`,
      ).toEqual([]);
    }
  }
  for (const { message_id, status, lease_token, leased_by, claimable_at, lane, parked } of rows) {
    const isHeld = status === 'processing';
    expect([message_id, lease_token !== null, leased_by !== null]).toEqual([message_id, isHeld, isHeld]);
    const isTerminal = status === 'sent' || status === 'discarded' || status === 'dead';
    if (isTerminal) expect([message_id, claimable_at, parked]).toEqual([message_id, null, null]);
    if (status === 'sent' || status === 'discarded') expect([message_id, lane]).toEqual([message_id, null]);
    if (parked !== null) expect([message_id, claimable_at]).toEqual([message_id, null]);
  }
}

function deadAt(row: MessageRow | undefined): number | undefined {
  return row?.status === 'dead' ? row.position : undefined;
}

/** The answer of a call that the model allows or refuses. */
async function answers(call: Promise<unknown>, message: ModelMessage, allowed: boolean): Promise<void> {
  if (!allowed) await expect(call).rejects.toMatchObject({ code: 'MESSAGE_STATUS_CONFLICT' });
  else expect(await call).toMatchObject({ status: message.status, generation: message.generation });
}

/**
 * What workers have with its lease, or without: there the interesting ones are those whose message somebody else holds
 * by now, so that the others count only if there are none of those.
 */
function deliveriesOf(model: OutboxModel, which: 'held' | 'lost'): ModelDelivery[] {
  if (which === 'held') return model.deliveries.filter(delivery => model.holds(delivery));
  const lost = model.deliveries.filter(delivery => !model.holds(delivery));
  const elsewhere = lost.filter(({ message }) => message.heldBy !== null);
  return elsewhere.length > 0 ? elsewhere : lost;
}

function received(real: Real, delivery: ModelDelivery): Delivery {
  return real.deliveries.get(delivery) as Delivery;
}

function at<T>(list: T[], pick: number): T | undefined {
  return list[pick % list.length];
}

function sorted(leases: { position: number }[]): unknown[] {
  return leases.toSorted((a, b) => a.position - b.position);
}

/** The claim that a lease belongs to; its token also says whether the lease before ran out. */
function ofClaim(leaseToken: string): string {
  return leaseToken.replace(/\+$/, '');
}

import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { expect } from 'vitest';
import { CommitNotifier } from '../../src/commit-notifier.ts';
import type { Database, Reader } from '../../src/db/database.ts';
import type { EventType } from '../../src/events/event-types.ts';
import type { createEvents } from '../../src/events/service.ts';
import type { createDeliveryService, DeliveryService } from '../../src/outbox/delivery-service.ts';
import type { DeliveryRow, LeasedDelivery } from '../../src/outbox/leased-delivery.ts';
import type { createOutboxMaintenance } from '../../src/outbox/maintenance.ts';
import type { Outcome } from '../../src/outbox/outcome.ts';
import type { createOutbox } from '../../src/outbox/service.ts';
import type { createSubscriptions, SubscriptionService } from '../../src/subscriptions/service.ts';
import type { ManualClock } from '../helpers/clock.ts';
import { inOwnWrites, type OwnWrites } from '../helpers/outbox.ts';
import {
  LEASE_MS,
  leastFinished,
  MAX_ATTEMPTS,
  type ModelClaim,
  type ModelConsumer,
  type ModelDelivery,
  type ModelLease,
  type ModelMessage,
  type ModelSubscription,
  OutboxModel,
} from './model.ts';

/** A process of the service: what it serves, and its worker. */
interface Process {
  subscriptions: SubscriptionService;
  deliveries: DeliveryService;
}

/** What the store held right after a claim, in the transaction of the claim. */
interface Stored {
  rows: DeliveryRow[];
  positions: Map<number, number>;
}

/** What the commands run on: one database, and two processes that work on it. */
interface Real {
  db: Database;
  /** Measures leases. */
  clock: ManualClock;
  /** How far the wall clock of the processes is ahead of it. Milliseconds. */
  skew: number;
  /** Of a process without a worker. */
  outbox: OwnWrites;
  operator: SubscriptionService;
  events: ReturnType<typeof createEvents>;
  workers: Process[];
  startWorker: (name: string, consumers: ModelConsumer[]) => Promise<Process>;
  maintenance: ReturnType<typeof createOutboxMaintenance>;
  /** Whose leases may be taken back. */
  missing: ReadonlySet<string>;
  /** What the workers got for the leases of the model. */
  received: Map<ModelLease, LeasedDelivery>;
  /** Whether claims run now. */
  claiming: boolean;
  /** What the store held after each of these claims, in their order. */
  claims: { name: string; stored: Stored }[];
  tokens: Map<ModelClaim, string>;
  /** How often the service has told that a delivery may have become claimable. */
  wakes: number;
  /** By lane the deliveries in the order in which each was first handled. */
  handled: Map<string, number[]>;
  starts: number;
}

type Command = fc.AsyncCommand<OutboxModel, Real>;

/** The functions that are tested: those of src, or some that stand on broken statements. */
export interface Makers {
  createDeliveryService: typeof createDeliveryService;
  createOutboxMaintenance: typeof createOutboxMaintenance;
  createOutbox: typeof createOutbox;
  createSubscriptions: typeof createSubscriptions;
  createEvents: typeof createEvents;
}

const OPENED = 'forum.events.thread.opened';
const CLOSED = 'forum.events.thread.closed';
const ASKED = 'forum.events.question.opened';
const PUBLISHED = ['one', 'two.b'];
const TOPICS = [...PUBLISHED, OPENED, CLOSED, ASKED];
/** What a consumer may subscribe to, and the topics that this means. The model knows no patterns. */
const PATTERNS: Record<string, [topics: string[], wants: string[]][]> = {
  everything: [[['**'], TOPICS]],
  mixed: [
    [
      ['two.b', 'forum.events.*.opened'],
      ['two.b', OPENED, ASKED],
    ],
    [['two.*'], ['two.b']],
  ],
  ones: [
    [['one'], ['one']],
    [
      ['one', CLOSED],
      ['one', CLOSED],
    ],
  ],
  threads: [
    [['forum.events.thread.*'], [OPENED, CLOSED]],
    [[OPENED], [OPENED]],
  ],
  twin: [[['forum.events.thread.*'], [OPENED, CLOSED]]],
};
const NAMES = Object.keys(PATTERNS);
/** What the two processes serve at first: something together, and something each. Nobody wants one of the topics. */
const AT_FIRST = [
  [consumer('ones', 0), consumer('threads', 0)],
  [consumer('twin', 0), consumer('threads', 0)],
];

function consumer(name: string, variant: number, from?: 'beginning'): ModelConsumer {
  const variants = PATTERNS[name] as [string[], string[]][];
  const [topics, wants] = variants[variant % variants.length] as [string[], string[]];
  return { name, topics, wants, ...(from && { from }) };
}

/** An empty outbox with two processes, and its model. */
export async function begin(db: Database, clock: ManualClock, makers: Makers) {
  await db.write(async tx => {
    for (const table of [
      'deliveries',
      'messages',
      'subscription_servers',
      'subscriptions',
      'events',
      'topics',
    ] as const)
      await tx.query.deleteFrom(table).execute();
  });
  let uids = 0;
  const presence = {
    ...db.presence,
    deadAmong: async (names: string[]) => names.filter(name => real.missing.has(name)),
  };
  const commits = new CommitNotifier();
  for (const kind of ['claimable', 'message', 'event'] as const) {
    commits.on(kind, () => {
      real.wakes += 1;
    });
  }
  const shared = { ...db, presence };
  const common = { clock: { now: () => clock.now() + real.skew }, newUid: () => `u${++uids}`, commits };
  const events = makers.createEvents({ ...common, db });
  const process = (name: string) => {
    const subscriptions = makers.createSubscriptions({ ...common, db: shared, events, process: name });
    const outbox = makers.createOutbox({ ...common, db: shared, events, subscriptions, maxAttempts: MAX_ATTEMPTS });
    return { subscriptions, outbox };
  };
  /** Tells what the store holds at the end of each claim. */
  const noting = (name: string): Database => ({
    ...shared,
    write: (work, options) =>
      db.write(async tx => {
        const value = await work(tx);
        if (real.claiming) real.claims.push({ name, stored: await storedIn(tx) });
        return value;
      }, options),
  });
  const startWorker = async (name: string, consumers: ModelConsumer[]): Promise<Process> => {
    const { subscriptions, outbox } = process(name);
    const policy = { dead: 'pass' } as const;
    await outbox.register(
      consumers.map(({ name, topics, from }) => ({ name, topics, policy, ...(from && { from }) })),
      true,
    );
    const limits = { leaseMs: LEASE_MS, maxAttempts: MAX_ATTEMPTS };
    const dependencies = { ...common, ...limits, db: noting(name), events, subscriptions, workerName: name };
    return { subscriptions, deliveries: makers.createDeliveryService(dependencies) };
  };
  const { subscriptions: operator, outbox } = process('operator');
  const real: Real = {
    db,
    clock,
    skew: 0,
    outbox: inOwnWrites(db, outbox),
    operator,
    events,
    workers: [],
    startWorker,
    maintenance: makers.createOutboxMaintenance({ ...common, db: shared, subscriptions: operator, retentionMs: 0 }),
    missing: new Set(),
    received: new Map(),
    claiming: false,
    claims: [],
    tokens: new Map(),
    wakes: 0,
    handled: new Map(),
    starts: 0,
  };
  const model = new OutboxModel(() => clock.now());
  for (const [worker, consumers] of AT_FIRST.entries()) await started(model, real, worker, consumers);
  return { model, real };
}

/** The property: whatever the commands, the outbox agrees with the model, and nothing that can go on is stuck. */
export function outboxAgrees(start: () => ReturnType<typeof begin>) {
  return fc.asyncProperty(commands(), async sequence => {
    const { model, real } = await start();
    await agree(model, real);
    await fc.asyncModelRun(() => ({ model, real }), sequence);
    await drain(model, real);
  });
}

function commands() {
  const published = fc.constantFrom(...PUBLISHED);
  const topic = fc.constantFrom(...TOPICS);
  const name = fc.constantFrom(...NAMES);
  const worker = fc.nat(1);
  const pick = fc.nat(99);
  const which = fc.constantFrom('held' as const, 'lost' as const);
  const key = fc.constantFrom('a', 'a', 'b', null);
  const delay = fc.constantFrom(undefined, undefined, undefined, 1, LEASE_MS, -LEASE_MS);
  const repeat = fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: pick });
  const runs = fc.constantFrom('r1', 'r1', 'r2');
  const drafts = fc.array(fc.tuple(fc.constantFrom(OPENED, CLOSED, ASKED), runs), { minLength: 1, maxLength: 5 });
  const claims = fc.boolean();
  const times = fc.constantFrom(0, 1, LEASE_MS / 2, LEASE_MS);
  const from = fc.constantFrom(undefined, undefined, 'beginning' as const);
  const consumers = fc
    .subarray(NAMES)
    .chain(names => fc.tuple(...names.map(name => fc.tuple(fc.nat(1), from).map(args => consumer(name, ...args)))));
  const outcome = fc.oneof(
    { weight: 4, arbitrary: fc.constant<Planned>({ kind: 'sent' }) },
    { weight: 2, arbitrary: times.map((delayMs): Planned => ({ kind: 'retry', delayMs, error: 'busy' })) },
    {
      weight: 4,
      arbitrary: fc
        .constantFrom(false, false, true)
        .map((blocks): Planned => ({ kind: 'dead', error: 'no use', blocks })),
    },
    times.map((later): Planned => ({ kind: 'postponed', later, error: 'not yet' })),
    fc.constant<Planned>({ kind: 'released' }),
  );
  const dead = fc.record({
    topic: fc.option(topic, { nil: undefined }),
    consumer: fc.option(name, { nil: undefined }),
  });
  const whose = fc.option(name, { nil: undefined, freq: 1 });
  const one = fc.oneof(
    { weight: 10, arbitrary: fc.record({ topic: published, key, delay, repeat }).map(publish) },
    { weight: 12, arbitrary: drafts.map(append) },
    { weight: 20, arbitrary: fc.tuple(fc.integer({ min: 1, max: 5 }), worker).map(args => claim(...args)) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 3 }).map(claimBoth) },
    { weight: 18, arbitrary: fc.tuple(pick, outcome, claims).map(args => settle('held', ...args)) },
    { weight: 4, arbitrary: fc.tuple(pick, outcome, claims).map(args => settle('lost', ...args)) },
    {
      weight: 6,
      arbitrary: fc
        .tuple(worker, fc.array(fc.tuple(pick, outcome), { minLength: 2, maxLength: 4 }), claims)
        .map(args => settleTogether(...args)),
    },
    { weight: 2, arbitrary: fc.tuple(pick, fc.boolean()).map(args => settleWith(...args)) },
    { weight: 3, arbitrary: fc.tuple(which, pick).map(args => renew(...args)) },
    { weight: 1, arbitrary: worker.map(renewAll) },
    { weight: 8, arbitrary: fc.constantFrom(1, LEASE_MS / 2, LEASE_MS, LEASE_MS + 1).map(advance) },
    { weight: 2, arbitrary: fc.constantFrom(-3_600_000, -LEASE_MS, 0, LEASE_MS, 86_400_000).map(jump) },
    { weight: 2, arbitrary: topic.map(pause) },
    { weight: 2, arbitrary: fc.tuple(topic, worker).map(args => resume(...args)) },
    { weight: 1, arbitrary: fc.constant(unparkReady()) },
    { weight: 6, arbitrary: fc.tuple(pick, whose).map(args => replay('dead', ...args)) },
    { weight: 1, arbitrary: fc.tuple(pick, whose).map(args => replay('any', ...args)) },
    { weight: 2, arbitrary: dead.map(replayDead) },
    { weight: 3, arbitrary: fc.tuple(pick, whose).map(args => discard(...args)) },
    { weight: 5, arbitrary: fc.tuple(pick, pick).map(args => replayLog(...args)) },
    { weight: 4, arbitrary: fc.tuple(worker, consumers, fc.boolean()).map(args => deploy(...args)) },
    { weight: 2, arbitrary: worker.map(kill) },
    { weight: 4, arbitrary: fc.tuple(worker, fc.option(worker, { freq: 2 })).map(args => reclaim(...args)) },
    { weight: 1, arbitrary: fc.tuple(worker, pick).map(args => outlive(...args)) },
    { weight: 2, arbitrary: fc.tuple(worker, fc.option(worker, { freq: 2 })).map(args => keepServers(...args)) },
    { weight: 1, arbitrary: name.map(remove) },
    { weight: 1, arbitrary: fc.constant(discardOrphans()) },
    { weight: 2, arbitrary: name.map(retire) },
    { weight: 2, arbitrary: worker.map(comeBack) },
    { weight: 2, arbitrary: fc.constant(look()) },
  );
  return fc.commands([one], { maxCommands: 60, size: 'max' });
}

/** An outcome before the time at which it is stored is known. */
type Planned = Exclude<Outcome, { kind: 'postponed' }> | { kind: 'postponed'; later: number; error: string };

/** A step on both sides, after which they must agree. `isPossible` keeps steps out that would do nothing. */
function command(
  name: string,
  run: (model: OutboxModel, real: Real) => Promise<unknown>,
  isPossible: (model: OutboxModel) => boolean = () => true,
): Command {
  const dueIn = (model: OutboxModel) => model.names.flatMap((_, worker) => model.due(worker));
  return {
    check: isPossible,
    run: async (model, real) => {
      const due = new Set(dueIn(model));
      const wakes = real.wakes;
      const claimsSoon = (await run(model, real)) === 'claims soon';
      await agree(model, real);
      const isNew = dueIn(model).some(delivery => !due.has(delivery));
      if (isNew && !claimsSoon) expect(real.wakes, 'a delivery became due and nobody was told').toBeGreaterThan(wakes);
    },
    toString: () => name,
  };
}

/** With `repeat`, under the id of an earlier message. It is the same one only if its content and its time are. */
function publish(args: { topic: string; key: string | null; delay: number | undefined; repeat: number | undefined }) {
  const { topic, key, delay, repeat } = args;
  return command(`publish(${JSON.stringify(args)})`, async (model, { outbox, clock }) => {
    const before = repeat === undefined ? undefined : at(model.published, repeat);
    const id = before?.id ?? `m${model.published.length + 1}`;
    const givenAt = delay === undefined ? undefined : clock.now() + delay;
    const answer = outbox.publish({
      message_id: id,
      topic,
      payload: topic,
      ...(key !== null && { message_key: key }),
      ...(givenAt !== undefined && { available_at: new Date(givenAt).toISOString() }),
    });
    if (before && !(before.topic === topic && before.key === key && before.givenAt === givenAt)) {
      await expect(answer).rejects.toMatchObject({ code: 'MESSAGE_EXISTS' });
      return;
    }
    const message = before ?? model.publish({ id, topic, key, givenAt });
    const expected = { created: before === undefined, message: { message_id: id, status: model.statusOf(message) } };
    expect(await answer).toMatchObject(expected);
  });
}

/** Events of runs are keyed by their run. */
function append(drafts: [topic: string, run: string][]): Command {
  return command(`append(${JSON.stringify(drafts)})`, async (model, { db, events }) => {
    const thread = { thread_id: null, agent_name: null, ticket: null };
    const actor = { type: 'human', name: 'ana' } as const;
    const drafted = drafts.map(([topic, run_id]) =>
      events.draft({ ...thread, run_id }, actor, topic.replace('.events', '') as EventType, { topic }),
    );
    const sequences = await db.write(tx => events.append(tx, drafted));
    for (const [index, [topic, run]] of drafts.entries()) {
      const sequence = sequences[index] as number;
      model.append({ id: `msg_${drafted[index]?.uid}`, topic, key: `run:${run}`, sequence });
    }
  });
}

function claim(limit: number, worker: number): Command {
  return command(`claim(${limit}, ${worker})`, (model, real) => claimAtOnce(model, real, limit, [worker]));
}

/** Both workers claim at the same time: it is as if one of them had come first. */
function claimBoth(limit: number): Command {
  return command(`claimBoth(${limit})`, (model, real) => claimAtOnce(model, real, limit, [0, 1]));
}

async function claimAtOnce(model: OutboxModel, real: Real, limit: number, workers: number[]): Promise<string> {
  real.claims = [];
  real.claiming = true;
  const wakes = real.wakes;
  const answers = await Promise.all(workers.map(worker => real.workers[worker]?.deliveries.claim(limit)));
  real.claiming = false;
  for (const { name, stored } of real.claims) {
    const worker = model.names.indexOf(name);
    const answer = answers[workers.indexOf(worker)] ?? [];
    claimed(model, real, { answer, stored, limit, worker });
    const mayDoMore = answer.length === limit || real.wakes > wakes;
    // Or the worker would sleep until the next poll.
    if (!mayDoMore) expect(canTake(model, worker), 'a claim with room left something, and nobody was told').toBe(false);
  }
  return 'claims soon';
}

/** Whether a claim of this worker would find something. */
function canTake(model: OutboxModel, worker: number): boolean {
  const isAhead = (subscription: ModelSubscription) => !subscription.isDeleted && model.ahead(subscription).length > 0;
  return (
    model.due(worker).some(({ message }) => !model.paused.has(message.topic)) || (model.own[worker] ?? []).some(isAhead)
  );
}

/** Follows a claim in the model: first what was due; then the log, as far as the claim has moved each subscription. */
function claimed(
  model: OutboxModel,
  real: Real,
  { answer, stored, limit, worker }: { answer: LeasedDelivery[]; stored: Stored; limit: number; worker: number },
): void {
  const claim = { worker, name: model.names[worker] as string };
  const own = model.own[worker] ?? [];
  const leases = model.claim(limit, claim);
  const given = stored.rows.slice(model.deliveries.length).map(({ subscription_id, event_sequence, status }) => ({
    subscription: own.find(({ id }) => id === subscription_id) as ModelSubscription,
    event: model.events.find(({ sequence }) => sequence === event_sequence) as ModelMessage,
    isLeased: status === 'processing',
  }));
  expect(given.every(({ subscription, event }) => subscription && event)).toBe(true);
  for (const subscription of own) {
    const upTo = stored.positions.get(subscription.id as number) as number;
    const its = given.filter(one => one.subscription === subscription).map(({ event }) => event.sequence);
    const due = subscription.isDeleted ? [] : model.ahead(subscription, upTo).map(({ sequence }) => sequence);
    expect(its, `the events that ${subscription.name} is given up to ${upTo}`).toEqual(due);
    expect(upTo, `the position of ${subscription.name}`).toBeGreaterThanOrEqual(subscription.position);
    subscription.position = upTo;
  }
  leases.push(...model.give(claim, given));
  leases.sort((a, b) => model.deliveries.indexOf(a.delivery) - model.deliveries.indexOf(b.delivery));
  expect(answer.length).toBeLessThanOrEqual(limit);
  took(real, leases, answer);
}

/** A worker has got these leases of the model. */
function took(real: Real, leases: ModelLease[], answer: LeasedDelivery[]): void {
  const seen = answer.map(({ message, consumer }) => [message.message_id, message.attempts, consumer, message.topic]);
  expect(seen).toEqual(
    leases.map(({ delivery: { message, attempts, subscription } }) => [
      message.id,
      attempts,
      subscription?.name,
      message.topic,
    ]),
  );
  for (const [index, lease] of leases.entries()) {
    const delivery = answer[index] as LeasedDelivery;
    received(lease.delivery, delivery);
    real.received.set(lease, delivery);
    real.tokens.set(lease.claim, ofClaim(delivery.lease.lease_token));
    const { key } = lease.delivery.message;
    if (key === null) continue;
    const lane = `${lease.delivery.subscription?.id} ${key}`;
    const before = real.handled.get(lane) ?? [];
    const { position } = delivery.lease;
    if (!before.includes(position)) real.handled.set(lane, [...before, position]);
  }
}

/** A handler sees the message as it was published. */
function received({ message: { sequence, topic } }: ModelDelivery, { message }: LeasedDelivery): void {
  if (sequence === null) expect(message.payload).toBe(topic);
  else expect(message.payload).toMatchObject({ sequence, payload: { topic } });
}

/**
 * Settles a delivery whose lease is held, or one whose lease is not: the late acknowledgement, or the repeated one.
 * `claims`: and claims what follows it.
 */
function settle(which: 'held' | 'lost', pick: number, planned: Planned, claims: boolean): Command {
  return command(
    `settle(${which} ${pick}, ${JSON.stringify(planned)}${claims ? ', claims' : ''})`,
    async (model, real) => {
      const lease = at(leasesOf(model, which), pick) as ModelLease;
      await settles(model, real, new Map([[lease, outcomeOf(planned, real)]]), claims);
    },
    model => leasesOf(model, which).length > 0,
  );
}

async function settles(
  model: OutboxModel,
  real: Real,
  chosen: Map<ModelLease, Outcome>,
  claims: boolean,
): Promise<void> {
  const [{ claim }] = [...chosen.keys()] as [ModelLease];
  const { deliveries } = real.workers[claim.worker] as Process;
  const settlements = [...chosen].map(([lease, outcome]) => ({ delivery: leased(real, lease), outcome }));
  const { held, next } = await deliveries.settle(() => settlements, { claims });
  expect(held).toEqual([...chosen].map(([lease, outcome]) => model.settle(lease, outcome)));
  const settled = [...chosen.keys()].filter((_, index) => held[index]).map(({ delivery }) => delivery);
  const leases = claims ? model.claimNext(settled, { ...claim }) : [];
  const byAge = (a: ModelLease, b: ModelLease) =>
    model.deliveries.indexOf(a.delivery) - model.deliveries.indexOf(b.delivery);
  took(
    real,
    leases.sort(byAge),
    next.toSorted((a, b) => a.lease.position - b.lease.position),
  );
}

/** Settles several deliveries of one worker at once, held or not: as if it had been one after the other. */
function settleTogether(worker: number, picks: [pick: number, planned: Planned][], claims: boolean): Command {
  return command(
    `settleTogether(${worker}, ${JSON.stringify(picks)}${claims ? ', claims' : ''})`,
    async (model, real) => {
      const chosen = new Map<ModelLease, Outcome>();
      for (const [pick, planned] of picks) {
        chosen.set(at(ofWorker(model, worker), pick) as ModelLease, outcomeOf(planned, real));
      }
      await settles(model, real, chosen, claims);
    },
    model => ofWorker(model, worker).length > 0,
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
      const lease = at(model.leases, pick) as ModelLease;
      const isHeld = model.holds(lease);
      let begun = 0;
      const answer = real.workers[lease.claim.worker]?.deliveries.settleWith(leased(real, lease), async () => {
        begun += 1;
        if (!works) throw new Error('constraint');
        return { kind: 'sent' as const };
      });
      if (isHeld && !works) await expect(answer).rejects.toThrow('constraint');
      else expect(await answer).toBe(model.settle(lease, { kind: 'sent' }));
      expect(begun).toBe(isHeld ? 1 : 0);
    },
    model => model.leases.length > 0,
  );
}

/** Renews one lease. */
function renew(which: 'held' | 'lost', pick: number): Command {
  return command(
    `renew(${which} ${pick})`,
    async (model, real) => {
      const lease = at(leasesOf(model, which), pick) as ModelLease;
      await renewed(model, real, lease.claim.worker, [lease]);
    },
    model => leasesOf(model, which).length > 0,
  );
}

/** Renews all that a worker has, as it does in its rounds. */
function renewAll(worker: number): Command {
  return command(
    `renewAll(${worker})`,
    (model, real) => renewed(model, real, worker, ofWorker(model, worker)),
    model => ofWorker(model, worker).length > 0,
  );
}

async function renewed(model: OutboxModel, real: Real, worker: number, chosen: ModelLease[]): Promise<void> {
  const leaseOf = (lease: ModelLease) => leased(real, lease).lease;
  const held = (await real.workers[worker]?.deliveries.renew(chosen.map(leaseOf))) ?? [];
  expect(sorted(held)).toEqual(sorted(model.renew(chosen).map(leaseOf)));
}

function advance(milliseconds: number): Command {
  return command(`advance(${milliseconds})`, async (_, { clock }) => {
    clock.advance(milliseconds);
    return 'claims soon';
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
  return command(
    `resume(${topic}, ${worker})`,
    async (model, { db, outbox, workers }) => {
      await db.write(async tx => workers[worker]?.deliveries.resume(tx, topic));
      model.resume(topic);
      expect(await outbox.pausedTopics()).toEqual([...model.paused].sort());
    },
    model => model.paused.has(topic),
  );
}

function unparkReady(): Command {
  return command('unparkReady()', async (model, { maintenance }) => {
    await maintenance.unparkReady();
    model.unparkReady();
  });
}

/** Replays a message: what is dead of it, for one consumer or for all. */
function replay(which: 'dead' | 'any', pick: number, consumer: string | undefined): Command {
  const candidates = (model: OutboxModel) =>
    messagesOf(model).filter(message => which === 'any' || model.of(message).some(({ status }) => status === 'dead'));
  return command(
    `replay(${which} ${pick}, ${consumer ?? 'all'})`,
    async (model, { outbox }) => {
      const message = at(candidates(model), pick) as ModelMessage;
      await answers(outbox.replay(message.id, consumer), model, message, consumer, chosen => model.replay(chosen));
    },
    model => candidates(model).length > 0,
  );
}

function replayDead(which: { topic: string | undefined; consumer: string | undefined }): Command {
  const { topic, consumer } = which;
  return command(`replayDead(${JSON.stringify(which)})`, async (model, { outbox }) => {
    expect(await outbox.replayDead(which)).toBe(model.replayDead(topic, consumer));
  });
}

function discard(pick: number, consumer: string | undefined): Command {
  return command(
    `discard(${pick}, ${consumer ?? 'all'})`,
    async (model, { outbox }) => {
      const message = at(messagesOf(model), pick) as ModelMessage;
      await answers(outbox.discard(message.id, consumer), model, message, consumer, chosen => model.discard(chosen));
    },
    model => messagesOf(model).length > 0,
  );
}

/** The events after some sequence are delivered to a subscription again. */
function replayLog(which: number, pick: number): Command {
  return command(
    `replayLog(${which}, ${pick})`,
    async (model, { db, operator }) => {
      const subscription = at(model.live, which) as ModelSubscription;
      const after = at([0, ...model.events.map(({ sequence }) => Number(sequence))], pick) as number;
      const position = await db.write(tx => operator.replay(tx, subscription.name, after));
      expect(position).toBe(model.replayLog(subscription, after));
    },
    model => model.live.length > 0,
  );
}

/** A worker ends, orderly or not, and starts again with other consumers. What it had in its hands is lost to it. */
function deploy(worker: number, consumers: ModelConsumer[], orderly: boolean): Command {
  const named = consumers.map(({ name, topics, from }) => `${name} [${topics}]${from ? ` from ${from}` : ''}`);
  return command(`deploy(${worker}, {${named.join('; ')}}${orderly ? '' : ', kill'})`, async (model, real) => {
    if (orderly) await left(model, real, worker);
    await started(model, real, worker, consumers);
    return 'claims soon';
  });
}

/** A worker dies with all it had, and another one starts in its place. */
function kill(worker: number): Command {
  return command(
    `kill(${worker})`,
    async (model, real) => {
      await started(model, real, worker, consumersOf(model, worker));
      return 'claims soon';
    },
    model => ofWorker(model, worker).length > 0,
  );
}

async function left(model: OutboxModel, real: Real, worker: number): Promise<void> {
  await real.workers[worker]?.subscriptions.leave();
  model.leave(model.names[worker] as string);
}

async function started(model: OutboxModel, real: Real, worker: number, consumers: ModelConsumer[]): Promise<void> {
  real.starts += 1;
  const name = `w${worker}.${real.starts}`;
  real.workers[worker] = await real.startWorker(name, consumers);
  const own = model.start(worker, name, consumers);
  for (const [index, subscription] of own.entries()) {
    subscription.id ??= real.workers[worker].subscriptions.own[index]?.subscription_id;
  }
}

/** What a worker would register if it started again. */
function consumersOf(model: OutboxModel, worker: number): ModelConsumer[] {
  return (model.own[worker] ?? []).map(({ name, topics, wants }) => ({ name, topics, wants }));
}

/** Takes back what ended processes had, and what a worker had that is alive but seems to be gone. */
function reclaim(worker: number, seemsGone: number | null): Command {
  return command(
    `reclaim(${worker}${seemsGone === null ? '' : `, ${seemsGone} seems gone`})`,
    async (model, real) => {
      real.missing = missing(model, seemsGone);
      expect((await real.maintenance.reclaim()).count).toBe(model.reclaim(real.missing));
    },
    model => model.deliveries.some(({ status }) => status === 'processing'),
  );
}

/** A worker looks which processes serve subscriptions no more; one may only seem to be gone. */
function keepServers(worker: number, seemsGone: number | null): Command {
  return command(
    `keepServers(${worker}${seemsGone === null ? '' : `, ${seemsGone} seems gone`})`,
    async (model, real) => {
      real.missing = missing(model, seemsGone);
      const registers = await real.workers[worker]?.subscriptions.keepServers();
      expect(registers).toBe(model.keepServers(worker, real.missing));
    },
  );
}

function missing(model: OutboxModel, seemsGone: number | null): ReadonlySet<string> {
  return new Set([...model.gone, ...(seemsGone === null ? [] : [model.names[seemsGone] as string])]);
}

/** Deletes a subscription, unless somebody serves it. */
function remove(name: string): Command {
  return command(`remove(${name})`, async (model, { db, operator }) => {
    const subscription = model.live.find(live => live.name === name);
    const answer = db.write(tx => operator.remove(tx, name));
    const code = subscription ? 'SUBSCRIPTION_SERVED' : 'SUBSCRIPTION_NOT_FOUND';
    if (subscription && model.remove(subscription)) await answer;
    else await expect(answer).rejects.toMatchObject({ code });
  });
}

function discardOrphans(): Command {
  return command('discardOrphans()', async (model, { maintenance }) => {
    await maintenance.discardOrphans();
    model.discardOrphans();
  });
}

/** The handler of a subscription is taken away everywhere, and the subscription is deleted. */
function retire(name: string): Command {
  return command(
    `retire(${name})`,
    async (model, real) => {
      for (const worker of [0, 1]) {
        await left(model, real, worker);
        await started(
          model,
          real,
          worker,
          consumersOf(model, worker).filter(one => one.name !== name),
        );
      }
      for (const step of [keepServers(0, null), remove(name), discardOrphans()]) await step.run(model, real);
      return 'claims soon';
    },
    model => model.live.some(live => live.name === name),
  );
}

/** A subscription is deleted while one of its processes only seems to be gone, and that process claims again. */
function outlive(worker: number, pick: number): Command {
  const own = (model: OutboxModel) => (model.own[worker] ?? []).filter(({ isDeleted }) => !isDeleted);
  return command(
    `outlive(${worker}, ${pick})`,
    async (model, real) => {
      const { name } = at(own(model), pick) as ModelSubscription;
      for (const step of [keepServers(1 - worker, worker), remove(name), append([[OPENED, 'r1']]), claim(5, worker)]) {
        await step.run(model, real);
      }
      return 'claims soon';
    },
    model => own(model).length > 0,
  );
}

/**
 * A delivery dies, and is replayed while the next one of its lane is being handled, whose lease then runs out. Chance
 * rarely puts these steps in a row, so they have a lane to themselves.
 */
function comeBack(worker: number): Command {
  const key = 'c';
  const message = { topic: 'one', key, delay: undefined, repeat: undefined };
  const steps = [
    publish(message),
    publish(message),
    claim(100, worker),
    command('die', async (model, real) => {
      const held = model.leases.find(lease => lease.delivery.message.key === key && model.holds(lease));
      if (held) await settles(model, real, new Map([[held, { kind: 'dead', error: 'no use', blocks: false }]]), false);
    }),
    claim(100, worker),
    replayDead({ topic: 'one', consumer: undefined }),
    advance(LEASE_MS + 1),
    claim(100, worker),
  ];
  return command(`comeBack(${worker})`, async (model, real) => {
    for (const step of steps) if (step.check(model)) await step.run(model, real);
    return 'claims soon';
  });
}

/** What callers see: the list, and what waits for each subscription. */
function look(): Command {
  return command('look()', async (model, { outbox }) => {
    const { items } = await outbox.list({ limit: 1000 });
    expect(items.map(item => [item.message_id, item.consumer, item.status, item.attempts, item.generation])).toEqual(
      model.deliveries.map(({ message, subscription, status, attempts, generation }) => [
        message.id,
        subscription?.name ?? null,
        status,
        attempts,
        generation,
      ]),
    );
    const seen = await outbox.subscriptions();
    expect(
      seen.map(({ subscription, served_by, waiting, dead }) => [subscription.name, served_by, waiting, dead]),
    ).toEqual(
      model.live
        .toSorted((a, b) => (a.name < b.name ? -1 : 1))
        .map(subscription => {
          const own = model.deliveries.filter(delivery => delivery.subscription === subscription);
          const waiting = own.filter(({ status }) => ['pending', 'processing', 'failed'].includes(status));
          const dead = own.filter(({ status }) => status === 'dead');
          const ahead = model.ahead(subscription).length;
          return [subscription.name, [...subscription.servers].sort(), waiting.length + ahead, dead.length];
        }),
    );
    const unwanted = model.deliveries.filter(({ subscription, status }) => !subscription && status === 'failed');
    const topics = unwanted.map(({ message }) => message.topic);
    expect(await outbox.topicsWithoutHandler()).toEqual([...new Set(topics)].sort());
  });
}

/** Lets everything through that can go, and looks at what is left, which waits behind the dead, and at the totals. */
async function drain(model: OutboxModel, real: Real): Promise<void> {
  for (const topic of TOPICS) if (model.paused.has(topic)) await resume(topic, 0).run(model, real);
  await discardOrphans().run(model, real);
  const all = model.live.map(({ name, topics, wants }) => ({ name, topics, wants }));
  await deploy(0, all, true).run(model, real);
  for (let idle = false; !idle; ) {
    await advance(2 * LEASE_MS).run(model, real);
    const wakes = real.wakes;
    await claim(100, 0).run(model, real);
    idle = real.wakes === wakes;
    for (const lease of model.leases.filter(lease => model.holds(lease))) {
      idle = false;
      await settles(model, real, new Map([[lease, { kind: 'sent' }]]), false);
    }
    await agree(model, real);
  }
  const isBlocked = ({ status, place }: ModelDelivery) => status === 'dead' && place === 'head';
  const blocking = model.deliveries.filter(isBlocked);
  const lanes = blocking.map(({ message, subscription }) => [message.key, subscription]);
  for (const { status, place, message, subscription } of model.deliveries) {
    if (['sent', 'discarded', 'dead'].includes(status) || !subscription) continue;
    expect(place).toBe('waiting');
    expect(lanes).toContainEqual([message.key, subscription]);
  }
  for (const subscription of model.live) expect(model.ahead(subscription)).toEqual([]);
  for (const [lane, positions] of real.handled) {
    expect(positions, `the order of ${lane}`).toEqual(positions.toSorted((a, b) => a - b));
  }
  const stats = await real.outbox.stats();
  const count = (status: string) => model.deliveries.filter(delivery => delivery.status === status).length;
  const counts = ['pending', 'processing', 'failed', 'dead', 'discarded'].map(status => [status, count(status)]);
  expect(stats.by_status).toEqual({ ...Object.fromEntries(counts), sent: model.sent });
  expect(stats.blocked_lanes.map(lane => lane.message_id).sort()).toEqual(
    blocking.map(({ message }) => message.id).sort(),
  );
  await look().run(model, real);
}

/** What is stored is what the model says, no more and no less, and holds together by itself. */
async function agree(model: OutboxModel, real: Real): Promise<void> {
  const { query } = real.db.read;
  const { rows, positions } = await storedIn(real.db.read);
  holdTogether(rows);
  const ids = new Map(
    (await query.selectFrom('messages').select(['number', 'message_id']).execute()).map(row => [
      row.number,
      row.message_id,
    ]),
  );
  const stored = rows.map(row => ({
    of: row.event_sequence ?? ids.get(row.message_number as number),
    subscription: row.subscription_id,
    topic: row.topic,
    key: row.message_key,
    status: row.status,
    attempts: row.attempts,
    generation: row.generation,
    availableAt: row.available_at,
    lastError: row.last_error,
    inLane: row.queued === 1,
    dueAt: row.claimable_at,
    isParked: row.parked === 1,
    token: row.lease_token && ofClaim(row.lease_token),
    holder: row.leased_by,
  }));
  const expected = model.deliveries.map(({ message, subscription, place, heldBy, ...delivery }) => ({
    of: message.sequence ?? message.id,
    subscription: subscription?.id ?? null,
    topic: message.topic,
    key: message.key,
    ...delivery,
    inLane: place !== 'nowhere',
    token: heldBy === null ? null : real.tokens.get(heldBy),
    holder: heldBy === null ? null : heldBy.name,
  }));
  // The matcher takes its time, and is here for what it tells of a difference.
  if (!isDeepStrictEqual(stored, expected)) expect(stored).toEqual(expected);
  expect(positions).toEqual(new Map(model.subscriptions.map(({ id, position }) => [id, position])));
  const servers = await query.selectFrom('subscription_servers').selectAll().execute();
  const names = servers.map(({ subscription_id, process }) => `${subscription_id} ${process}`);
  const expectedNames = model.subscriptions.flatMap(({ id, servers }) => [...servers].map(name => `${id} ${name}`));
  expect(names.sort()).toEqual(expectedNames.sort());
}

async function storedIn({ query }: Reader): Promise<Stored> {
  const subscriptions = await query.selectFrom('subscriptions').select(['subscription_id', 'position']).execute();
  return {
    rows: await query.selectFrom('deliveries').selectAll().orderBy('position').execute(),
    positions: new Map(subscriptions.map(({ subscription_id, position }) => [subscription_id, position])),
  };
}

/** What must be true of the rows whatever has happened. */
function holdTogether(rows: DeliveryRow[]): void {
  const lanes = Map.groupBy(
    rows.filter(row => row.message_key !== null && row.subscription_id !== null),
    row => `${row.subscription_id} ${row.message_key}`,
  );
  for (const [lane, members] of lanes) {
    const claimable = members.filter(row => row.claimable_at !== null || row.status === 'processing');
    expect(claimable.length, `claimable or being handled in ${lane}`).toBeLessThanOrEqual(1);
    const inLane = members.filter(row => row.queued === 1);
    const heads = inLane.filter(row => row.claimable_at !== null || row.parked === 1);
    expect(heads.length, `heads of ${lane}`).toBeLessThanOrEqual(1);
    const [head] = heads;
    // Nothing waits for a younger one, unless that is being handled; only a dead one has nobody before it go.
    if (inLane.length > 0 && head?.status !== 'processing') {
      expect(head?.position ?? deadAt(inLane[0]), `the oldest of ${lane}`).toBe(inLane[0]?.position);
    }
    for (const { position } of members.filter(row => row.status === 'processing')) {
      const isOver = ({ status, queued }: DeliveryRow) =>
        status === 'sent' || status === 'discarded' || (status === 'dead' && queued === 0);
      // A message that was replayed may have been overtaken: while it was dead, its lane went on.
      const open = members.filter(row => row.position < position && row.generation === 1 && !isOver(row));
      expect(
        open.map(row => row.position),
        `overtaken in ${lane}`,
      ).toEqual([]);
    }
  }
  for (const row of rows) {
    const { position, status, lease_token, leased_by, claimable_at, queued, parked } = row;
    const isHeld = status === 'processing';
    const isOver = status === 'sent' || status === 'discarded';
    const faults = [
      (lease_token !== null) !== isHeld || (leased_by !== null) !== isHeld ? 'half a lease' : '',
      (isOver || status === 'dead') && (claimable_at !== null || parked !== 0) ? 'ended, and can be claimed' : '',
      isOver && queued !== 0 ? 'ended, and is in its lane' : '',
      parked === 1 && claimable_at !== null ? 'parked, and can be claimed' : '',
    ];
    if (faults.some(fault => fault !== '')) expect.fail(`${position}: expected none of ${faults}`);
  }
}

function deadAt(row: DeliveryRow | undefined): number | undefined {
  return row?.status === 'dead' ? row.position : undefined;
}

/** The answer of a call about a message, or about its deliveries for one consumer, that the model allows or refuses. */
async function answers(
  call: Promise<unknown>,
  model: OutboxModel,
  message: ModelMessage,
  consumer: string | undefined,
  act: (chosen: ModelDelivery[]) => boolean,
): Promise<void> {
  const chosen = model.of(message, consumer);
  const exists = model.statusOf(message) !== undefined && (consumer === undefined || chosen.length > 0);
  if (!exists) await expect(call).rejects.toMatchObject({ code: 'MESSAGE_NOT_FOUND' });
  else if (act(chosen)) expect(await call).toMatchObject({ message_id: message.id, status: model.statusOf(message) });
  else {
    // Without any delivery, those to be made are meant.
    const message_status = leastFinished(chosen) ?? 'pending';
    await expect(call).rejects.toMatchObject({ code: 'MESSAGE_STATUS_CONFLICT', extensions: { message_status } });
  }
}

function messagesOf(model: OutboxModel): ModelMessage[] {
  return [...model.published, ...model.events];
}

function ofWorker(model: OutboxModel, worker: number): ModelLease[] {
  return model.leases.filter(({ claim }) => claim.worker === worker);
}

/**
 * What workers have with its lease, or without: there the interesting ones are those whose delivery somebody else holds
 * by now, so that the others count only if there are none of those.
 */
function leasesOf(model: OutboxModel, which: 'held' | 'lost'): ModelLease[] {
  if (which === 'held') return model.leases.filter(lease => model.holds(lease));
  const lost = model.leases.filter(lease => !model.holds(lease));
  const elsewhere = lost.filter(({ delivery }) => delivery.heldBy !== null);
  return elsewhere.length > 0 ? elsewhere : lost;
}

function leased(real: Real, lease: ModelLease): LeasedDelivery {
  return real.received.get(lease) as LeasedDelivery;
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

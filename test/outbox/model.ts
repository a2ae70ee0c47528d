import type { Outcome } from '../../src/outbox/outcome.ts';
import type { MessageStatus } from '../../src/outbox/schemas.ts';

export const LEASE_MS = 1000;
export const MAX_ATTEMPTS = 3;

/** From the least finished status to the most finished. */
const BY_PROGRESS = ['processing', 'pending', 'failed', 'dead', 'discarded', 'sent'];

/** What a process says of a consumer: its patterns, and the topics that they mean. */
export interface ModelConsumer {
  name: string;
  topics: string[];
  wants: string[];
  from?: 'beginning';
}

export interface ModelSubscription extends Omit<ModelConsumer, 'from'> {
  /** Undefined until the service has given one. */
  id: number | undefined;
  /** Its events up to this sequence have been given to it. */
  position: number;
  isDeleted: boolean;
  /** The names of the processes that are said to serve it. */
  servers: Set<string>;
}

/** A published message, or an event. */
export interface ModelMessage {
  id: string;
  topic: string;
  key: string | null;
  /** Of an event. */
  sequence: number | null;
  /** As the publisher gave it. Epoch milliseconds. */
  givenAt?: number | undefined;
}

/** One message for one subscription, as the contract describes it. The store's rows must say the same. */
export interface ModelDelivery {
  message: ModelMessage;
  /** Null while no subscription wants the message. */
  subscription: ModelSubscription | null;
  status: MessageStatus;
  attempts: number;
  generation: number;
  availableAt: number;
  lastError: string | null;
  /** Where it is in its lane. Without a key or a subscription, and once the lane has let it go, it is nowhere. */
  place: 'head' | 'waiting' | 'nowhere';
  /** From when on a claim takes it; null if it waits for anything but the time, or for nothing any more. */
  dueAt: number | null;
  isParked: boolean;
  /** The claim that holds it. */
  heldBy: ModelClaim | null;
}

/** One claim that a worker made, under the name it had then. */
export interface ModelClaim {
  worker: number;
  name: string;
}

/** What a worker got from a claim. It keeps it when the lease is lost, because it cannot know. */
export interface ModelLease {
  delivery: ModelDelivery;
  claim: ModelClaim;
}

/**
 * The outbox in memory: lanes as lists of deliveries, and no statements. How far a claim moves the subscriptions along the
 * log is the choice of the service, so the model is told. Times are epoch milliseconds.
 */
export class OutboxModel {
  /** In the order in which they were published. */
  readonly published: ModelMessage[] = [];
  /** The log. */
  readonly events: ModelMessage[] = [];
  readonly subscriptions: ModelSubscription[] = [];
  /** In the order in which they were made. */
  deliveries: ModelDelivery[] = [];
  leases: ModelLease[] = [];
  readonly paused = new Set<string>();
  /** The names of the workers; one that starts again gets a new one. */
  readonly names: string[] = [];
  /** What each worker has registered. */
  readonly own: ModelSubscription[][] = [];
  /** The names of those that have ended. */
  readonly gone = new Set<string>();
  /** How many were marked sent. */
  sent = 0;
  /** How far the wall clock of the workers is ahead. Milliseconds. */
  skew = 0;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** The subscriptions that are not deleted. */
  get live(): ModelSubscription[] {
    return this.subscriptions.filter(({ isDeleted }) => !isDeleted);
  }

  /** A worker starts under a new name with these consumers. Leases of its earlier life run on. */
  start(worker: number, name: string, consumers: ModelConsumer[]): ModelSubscription[] {
    const before = this.names[worker];
    if (before !== undefined) this.gone.add(before);
    this.leases = this.leases.filter(({ claim }) => claim.worker !== worker);
    this.names[worker] = name;
    const changed = new Set<ModelSubscription>();
    const own = consumers.map(consumer => this.#register(consumer, changed));
    this.own[worker] = own;
    for (const subscription of own) subscription.servers.add(name);
    this.#adopt([...changed]);
    return own;
  }

  /** A process ends orderly: it serves nothing any more. */
  leave(name: string): void {
    for (const { servers } of this.subscriptions) servers.delete(name);
  }

  /**
   * A worker forgets these processes, and notes itself again if others took it for gone. Answers whether it has to register
   * again, since a subscription of its own was deleted meanwhile.
   */
  keepServers(worker: number, missing: ReadonlySet<string>): boolean {
    const name = this.names[worker] as string;
    const isKnown = this.subscriptions.some(({ servers }) => servers.has(name));
    for (const gone of missing) this.leave(gone);
    const own = this.own[worker] ?? [];
    if (isKnown || own.some(({ isDeleted }) => isDeleted)) return !isKnown;
    for (const { servers } of own) servers.add(name);
    return false;
  }

  /** False if a process serves it. */
  remove(subscription: ModelSubscription): boolean {
    if (subscription.servers.size > 0) return false;
    subscription.isDeleted = true;
    return true;
  }

  discardOrphans(): void {
    for (const delivery of this.deliveries) {
      if (!delivery.subscription?.isDeleted || isOver(delivery)) continue;
      Object.assign(delivery, { status: 'discarded', place: 'nowhere', dueAt: null, isParked: false, heldBy: null });
    }
  }

  /** Answers the new position. */
  replayLog(subscription: ModelSubscription, after: number): number {
    subscription.position = Math.min(subscription.position, after);
    return subscription.position;
  }

  append(event: ModelMessage): void {
    this.events.push(event);
  }

  /** The events that a subscription wants and has not been given yet, up to a sequence. */
  ahead({ wants, position }: ModelSubscription, upTo = Number.POSITIVE_INFINITY): ModelMessage[] {
    return this.events.filter(
      ({ sequence, topic }) => Number(sequence) > position && Number(sequence) <= upTo && wants.includes(topic),
    );
  }

  publish(content: Pick<ModelMessage, 'id' | 'topic' | 'key' | 'givenAt'>): ModelMessage {
    const message = { ...content, sequence: null };
    this.published.push(message);
    const wanting = this.live.filter(({ wants }) => wants.includes(message.topic)).sort(byName);
    const availableAt = message.givenAt ?? this.#now();
    for (const subscription of wanting) this.#enter(this.#deliver(message, subscription, availableAt));
    if (wanting.length === 0) {
      const delivery = this.#deliver(message, null, availableAt);
      delivery.status = 'failed';
      delivery.lastError = `no handler for topic ${message.topic}`;
    }
    return message;
  }

  /** Those that a claim of this worker would take now, whether their topic is paused or not: the longest waiting first. */
  due(worker: number): ModelDelivery[] {
    const own = this.own[worker] ?? [];
    const isDue = ({ dueAt, subscription }: ModelDelivery) =>
      dueAt !== null && dueAt <= this.#now() && subscription !== null && own.includes(subscription);
    // The sort is stable: of two that became due together, the older one comes first.
    return this.deliveries.filter(isDue).sort((a, b) => Number(a.dueAt) - Number(b.dueAt));
  }

  /** What a claim takes of the deliveries that exist, in their order. */
  claim(limit: number, claim: ModelClaim): ModelLease[] {
    const { worker } = claim;
    const leases: ModelLease[] = [];
    for (let due = this.due(worker); leases.length < limit && due.length > 0; due = this.due(worker)) {
      for (const delivery of due.slice(0, limit - leases.length)) {
        if (this.#isOvertaking(delivery)) {
          this.#unclaim(delivery);
          delivery.dueAt = delivery.availableAt;
          this.#putOldestFirst(delivery);
        } else if (this.paused.has(delivery.message.topic)) {
          this.#unclaim(delivery);
          delivery.isParked = true;
          delivery.dueAt = null;
        } else leases.push(this.#lease(delivery, claim));
      }
    }
    return leases;
  }

  /** A claim makes the next deliveries of the log, some of which it leases. Only heads of lanes can be. */
  give(
    claim: ModelClaim,
    given: { subscription: ModelSubscription; event: ModelMessage; isLeased: boolean }[],
  ): ModelLease[] {
    return given.flatMap(({ subscription, event, isLeased }) => {
      const delivery = this.#deliver(event, subscription, this.#now());
      this.#enter(delivery);
      if (delivery.place !== 'head') return [];
      if (!this.paused.has(event.topic)) return isLeased ? [this.#lease(delivery, claim)] : [];
      delivery.isParked = true;
      delivery.dueAt = null;
      return [];
    });
  }

  holds({ delivery, claim }: ModelLease): boolean {
    return delivery.heldBy === claim;
  }

  renew(leases: ModelLease[]): ModelLease[] {
    const held = leases.filter(lease => this.holds(lease));
    for (const { delivery } of held) delivery.dueAt = this.#now() + LEASE_MS;
    return held;
  }

  settle(lease: ModelLease, outcome: Outcome): boolean {
    if (!this.holds(lease)) return false;
    const { delivery } = lease;
    delivery.heldBy = null;
    if ('error' in outcome) delivery.lastError = outcome.error;
    switch (outcome.kind) {
      case 'sent':
        delivery.status = 'sent';
        delivery.lastError = null;
        this.#leave(delivery);
        this.sent += 1;
        break;
      case 'dead':
        delivery.status = 'dead';
        delivery.attempts = Math.min(delivery.attempts, MAX_ATTEMPTS);
        if (outcome.blocks) delivery.dueAt = null;
        else this.#leave(delivery);
        break;
      case 'retry':
        delivery.status = 'failed';
        delivery.availableAt = this.#now() + outcome.delayMs;
        delivery.dueAt = delivery.availableAt;
        break;
      case 'postponed':
        delivery.status = 'failed';
        delivery.attempts -= 1;
        delivery.availableAt = outcome.until - this.skew;
        delivery.dueAt = delivery.availableAt;
        break;
      case 'released':
        delivery.status = 'pending';
        delivery.attempts -= 1;
        delivery.dueAt = this.#now();
        break;
    }
    this.#putOldestFirst(delivery);
    return true;
  }

  /** What follows these in their lanes is claimed, if it is due. They have been settled. */
  claimNext(settled: ModelDelivery[], claim: ModelClaim): ModelLease[] {
    const left = settled.filter(({ place, message }) => place === 'nowhere' && message.key !== null);
    const next = new Set(left.flatMap(delivery => this.#lane(delivery).slice(0, 1)));
    const isDue = ({ dueAt, message }: ModelDelivery) =>
      dueAt !== null && dueAt <= this.#now() && !this.paused.has(message.topic);
    return [...next].filter(isDue).map(delivery => this.#lease(delivery, claim));
  }

  pause(topic: string): void {
    this.paused.add(topic);
  }

  resume(topic: string): void {
    this.paused.delete(topic);
    this.unparkReady();
  }

  unparkReady(): void {
    for (const delivery of this.deliveries) {
      if (!delivery.isParked || this.paused.has(delivery.message.topic)) continue;
      delivery.isParked = false;
      delivery.dueAt = delivery.availableAt;
    }
  }

  /** The deliveries of a message, or the one for this consumer. */
  of(message: ModelMessage, consumer?: string): ModelDelivery[] {
    return this.deliveries.filter(
      delivery => delivery.message === message && (consumer === undefined || delivery.subscription?.name === consumer),
    );
  }

  /** The status of the least finished delivery, made or still to be made; undefined if there is none. */
  statusOf(message: ModelMessage): string | undefined {
    const ahead = this.live.filter(subscription => this.ahead(subscription).includes(message));
    return leastFinished([...this.of(message), ...ahead.map(() => ({ status: 'pending' }) as const)]);
  }

  /** Replays what is dead of these. False if none is. */
  replay(deliveries: ModelDelivery[]): boolean {
    const dead = deliveries.filter(({ status }) => status === 'dead');
    for (const delivery of dead) {
      delivery.status = 'pending';
      delivery.generation += 1;
      delivery.attempts = 0;
      delivery.lastError = null;
      delivery.availableAt = this.#now();
      if (delivery.message.key === null) delivery.dueAt = this.#now();
      else {
        delivery.place = 'waiting';
        delivery.dueAt = null;
      }
    }
    for (const delivery of dead) this.#putOldestFirst(delivery);
    return dead.length > 0;
  }

  replayDead(topic: string | undefined, consumer: string | undefined): number {
    // Of several subscriptions that had the name, the latest is meant.
    const subscription = this.subscriptions.findLast(({ name }) => name === consumer);
    const dead = this.deliveries.filter(
      delivery =>
        delivery.status === 'dead' &&
        (topic === undefined || delivery.message.topic === topic) &&
        (consumer === undefined || (subscription !== undefined && delivery.subscription === subscription)),
    );
    this.replay(dead);
    return dead.length;
  }

  /** False if one of them is being handled, or all were sent. */
  discard(deliveries: ModelDelivery[]): boolean {
    if (deliveries.some(({ status }) => status === 'processing')) return false;
    if (deliveries.every(({ status }) => status === 'sent')) return false;
    for (const delivery of deliveries) {
      if (isOver(delivery)) continue;
      delivery.status = 'discarded';
      this.#leave(delivery);
    }
    return true;
  }

  /** Ends the leases of these workers; their names say who counts as dead, rightly or not. */
  reclaim(names: ReadonlySet<string>): number {
    const held = this.deliveries.filter(({ heldBy }) => heldBy !== null && names.has(heldBy.name));
    for (const delivery of held) {
      delivery.status = 'pending';
      delivery.heldBy = null;
      delivery.dueAt = delivery.availableAt;
    }
    for (const delivery of held) this.#putOldestFirst(delivery);
    return held.length;
  }

  #register({ from, ...consumer }: ModelConsumer, changed: Set<ModelSubscription>): ModelSubscription {
    const head = this.events.at(-1)?.sequence ?? 0;
    const known = this.live.find(({ name }) => name === consumer.name);
    if (!known) {
      const position = from === 'beginning' ? 0 : head;
      const subscription = { ...consumer, id: undefined, position, isDeleted: false, servers: new Set<string>() };
      this.subscriptions.push(subscription);
      changed.add(subscription);
      return subscription;
    }
    if (String(known.topics) !== String(consumer.topics)) {
      // The new patterns begin where the old ones have nothing more to give.
      const [first] = this.ahead(known);
      known.position = first ? Number(first.sequence) - 1 : head;
      known.topics = consumer.topics;
      known.wants = consumer.wants;
      changed.add(known);
    }
    return known;
  }

  /** Gives what nobody wanted so far to those that want it now. */
  #adopt(subscriptions: ModelSubscription[]): void {
    const isWanted = ({ subscription, status, message }: ModelDelivery) =>
      subscription === null &&
      status !== 'discarded' &&
      subscriptions.some(({ wants }) => wants.includes(message.topic));
    const adopted = this.deliveries.filter(isWanted);
    for (const subscription of subscriptions) {
      for (const { message, availableAt } of adopted) {
        if (subscription.wants.includes(message.topic)) this.#enter(this.#deliver(message, subscription, availableAt));
      }
    }
    this.deliveries = this.deliveries.filter(delivery => !adopted.includes(delivery));
  }

  #deliver(message: ModelMessage, subscription: ModelSubscription | null, availableAt: number): ModelDelivery {
    const state = { status: 'pending', attempts: 0, generation: 1, lastError: null } as const;
    const place = { place: 'nowhere', dueAt: null, isParked: false, heldBy: null } as const;
    const delivery: ModelDelivery = { message, subscription, availableAt, ...state, ...place };
    this.deliveries.push(delivery);
    return delivery;
  }

  #lease(delivery: ModelDelivery, claim: ModelClaim): ModelLease {
    delivery.status = 'processing';
    delivery.attempts += 1;
    delivery.dueAt = this.#now() + LEASE_MS;
    delivery.heldBy = claim;
    const lease = { delivery, claim };
    this.leases.push(lease);
    return lease;
  }

  #unclaim(delivery: ModelDelivery): void {
    delivery.status = delivery.lastError === null ? 'pending' : 'failed';
    delivery.heldBy = null;
  }

  /** Its lease ran out, and meanwhile an older delivery of its lane has come back. */
  #isOvertaking(delivery: ModelDelivery): boolean {
    if (delivery.status !== 'processing' || delivery.place === 'nowhere') return false;
    return this.#lane(delivery)[0] !== delivery;
  }

  /** What is in the lane of a delivery, oldest first. */
  #lane({ message, subscription }: ModelDelivery): ModelDelivery[] {
    return this.deliveries.filter(
      other => other.message.key === message.key && other.subscription === subscription && other.place !== 'nowhere',
    );
  }

  /** The oldest delivery of a lane is its head, unless one is being handled. */
  #putOldestFirst(delivery: ModelDelivery): void {
    const lane = this.#lane(delivery);
    const [oldest] = lane;
    if (!oldest || oldest.place === 'head' || lane.some(({ status }) => status === 'processing')) return;
    for (const other of lane.filter(({ place }) => place === 'head')) {
      other.place = 'waiting';
      other.dueAt = null;
      other.isParked = false;
    }
    this.#makeHead(oldest);
  }

  #enter(delivery: ModelDelivery): void {
    const { key } = delivery.message;
    const waits = key !== null && this.#lane(delivery).length > 0;
    delivery.dueAt = waits ? null : delivery.availableAt;
    if (key !== null) delivery.place = waits ? 'waiting' : 'head';
  }

  #leave(delivery: ModelDelivery): void {
    const wasHead = delivery.place === 'head';
    delivery.place = 'nowhere';
    delivery.dueAt = null;
    delivery.isParked = false;
    const [next] = wasHead ? this.#lane(delivery) : [];
    if (next) this.#makeHead(next);
  }

  #makeHead(delivery: ModelDelivery): void {
    delivery.place = 'head';
    // A dead one blocks its lane again.
    delivery.dueAt = delivery.status === 'dead' ? null : Math.max(delivery.availableAt, this.#now());
  }
}

/** The status of the least finished of these; undefined if there are none. */
export function leastFinished(deliveries: Pick<ModelDelivery, 'status'>[]): string | undefined {
  return BY_PROGRESS.find(progress => deliveries.some(({ status }) => status === progress));
}

function isOver({ status }: ModelDelivery): boolean {
  return status === 'sent' || status === 'discarded';
}

function byName(a: ModelSubscription, b: ModelSubscription): number {
  return a.name < b.name ? -1 : 1;
}

import type { Outcome } from '../../src/outbox/outcome.ts';
import type { MessageStatus } from '../../src/outbox/schemas.ts';

export const LEASE_MS = 1000;
export const MAX_ATTEMPTS = 3;

/** A message as the contract describes it. The store's rows must say the same. */
export interface ModelMessage {
  id: string;
  topic: string;
  key: string | null;
  consumer: string | null;
  status: MessageStatus;
  attempts: number;
  generation: number;
  availableAt: number;
  lastError: string | null;
  /** Where it is in its lane. Without a key, and once the lane has let it go, it is nowhere. */
  place: 'head' | 'waiting' | 'nowhere';
  /** From when on a claim takes it; null if it waits for anything but the time, or for nothing any more. */
  dueAt: number | null;
  parkedFor: 'handler' | 'resume' | null;
  /** The claim that holds it. */
  heldBy: ModelClaim | null;
}

/** One claim that a worker made, under the name it had then. */
export interface ModelClaim {
  worker: number;
  name: string;
}

/** What a worker got from a claim. It keeps it when the lease is lost, because it cannot know. */
export interface ModelDelivery {
  message: ModelMessage;
  claim: ModelClaim;
}

/** The outbox in memory: lanes as lists of messages, and no statements. Times are epoch milliseconds. */
export class OutboxModel {
  /** In the order in which they were published. */
  readonly messages: ModelMessage[] = [];
  deliveries: ModelDelivery[] = [];
  readonly paused = new Set<string>();
  /** The names of the workers; one that starts again gets a new one. */
  readonly names: string[];
  /** The names of those that have died. */
  readonly dead = new Set<string>();
  /** How many were marked sent, without those that were split up among consumers. */
  sent = 0;
  /** How far the wall clock of the workers is ahead. Milliseconds. */
  skew = 0;
  readonly #now: () => number;

  constructor(now: () => number, names: string[]) {
    this.#now = now;
    this.names = [...names];
  }

  publish(content: Pick<ModelMessage, 'id' | 'topic' | 'key' | 'consumer'>, availableAt = this.#now()): ModelMessage {
    const message: ModelMessage = {
      ...content,
      status: 'pending',
      attempts: 0,
      generation: 1,
      availableAt,
      lastError: null,
      place: 'nowhere',
      dueAt: null,
      parkedFor: null,
      heldBy: null,
    };
    this.messages.push(message);
    this.#enter(message);
    return message;
  }

  /** Those that a claim would take now, whether their topic is paused or not: the longest waiting first. */
  due(): ModelMessage[] {
    const isDue = ({ dueAt }: ModelMessage) => dueAt !== null && dueAt <= this.#now();
    // The sort is stable: of two that became due together, the older one comes first.
    return this.messages.filter(isDue).sort((a, b) => Number(a.dueAt) - Number(b.dueAt));
  }

  /** The deliveries of one claim, in the order of publication. */
  claim(limit: number, worker: number): ModelDelivery[] {
    const claim: ModelClaim = { worker, name: this.names[worker] ?? '' };
    const deliveries: ModelDelivery[] = [];
    for (let due = this.due(); deliveries.length < limit && due.length > 0; due = this.due()) {
      for (const message of due.slice(0, limit - deliveries.length)) {
        if (this.#isOvertaking(message)) {
          message.status = message.lastError === null ? 'pending' : 'failed';
          message.heldBy = null;
          message.dueAt = message.availableAt;
          this.#putOldestFirst(message);
          continue;
        }
        if (this.paused.has(message.topic)) {
          message.status = message.lastError === null ? 'pending' : 'failed';
          message.heldBy = null;
          park(message, 'resume');
          continue;
        }
        message.status = 'processing';
        message.attempts += 1;
        message.dueAt = this.#now() + LEASE_MS;
        message.heldBy = claim;
        deliveries.push({ message, claim });
      }
    }
    deliveries.sort((a, b) => this.messages.indexOf(a.message) - this.messages.indexOf(b.message));
    this.deliveries.push(...deliveries);
    return deliveries;
  }

  holds({ message, claim }: ModelDelivery): boolean {
    return message.heldBy === claim;
  }

  renew(deliveries: ModelDelivery[]): ModelDelivery[] {
    const held = deliveries.filter(delivery => this.holds(delivery));
    for (const { message } of held) message.dueAt = this.#now() + LEASE_MS;
    return held;
  }

  settle(delivery: ModelDelivery, outcome: Outcome): boolean {
    if (!this.holds(delivery)) return false;
    const { message } = delivery;
    message.heldBy = null;
    if ('error' in outcome) message.lastError = outcome.error;
    switch (outcome.kind) {
      case 'sent':
      case 'routed':
        message.status = 'sent';
        message.lastError = null;
        this.#leave(message);
        if (outcome.kind === 'sent') this.sent += 1;
        else for (const consumer of outcome.consumers) this.#split(message, consumer);
        break;
      case 'dead':
        message.status = 'dead';
        message.attempts = Math.min(message.attempts, MAX_ATTEMPTS);
        if (outcome.blocks) message.dueAt = null;
        else this.#leave(message);
        break;
      case 'retry':
        message.status = 'failed';
        message.availableAt = this.#now() + outcome.delayMs;
        message.dueAt = message.availableAt;
        break;
      case 'postponed':
        message.status = 'failed';
        message.attempts -= 1;
        message.availableAt = outcome.until - this.skew;
        message.dueAt = message.availableAt;
        break;
      case 'unhandled':
        message.status = 'failed';
        message.attempts -= 1;
        park(message, 'handler');
        break;
      case 'released':
        message.status = 'pending';
        message.attempts -= 1;
        message.dueAt = this.#now();
        break;
    }
    this.#putOldestFirst(message);
    return true;
  }

  pause(topic: string): void {
    this.paused.add(topic);
  }

  resume(topic: string): void {
    this.paused.delete(topic);
    this.#unpark(message => message.parkedFor === 'resume' && message.topic === topic);
  }

  unparkReady(isHandled: (topic: string) => boolean): void {
    this.#unpark(({ parkedFor, topic }) => (parkedFor === 'handler' ? isHandled(topic) : !this.paused.has(topic)));
  }

  /** False if only a dead message could be replayed. */
  replay(message: ModelMessage): boolean {
    if (message.status !== 'dead') return false;
    message.status = 'pending';
    message.generation += 1;
    message.attempts = 0;
    message.lastError = null;
    message.availableAt = this.#now();
    if (message.key === null) message.dueAt = this.#now();
    else {
      message.place = 'waiting';
      message.dueAt = null;
      this.#putOldestFirst(message);
    }
    return true;
  }

  replayDead(topic: string | undefined): number {
    const dead = this.messages.filter(message => message.status === 'dead' && (!topic || message.topic === topic));
    return dead.filter(message => this.replay(message)).length;
  }

  /** False if the message is in a status in which it cannot be discarded. */
  discard(message: ModelMessage): boolean {
    if (message.status === 'processing' || message.status === 'sent') return false;
    message.status = 'discarded';
    this.#leave(message);
    return true;
  }

  /** A worker dies with all it had and starts again under another name. */
  restart(worker: number, name: string): void {
    this.dead.add(this.names[worker] ?? '');
    this.names[worker] = name;
    this.deliveries = this.deliveries.filter(({ claim }) => claim.worker !== worker);
  }

  /** Ends the leases of these workers; their names say who counts as dead, rightly or not. */
  reclaim(names: ReadonlySet<string>): number {
    const held = this.messages.filter(({ heldBy }) => heldBy !== null && names.has(heldBy.name));
    for (const message of held) {
      message.status = 'pending';
      message.heldBy = null;
      message.dueAt = message.availableAt;
      this.#putOldestFirst(message);
    }
    return held.length;
  }

  /** Its lease ran out, and meanwhile an older message of its lane has come back. */
  #isOvertaking(message: ModelMessage): boolean {
    if (message.status !== 'processing' || message.key === null) return false;
    const [oldest] = this.#lane(message, 'waiting');
    return oldest !== undefined && this.messages.indexOf(oldest) < this.messages.indexOf(message);
  }

  #lane({ key, consumer }: ModelMessage, place: ModelMessage['place']): ModelMessage[] {
    return this.messages.filter(other => other.key === key && other.consumer === consumer && other.place === place);
  }

  /** The oldest message of a lane is its head, unless one is being handled. */
  #putOldestFirst({ key, consumer }: ModelMessage): void {
    const inLane = this.messages.filter(
      other => other.key === key && other.consumer === consumer && other.place !== 'nowhere',
    );
    const [oldest] = inLane;
    if (!oldest || oldest.place === 'head' || inLane.some(({ status }) => status === 'processing')) return;
    for (const message of inLane.filter(({ place }) => place === 'head')) {
      message.place = 'waiting';
      message.dueAt = null;
      message.parkedFor = null;
    }
    this.#makeHead(oldest);
  }

  #enter(message: ModelMessage): void {
    const waits = message.key !== null && this.#lane(message, 'head').length > 0;
    message.dueAt = waits ? null : message.availableAt;
    if (message.key !== null) message.place = waits ? 'waiting' : 'head';
  }

  #leave(message: ModelMessage): void {
    const wasHead = message.place === 'head';
    message.place = 'nowhere';
    message.dueAt = null;
    message.parkedFor = null;
    if (wasHead) this.#promote(message);
  }

  #promote(message: ModelMessage): void {
    const [next] = this.#lane(message, 'waiting');
    if (next) this.#makeHead(next);
  }

  #makeHead(message: ModelMessage): void {
    message.place = 'head';
    // A dead one blocks its lane again.
    message.dueAt = message.status === 'dead' ? null : Math.max(message.availableAt, this.#now());
  }

  #split({ id, topic, key }: ModelMessage, consumer: string): void {
    this.publish({ id: `${id}~${consumer}`, topic, key, consumer });
  }

  #unpark(isFreed: (message: ModelMessage) => boolean): void {
    for (const message of this.messages.filter(({ parkedFor }) => parkedFor !== null)) {
      if (!isFreed(message)) continue;
      message.parkedFor = null;
      message.dueAt = message.availableAt;
    }
  }
}

function park(message: ModelMessage, reason: 'handler' | 'resume'): void {
  message.parkedFor = reason;
  message.dueAt = null;
}

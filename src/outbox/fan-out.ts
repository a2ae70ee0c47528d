import type { Tx } from '../db/database.ts';
import { eventTopic, messageKeyOf } from '../events/envelope.ts';
import type { EventLog, EventOutline } from '../events/service.ts';
import type { Subscriptions } from '../subscriptions/service.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import { type Lane, takenLanes } from './lane-repository.ts';
import { type Claim, type EventDelivery, insertEventDeliveries } from './lease-repository.ts';
import type { LeasedRow } from './leased-delivery.ts';

interface Dependencies {
  events: Pick<EventLog, 'outlines'>;
  subscriptions: Pick<Subscriptions, 'own' | 'current' | 'move'>;
}

/** Events that one fan-out reads for the subscriptions at one place. */
const EVENTS_READ = 500;
/** Deliveries that one fan-out inserts, up to the next end of an event. */
const ROWS_INSERTED = 1000;
/** Places in the log that one fan-out serves; the next one goes on with the others. */
const PLACES = 4;
/** Without a match, a position is stored after so many events at the latest. */
const STORED_EVERY = 1000;

/** How far this process has looked through the log for a subscription that is stored with this position and these topics. */
interface Looked extends Pick<Subscription, 'position' | 'topics'> {
  upTo: number;
}

/** Subscriptions that stand at one place in the log. */
interface Group {
  from: number;
  subscriptions: Subscription[];
}

/** A delivery that may be inserted. */
interface Candidate {
  subscription: Subscription;
  event: EventOutline;
  topic: string;
  message_key: string;
}

/**
 * Moves the subscriptions of this process along the log and inserts the deliveries of their events, in order. A delivery
 * that heads its lane is leased at once while there is room. Deliveries and positions commit together.
 */
export function createFanOut({ events, subscriptions }: Dependencies) {
  /** By subscription: events without a match move no stored position. */
  const looked = new Map<number, Looked>();
  /** Where the next fan-out begins among the places, so that none waits for the others. */
  let turn = 0;

  /**
   * The subscriptions by the place from which they go on. Their stored patterns count: another process may have changed
   * them since this one registered them.
   */
  async function groups(tx: Tx): Promise<Group[]> {
    if (subscriptions.own.length === 0) return [];
    const ids = subscriptions.own.map(({ subscription_id }) => subscription_id);
    const byPlace = new Map<number, Subscription[]>();
    for (const subscription of await subscriptions.current(tx, ids)) {
      const { subscription_id, position, topics, eventTypes } = subscription;
      if (eventTypes.size === 0) continue;
      const known = looked.get(subscription_id);
      const from = known?.position === position && known.topics === topics ? known.upTo : position;
      byPlace.set(from, [...(byPlace.get(from) ?? []), subscription]);
    }
    return [...byPlace].map(([from, subscriptions]) => ({ from, subscriptions }));
  }

  /** Stores how far a group has been looked through for, where that is needed, and remembers it. */
  function move(tx: Tx, { subscriptions: group }: Group, upTo: number, given: ReadonlySet<number>): void {
    const toStore = group.filter(
      ({ subscription_id, position }) => given.has(subscription_id) || upTo - position >= STORED_EVERY,
    );
    const ids = toStore.map(({ subscription_id }) => subscription_id);
    if (ids.length > 0) subscriptions.move(tx, ids, upTo);
    tx.afterCommit(() => {
      for (const subscription of group) {
        const position = toStore.includes(subscription) ? upTo : subscription.position;
        looked.set(subscription.subscription_id, { position, topics: subscription.topics, upTo });
      }
    });
  }

  /** Inserts the deliveries of the next events of a group, up to `most` heads, of which the first `free` are leased. */
  async function advance(
    tx: Tx,
    group: Group,
    claim: Claim,
    room: { free: number; most: number },
    pausedTopics: () => Promise<ReadonlySet<string>>,
  ): Promise<{ leased: LeasedRow[]; heads: number; more: boolean }> {
    const outlines = await events.outlines(tx, group.from, EVENTS_READ);
    const last = outlines.at(-1);
    if (!last) return { leased: [], heads: 0, more: false };
    const { candidates, upTo } = candidatesOf(group, outlines);
    const paused: ReadonlySet<string> = candidates.length > 0 ? await pausedTopics() : new Set();
    const { rows, heads, stoppedAt } = await place(tx, candidates, { ...room, paused });
    const reached = stoppedAt ?? upTo;
    const leased = await insertEventDeliveries(tx, rows, claim);
    move(tx, group, reached, new Set(rows.map(row => row.subscription_id)));
    return { leased, heads, more: reached < last.sequence || outlines.length === EVENTS_READ };
  }

  return {
    /**
     * Inserts deliveries of the next events, and answers the ones that it leases.
     * @param claim `limit`: how many heads of lanes it inserts at most; it leases the first `free` of them
     * @returns `more`: it has not reached the end of the log, or has left heads that there was room for
     */
    async run(
      tx: Tx,
      claim: Claim,
      free: number,
      pausedTopics: () => Promise<ReadonlySet<string>>,
    ): Promise<{ leased: LeasedRow[]; more: boolean }> {
      const all = await groups(tx);
      const start = all.length > PLACES ? turn++ % all.length : 0;
      const chosen = [...all.slice(start), ...all.slice(0, start)].slice(0, PLACES);
      const leased: LeasedRow[] = [];
      let more = chosen.length < all.length;
      let heads = 0;
      for (const [index, group] of chosen.entries()) {
        const share = (left: number) => Math.ceil(left / (chosen.length - index));
        const room = { free: share(free - leased.length), most: Math.max(1, share(claim.limit)) };
        const moved = await advance(tx, group, claim, room, pausedTopics);
        leased.push(...moved.leased);
        heads += moved.heads;
        more ||= moved.more;
      }
      // A place may have had no use for its share of the room.
      more ||= leased.length < Math.min(free, heads);
      return { leased, more };
    },
  };
}

/** The deliveries of these events, in their order, up to a bound. `upTo`: the last event that is complete. */
function candidatesOf(group: Group, outlines: EventOutline[]): { candidates: Candidate[]; upTo: number } {
  const candidates: Candidate[] = [];
  let upTo = group.from;
  for (const event of outlines) {
    if (candidates.length >= ROWS_INSERTED) break;
    const topic = eventTopic(event.event_type);
    const message_key = messageKeyOf(event);
    for (const subscription of group.subscriptions) {
      if (subscription.matches(topic)) candidates.push({ subscription, event, topic, message_key });
    }
    upTo = event.sequence;
  }
  return { candidates, upTo };
}

/**
 * Decides which deliveries head their lanes, and which of them are leased. It stops at the end of the event after which
 * there are `most` heads.
 */
async function place(
  tx: Tx,
  candidates: Candidate[],
  { free, most, paused }: { free: number; most: number; paused: ReadonlySet<string> },
): Promise<{ rows: EventDelivery[]; heads: number; stoppedAt: number | undefined }> {
  const lanes = new Map(candidates.map(candidate => [nameOf(laneOf(candidate)), laneOf(candidate)]));
  const taken = new Set((await takenLanes(tx, [...lanes.values()])).map(nameOf));
  const rows: EventDelivery[] = [];
  let heads = 0;
  let leases = 0;
  let last: number | undefined;
  for (const candidate of candidates) {
    const { event, topic } = candidate;
    if (heads >= most && event.sequence !== last) return { rows, heads, stoppedAt: event.sequence - 1 };
    last = event.sequence;
    const lane = laneOf(candidate);
    const isHead = !taken.has(nameOf(lane));
    taken.add(nameOf(lane));
    const isParked = isHead && paused.has(topic);
    const isLeased = isHead && !isParked && leases < free;
    if (isHead && !isParked) heads += 1;
    if (isLeased) leases += 1;
    const flags = { head: flag(isHead), leased: flag(isLeased), parked: flag(isParked) };
    rows.push({ ...lane, event_sequence: event.sequence, topic, created_at: event.occurred_at, ...flags });
  }
  return { rows, heads, stoppedAt: undefined };
}

function laneOf({ subscription, message_key }: Candidate): Lane {
  return { subscription_id: subscription.subscription_id, message_key };
}

function nameOf({ subscription_id, message_key }: Lane): string {
  return `${subscription_id} ${message_key}`;
}

function flag(is: boolean): 0 | 1 {
  return is ? 1 : 0;
}

import type { Tx } from '../db/database.ts';
import { eventTopic, messageKeyOf } from '../events/envelope.ts';
import type { EventLog, EventOutline } from '../events/service.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import { isInScope, type Subscription } from '../subscriptions/subscription.ts';
import { type Claim, type EventDelivery, insertEventDeliveries, type Lane, takenLanes } from './delivery-repository.ts';
import type { Room } from './delivery-service.ts';
import type { LeasedRow } from './leased-delivery.ts';

interface Dependencies {
  events: Pick<EventLog, 'latest' | 'outlines'>;
  subscriptions: Pick<SubscriptionService, 'own' | 'current' | 'move'>;
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

/** A group, and what comes next in the log. */
interface Ahead extends Group {
  outlines: EventOutline[];
}

/** What one fan-out has read: some groups, and whether there are others. */
interface LookAhead {
  groups: Ahead[];
  others: boolean;
}

/** The deliveries that a fan-out inserts, and the groups that it moves. */
interface Placed {
  rows: EventDelivery[];
  moves: { group: Group; upTo: number; given: ReadonlySet<number> }[];
  /** It does not reach the end of the log, or leaves heads that there was room for. */
  more: boolean;
}

interface Candidates {
  candidates: Candidate[];
  /** The last event that is complete. */
  upTo: number;
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
  function move(tx: Tx, { group: { subscriptions: group }, upTo, given }: Placed['moves'][number]): void {
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

  return {
    /** Reads what comes next in the log for some of the subscriptions. */
    async lookAhead(tx: Tx): Promise<LookAhead> {
      const [all, latest] = await Promise.all([groups(tx), events.latest(tx)]);
      const start = all.length > PLACES ? turn++ % all.length : 0;
      const chosen = [...all.slice(start), ...all.slice(0, start)].slice(0, PLACES);
      const ahead = chosen.map(async group => {
        const outlines = await events.outlines(tx, group.from, EVENTS_READ);
        return { ...group, outlines: outlines.filter(({ sequence }) => sequence <= latest) };
      });
      return { groups: await Promise.all(ahead), others: chosen.length < all.length };
    },

    /**
     * Decides which deliveries of the next events to insert, which of them head their lanes and which are leased at once.
     * @param most how many heads to insert at most, and how many of them to lease
     * @param room of each subscription; heads beyond it count as no heads, since nothing waits for them
     */
    async place(
      tx: Tx,
      { groups, others }: LookAhead,
      most: { free: number; most: number },
      room: Room,
      paused: ReadonlySet<string>,
    ): Promise<Placed> {
      const all = groups.map(group => candidatesOf(group, group.outlines));
      const taken = await namesOfTaken(tx, all);
      const placed: Placed = { rows: [], moves: [], more: others };
      let heads = 0;
      let leases = 0;
      for (const [index, group] of groups.entries()) {
        const last = group.outlines.at(-1);
        if (!last) continue;
        const share = (left: number) => Math.ceil(left / (groups.length - index));
        const own = { free: share(most.free - leases), most: Math.max(1, share(most.most)) };
        const { candidates, upTo } = all[index] as Candidates;
        const { rows, heads: more, stoppedAt } = placeGroup(candidates, taken, { paused, room }, own);
        const reached = stoppedAt ?? upTo;
        placed.rows.push(...rows);
        placed.moves.push({ group, upTo: reached, given: new Set(rows.map(row => row.subscription_id)) });
        placed.more ||= reached < last.sequence || group.outlines.length === EVENTS_READ;
        heads += more;
        leases += rows.filter(row => row.leased === 1).length;
      }
      // A place may have had no use for its share of the room.
      placed.more ||= leases < Math.min(most.free, heads);
      return placed;
    },

    /** Inserts these deliveries and moves the subscriptions; answers the deliveries that are leased. */
    async insert(tx: Tx, { rows, moves }: Placed, claim: Claim): Promise<LeasedRow[]> {
      const inserting = insertEventDeliveries(tx, rows, claim);
      for (const one of moves) move(tx, one);
      return inserting;
    },
  };
}

/** The deliveries of these events, in their order, up to a bound. */
function candidatesOf(group: Group, outlines: EventOutline[]): Candidates {
  const candidates: Candidate[] = [];
  let upTo = group.from;
  for (const event of outlines) {
    if (candidates.length >= ROWS_INSERTED) break;
    upTo = event.sequence;
    if (event.erased === 1) continue;
    const topic = eventTopic(event.event_type);
    const message_key = messageKeyOf(event);
    for (const subscription of group.subscriptions) {
      if (subscription.matches(topic) && isInScope(subscription, event))
        candidates.push({ subscription, event, topic, message_key });
    }
  }
  return { candidates, upTo };
}

/** Which lanes of these deliveries are taken. */
async function namesOfTaken(tx: Tx, all: Candidates[]): Promise<Set<string>> {
  const lanes = new Map<string, Lane>();
  for (const { candidates } of all) for (const one of candidates) lanes.set(nameOf(laneOf(one)), laneOf(one));
  return new Set((await takenLanes(tx, [...lanes.values()])).map(nameOf));
}

/**
 * Decides which deliveries head their lanes, and which of them are leased. It stops at the end of the event after which
 * there are `most` heads.
 * @param taken names of lanes; those of the deliveries join it
 */
function placeGroup(
  candidates: Candidate[],
  taken: Set<string>,
  { paused, room }: { paused: ReadonlySet<string>; room: Room },
  { free, most }: { free: number; most: number },
): { rows: EventDelivery[]; heads: number; stoppedAt: number | undefined } {
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
    const hasRoom = isHead && !isParked && room.left(lane.subscription_id) > 0;
    const isLeased = hasRoom && leases < free;
    if (hasRoom) heads += 1;
    if (isLeased) {
      leases += 1;
      room.take(lane.subscription_id);
    }
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

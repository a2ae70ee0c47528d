import type { Clock } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import { type Page, readPage } from '../db/cursors.ts';
import type { Database, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import { eventTopic, messageKeyOf } from '../events/envelope.ts';
import type { EventLog, EventOutline } from '../events/service.ts';
import { isInScope, type Subscription } from '../subscriptions/subscription.ts';
import { insertEventDeliveries, takenLanes } from './delivery-repository.ts';
import { requeue, retryNow } from './lane-repository.ts';
import type { DeliveryRow } from './leased-delivery.ts';
import { readContents, withoutTexts } from './message.ts';
import { DROPPED } from './outcome.ts';
import { deliveriesOfEvents, findDelivery, listNewest } from './repository.ts';
import type { MessageStatus } from './schemas.ts';

interface Dependencies {
  db: Pick<Database, 'read'>;
  clock: Clock;
  events: Pick<EventLog, 'carried' | 'outlines'>;
  commits: Pick<CommitNotifier, 'notify'>;
}

/** A delivery, and the id of the message that it carries. */
export interface LoggedDelivery {
  row: DeliveryRow;
  message_id: string;
}

/** A part of the log. */
export interface ReplayRange {
  after: number;
  upTo: number;
  /** Only events that were neither sent nor dropped. */
  missing: boolean;
}

export type Redelivery = ReturnType<typeof createRedelivery>;

/** Events that one step of a replay looks at. */
const EVENTS_READ = 200;
/** Failed deliveries that are made due at once; each had failed before the circuit of their webhook opened, or as a probe. */
const RETRIED = 1000;
const ENDED: readonly MessageStatus[] = ['sent', 'dead', 'discarded'];

/** The deliveries of one subscription: lists them, and delivers events to it again. */
export function createRedelivery({ db, clock, events, commits }: Dependencies) {
  /** Inserts deliveries of events that the subscription has none of, behind what it has. */
  async function insert(tx: Tx, subscription_id: number, outlines: EventOutline[]): Promise<void> {
    const lanes = outlines.map(event => ({ subscription_id, message_key: messageKeyOf(event) }));
    const taken = new Set((await takenLanes(tx, lanes)).map(lane => lane.message_key));
    const rows = outlines.map(event => {
      const message_key = messageKeyOf(event);
      const head: 0 | 1 = taken.has(message_key) ? 0 : 1;
      taken.add(message_key);
      const content = { event_sequence: event.sequence, topic: eventTopic(event.event_type), message_key };
      const flags = { head, leased: 0, parked: 0 } as const;
      return { subscription_id, ...content, created_at: event.occurred_at, ...flags };
    });
    await insertEventDeliveries(tx, rows, { limit: 0, lease_token: '', leased_by: '', leaseMs: 0, now: clock.now() });
  }

  return {
    /** The deliveries of a subscription, newest first. @throws Refusal INVALID_CURSOR */
    list(
      subscription_id: number,
      page: { limit: number; cursor?: string | undefined },
      filter: { status?: MessageStatus | undefined; topic?: string | undefined },
    ): Promise<Page<LoggedDelivery>> {
      return readPage({
        list: `deliveries of ${subscription_id}`,
        ...{ cursor: page.cursor, limit: page.limit, shape: [0] },
        read: (from, count) => listNewest(db.read, { ...filter, subscription_id, before: from?.[0] }, count),
        keyOf: row => [row.position],
        views: async rows => {
          const contentOf = await readContents(events, db.read, rows);
          return rows.map(row => {
            const { message_id, erased } = contentOf(row);
            return { row: erased ? withoutTexts(row) : row, message_id };
          });
        },
      });
    },

    /**
     * Makes a delivery that has ended pending again, in its old place.
     * @throws Refusal DELIVERY_NOT_FOUND, MESSAGE_STATUS_CONFLICT
     */
    async one(tx: Tx, subscription_id: number, position: number): Promise<DeliveryRow> {
      const row = await findDelivery(tx, position);
      if (row?.subscription_id !== subscription_id) {
        throw new Refusal('DELIVERY_NOT_FOUND', 'The webhook has no such delivery.');
      }
      if (!ENDED.includes(row.status)) {
        throw new Refusal('MESSAGE_STATUS_CONFLICT', `The delivery is ${row.status}: it has not ended.`, {
          message_status: row.status,
        });
      }
      requeue(tx, [row], clock.now());
      tx.afterCommit(() => commits.notify('message'));
      return row;
    },

    /** Tries what has failed again at once, from the first attempt on. */
    retryNow: (tx: Tx, subscription_id: number): void => retryNow(tx, subscription_id, RETRIED),

    /** Delivers the next events of a range again. @returns the sequence that it has reached */
    async step(tx: Tx, subscription: Subscription, { after, upTo, missing }: ReplayRange): Promise<number> {
      const { subscription_id, position } = subscription;
      const outlines = await events.outlines(tx, after, EVENTS_READ);
      const last = outlines.length < EVENTS_READ ? upTo : (outlines.at(-1)?.sequence ?? upTo);
      const wanted = outlines.filter(
        event =>
          event.sequence <= upTo &&
          event.erased === 0 &&
          subscription.matches(eventTopic(event.event_type)) &&
          isInScope(subscription, event),
      );
      const known = await deliveriesOfEvents(
        tx,
        subscription_id,
        wanted.map(event => event.sequence),
      );
      const bySequence = new Map(known.map(row => [row.event_sequence, row]));
      const again = [...bySequence.values()].filter(
        ({ status, last_error }) =>
          ENDED.includes(status) && !(missing && (status === 'sent' || last_error?.startsWith(DROPPED))),
      );
      if (again.length > 0) requeue(tx, again, clock.now());
      // Those beyond its position are still to come by themselves.
      const unknown = wanted.filter(({ sequence }) => sequence <= position && !bySequence.has(sequence));
      if (unknown.length > 0) await insert(tx, subscription_id, unknown);
      if (again.length + unknown.length > 0) tx.afterCommit(() => commits.notify('message'));
      return Math.min(last, upTo);
    },
  };
}

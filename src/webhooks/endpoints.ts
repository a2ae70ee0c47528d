import type { Database } from '../db/database.ts';
import type { LeasedDelivery, RoomOf } from '../outbox/leased-delivery.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import { listWebhooks, probeNow, type WebhookRow } from './repository.ts';

/** Deliveries of one webhook that a process sends at once. */
const SLOTS = 8;

interface Dependencies {
  db: Pick<Database, 'read'>;
  subscriptions: Pick<SubscriptionService, 'all' | 'current' | 'move'>;
}

/**
 * The enabled webhooks as this process knows them. It claims for each only as much as it may send at once. So the
 * backlog of a failing or slow endpoint costs the others nothing.
 */
export function createEndpoints({ db, subscriptions }: Dependencies) {
  let own: Subscription[] = [];
  let rows: WebhookRow[] = [];
  /** By subscription, while the circuit is open: whether its probe is due. */
  let probes = new Map<number, boolean>();

  return {
    get own(): readonly Subscription[] {
      return own;
    },
    /** All webhooks, disabled ones included. */
    get rows(): readonly WebhookRow[] {
      return rows;
    },
    current: subscriptions.current,
    move: subscriptions.move,

    /** Reads the webhooks again. */
    async refresh(): Promise<void> {
      const [all, found, now] = await Promise.all([
        subscriptions.all(db.read),
        listWebhooks(db.read),
        probeNow(db.read),
      ]);
      rows = found;
      own = all.filter(({ kind, topics }) => kind === 'webhook' && topics.length > 0);
      probes = new Map(
        rows.flatMap(({ subscription_id, probe_at }) =>
          probe_at === null ? [] : [[subscription_id, probe_at <= now] as const],
        ),
      );
    },

    /** How many more deliveries of each webhook may be claimed. An open circuit lets one through when a probe is due. */
    roomBeside(held: readonly LeasedDelivery[]): RoomOf {
      const counts = new Map<number, number>();
      for (const { row } of held) counts.set(row.subscription_id, (counts.get(row.subscription_id) ?? 0) + 1);
      return id => {
        const isDue = probes.get(id);
        const slots = isDue === undefined ? SLOTS : Number(isDue);
        return Math.max(0, slots - (counts.get(id) ?? 0));
      };
    },
  };
}

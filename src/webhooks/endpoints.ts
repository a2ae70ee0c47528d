import type { Clock } from '../clock.ts';
import type { Database } from '../db/database.ts';
import type { LeasedDelivery, RoomOf } from '../outbox/leased-delivery.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import type { Subscription } from '../subscriptions/subscription.ts';
import { listWebhooks, type WebhookRow } from './repository.ts';

/** Deliveries of one webhook that a process sends at once. */
const SLOTS = 8;

interface Dependencies {
  db: Pick<Database, 'read'>;
  clock: Clock;
  subscriptions: Pick<SubscriptionService, 'all' | 'current' | 'move'>;
}

/**
 * The enabled webhooks as this process knows them. It claims for each only as much as it may send at once. So the
 * backlog of a failing or slow endpoint costs the others nothing.
 */
export function createEndpoints({ db, clock, subscriptions }: Dependencies) {
  let own: Subscription[] = [];
  let rows: WebhookRow[] = [];
  /** By subscription: when the next probe is due; null while the circuit is closed. */
  let probes = new Map<number, number | null>();

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
      const [all, found] = await Promise.all([subscriptions.all(db.read), listWebhooks(db.read)]);
      rows = found;
      own = all.filter(({ kind, topics }) => kind === 'webhook' && topics.length > 0);
      probes = new Map(rows.map(({ subscription_id, probe_at }) => [subscription_id, probe_at]));
    },

    /** How many more deliveries of each webhook may be claimed. An open circuit lets one through when a probe is due. */
    roomBeside(held: readonly LeasedDelivery[]): RoomOf {
      const counts = new Map<number, number>();
      for (const { row } of held) counts.set(row.subscription_id, (counts.get(row.subscription_id) ?? 0) + 1);
      const now = clock.now();
      return id => {
        const probe = probes.get(id) ?? null;
        const slots = probe === null ? SLOTS : probe <= now ? 1 : 0;
        return Math.max(0, slots - (counts.get(id) ?? 0));
      };
    },
  };
}

import type { Database } from '../db/database.ts';
import type { Redelivery } from '../outbox/redelivery.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import { deleteReplay, moveReplay, nextReplay } from './repository.ts';

interface Dependencies {
  db: Pick<Database, 'read' | 'write'>;
  subscriptions: Pick<SubscriptionService, 'current'>;
  redelivery: Pick<Redelivery, 'step'>;
}

/** Makes the job that works off the replays that were asked for, step by step. How far it is commits with each step. */
export function createReplays({ db, subscriptions, redelivery }: Dependencies) {
  return async (): Promise<void> => {
    while (await nextReplay(db.read)) {
      await db.write(async tx => {
        const replay = await nextReplay(tx);
        if (!replay) return;
        const { number, subscription_id, after_sequence: after, up_to: upTo, missing } = replay;
        const [subscription] = await subscriptions.current(tx, [subscription_id]);
        const reached = subscription
          ? await redelivery.step(tx, subscription, { after, upTo, missing: missing === 1 })
          : upTo;
        if (reached < upTo) await moveReplay(tx, number, reached);
        else await deleteReplay(tx, number);
      });
    }
  };
}

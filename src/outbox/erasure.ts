import type { Clock } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import type { Tx } from '../db/database.ts';
import { promoteNext } from './delivery-repository.ts';
import { deliveriesAt, deliveriesOf, eraseDeliveries, eraseMessages, messagesAbout } from './erasure-repository.ts';
import type { DeliveryRow } from './leased-delivery.ts';
import { ERASED_PAYLOAD } from './message.ts';

export type OutboxErasure = ReturnType<typeof createOutboxErasure>;

interface Dependencies {
  clock: Clock;
  commits: Pick<CommitNotifier, 'notify'>;
}

/**
 * Erases what the outbox has of an erased run. Deliveries that have not ended are discarded, also those that are being
 * handled. Their leases are lost, so nothing that their handlers say is stored.
 */
export function createOutboxErasure({ clock, commits }: Dependencies) {
  async function erase(
    tx: Tx,
    rows: Pick<DeliveryRow, 'position' | 'status' | 'queued' | 'claimable_at' | 'parked'>[],
  ): Promise<void> {
    const heads = rows.filter(
      row => row.queued === 1 && (row.claimable_at !== null || row.parked === 1 || row.status === 'dead'),
    );
    await eraseDeliveries(
      tx,
      rows.map(row => row.position),
      clock.now(),
    );
    const promoted = await promoteNext(
      tx,
      heads.map(row => row.position),
    );
    if (promoted.length > 0) tx.afterCommit(() => commits.notify('claimable'));
  }

  return {
    /** Erases the deliveries of these events. */
    async events(tx: Tx, sequences: number[]): Promise<void> {
      await erase(tx, await deliveriesAt(tx, sequences));
    },

    /** Erases some published messages about a run. @returns how many */
    async messages(tx: Tx, run_id: string, limit: number): Promise<number> {
      const numbers = await messagesAbout(tx, run_id, limit);
      if (numbers.length === 0) return 0;
      await erase(tx, await deliveriesOf(tx, numbers));
      await eraseMessages(tx, numbers, JSON.stringify(ERASED_PAYLOAD));
      return numbers.length;
    },
  };
}

import type { DeliveryService } from '../../src/outbox/delivery-service.ts';
import type { LeasedDelivery } from '../../src/outbox/leased-delivery.ts';
import type { Outcome } from '../../src/outbox/outcome.ts';

/** Settles one delivery by itself; false if its lease had been lost. */
export async function settle(
  deliveries: DeliveryService,
  delivery: LeasedDelivery,
  outcome: Outcome,
): Promise<boolean> {
  const { held } = await deliveries.settle(() => [{ delivery, outcome }]);
  return held[0] as boolean;
}

import type { Deliveries } from '../../src/outbox/delivery-service.ts';
import type { Delivery, Outcome } from '../../src/outbox/leased-delivery.ts';

/** Settles one delivery by itself; false if its lease had been lost. */
export async function settle(deliveries: Deliveries, delivery: Delivery, outcome: Outcome): Promise<boolean> {
  const [held] = await deliveries.settle([{ delivery, outcome }]);
  return held as boolean;
}

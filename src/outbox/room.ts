/** How many more deliveries of a subscription may be leased. */
export type RoomOf = (subscription_id: number) => number;

/** The room of subscriptions during one claim. */
export class Room {
  readonly #of: RoomOf;
  readonly #left = new Map<number, number>();

  constructor(of: RoomOf) {
    this.#of = of;
  }

  left(subscription_id: number): number {
    return this.#left.get(subscription_id) ?? this.#of(subscription_id);
  }

  take(subscription_id: number): void {
    this.#left.set(subscription_id, this.left(subscription_id) - 1);
  }
}

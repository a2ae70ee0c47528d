/*
 * The inbox of one agent in memory, as the contract words it: a list of items, each held by at most one claimant until a
 * time. Times are epoch milliseconds.
 */

export interface ModelItem {
  kind: 'answered' | 'cancelled' | 'message';
  /** The id of the question that ended, or the text of the message. */
  about: string;
  /** Undefined until the service has shown it. */
  item_id: string | undefined;
  holder: string | undefined;
  heldUntil: number;
  isDone: boolean;
}

export class InboxModel {
  /** All that ever came, oldest first. */
  readonly items: ModelItem[] = [];

  add(kind: ModelItem['kind'], about: string): void {
    this.items.push({ kind, about, item_id: undefined, holder: undefined, heldUntil: 0, isDone: false });
  }

  get waiting(): ModelItem[] {
    return this.items.filter(({ isDone }) => !isDone);
  }

  /** Leases the oldest items that nobody else holds. @returns them */
  claim({ claimant, lease_seconds, limit }: Claim, now: number): ModelItem[] {
    const free = this.waiting.filter(({ holder, heldUntil }) => heldUntil <= now || holder === claimant);
    const taken = free.slice(0, limit);
    for (const item of taken) Object.assign(item, { holder: claimant, heldUntil: now + lease_seconds * 1000 });
    return taken;
  }

  /** Ends items, whoever holds them. @returns how many there were */
  acknowledge(items: readonly ModelItem[]): number {
    const there = new Set(items.filter(({ isDone }) => !isDone));
    for (const item of there) item.isDone = true;
    return there.size;
  }
}

export interface Claim {
  claimant: string;
  lease_seconds: number;
  limit: number;
}

import type { Settlement } from '../outbox/outcome.ts';

/** Stores outcomes. Answers for each whether its lease was held; if not, nothing was changed. */
export type StoreOutcomes = (settlements: Settlement[]) => Promise<boolean[]>;

interface Waiting extends Settlement {
  resolve: (held: boolean) => void;
  reject: (error: unknown) => void;
}

/**
 * Batches outcomes: outcomes of the same tick are stored in one call of `store`. If that call fails, each outcome is
 * stored alone, so that one bad outcome does not fail the others.
 */
export function createOutcomeBatcher(store: StoreOutcomes): (settlement: Settlement) => Promise<boolean> {
  let waiting: Waiting[] = [];

  async function storeAll(): Promise<void> {
    const all = waiting;
    waiting = [];
    try {
      const held = await store(all);
      for (const [index, { resolve }] of all.entries()) resolve(held[index] as boolean);
    } catch (error) {
      if (all.length > 1) await Promise.all(all.map(storeAlone));
      else all[0]?.reject(error);
    }
  }

  async function storeAlone({ delivery, outcome, resolve, reject }: Waiting): Promise<void> {
    await store([{ delivery, outcome }]).then(([held]) => resolve(held as boolean), reject);
  }

  return settlement =>
    new Promise((resolve, reject) => {
      waiting.push({ ...settlement, resolve, reject });
      if (waiting.length === 1) queueMicrotask(() => void storeAll());
    });
}

import type { Settlement } from '../outbox/outcome.ts';

/** For each: false if the lease has been lost, and with it the right to change anything. */
export type StoreOutcomes = (settlements: Settlement[]) => Promise<boolean[]>;

interface Waiting extends Settlement {
  stored: (held: boolean) => void;
  failed: (error: unknown) => void;
}

/** Stores outcomes, those of one moment together. */
export function createOutcomeBatcher(store: StoreOutcomes): (settlement: Settlement) => Promise<boolean> {
  let waiting: Waiting[] = [];

  async function storeAll(): Promise<void> {
    const all = waiting;
    waiting = [];
    try {
      const held = await store(all);
      for (const [index, { stored }] of all.entries()) stored(held[index] as boolean);
    } catch (error) {
      // One of them cannot be stored; others among them can.
      if (all.length > 1) await Promise.all(all.map(storeAlone));
      else all[0]?.failed(error);
    }
  }

  async function storeAlone({ delivery, outcome, stored, failed }: Waiting): Promise<void> {
    await store([{ delivery, outcome }]).then(([held]) => stored(held as boolean), failed);
  }

  return settlement =>
    new Promise((stored, failed) => {
      waiting.push({ ...settlement, stored, failed });
      if (waiting.length === 1) queueMicrotask(() => void storeAll());
    });
}

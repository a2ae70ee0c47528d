import type { Settled, Settlement } from '../outbox/outcome.ts';

/**
 * Stores outcomes. Answers for each whether its lease was held; if not, nothing was changed. It may claim what follows.
 * @param take answers the outcomes, the same ones each time; called when the store gets to it
 */
export type StoreOutcomes = (take: () => Settlement[]) => Promise<Settled>;

interface Waiting extends Settlement {
  resolve: (held: boolean) => void;
  reject: (error: unknown) => void;
}

/**
 * Batches outcomes. Those that wait when the store gets to them are stored in one call of `store`. So many cost little
 * more than one. If that call fails, each outcome is stored alone, so that one bad outcome does not fail the others.
 */
export function createOutcomeBatcher(store: StoreOutcomes): (settlement: Settlement) => Promise<boolean> {
  let waiting: Waiting[] = [];

  async function storeAll(): Promise<void> {
    let all: Waiting[] | undefined;
    const take = () => {
      if (!all) [all, waiting] = [waiting, []];
      return all;
    };
    try {
      const { held } = await store(take);
      for (const [index, { resolve }] of take().entries()) resolve(held[index] as boolean);
    } catch (error) {
      // It may have failed before it took them.
      const failed = take();
      if (failed.length > 1) await Promise.all(failed.map(storeAlone));
      else failed[0]?.reject(error);
    }
  }

  async function storeAlone({ delivery, outcome, resolve, reject }: Waiting): Promise<void> {
    await store(() => [{ delivery, outcome }]).then(({ held }) => resolve(held[0] as boolean), reject);
  }

  return settlement =>
    new Promise((resolve, reject) => {
      waiting.push({ ...settlement, resolve, reject });
      if (waiting.length === 1) queueMicrotask(() => void storeAll());
    });
}

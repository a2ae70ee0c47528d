/** Draws that are the same for the same seed. */
export interface Random {
  /** From [0, 1). */
  next(): number;
  /** A whole number from [0, below). */
  below(below: number): number;
  pick<T>(items: readonly T[]): T;
  shuffle<T>(items: readonly T[]): T[];
}

export function seeded(seed: number): Random {
  const next = mulberry32(seed);
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    next,
    below,
    pick: <T>(items: readonly T[]) => items[below(items.length)] as T,
    shuffle<T>(items: readonly T[]) {
      const drawn = items.map(item => ({ item, order: next() }));
      return drawn.sort((a, b) => a.order - b.order).map(({ item }) => item);
    },
  };
}

function mulberry32(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

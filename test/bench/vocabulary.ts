/** Random choices that are the same at every run (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  flip(probability: number): boolean {
    return this.next() < probability;
  }

  /** Both ends included. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  /** A greater `skew` prefers the first ones. */
  pick<T>(list: readonly T[], skew = 1): T {
    return list[Math.floor(list.length * this.next() ** skew)] as T;
  }

  /** By weight; the weights need not add up to 1. */
  among<T extends string>(weights: Record<T, number>): T {
    const entries = Object.entries(weights) as [T, number][];
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [value, weight] of entries) {
      left -= weight;
      if (left < 0) return value;
    }
    return (entries.at(-1) as [T, number])[0];
  }
}

const WORDS = 20_000;
/** Flattens the head of the distribution, as leaving out words like "the" would: no word is in every post. */
const OFFSET = 20;
/** Words that come up a few times in all. */
const RARE_WORDS = 5000;

/** Made-up words, as frequent as words are: the k-th in proportion to 1 / (k + a constant). */
export class Vocabulary {
  readonly words: string[];
  readonly #chance: Chance;
  readonly #upTo: Float64Array;

  constructor(chance: Chance) {
    this.#chance = chance;
    const words = new Set<string>();
    while (words.size < WORDS) words.add(newWord(chance, words.size < 100 ? 2 : 3));
    this.words = [...words];
    this.#upTo = new Float64Array(WORDS);
    let sum = 0;
    for (let rank = 0; rank < WORDS; rank += 1) {
      sum += 1 / (rank + 1 + OFFSET);
      this.#upTo[rank] = sum;
    }
  }

  text(length: number): string {
    const words = Array.from({ length }, () => this.#word());
    if (this.#chance.flip(0.02)) words.push(rareWord(this.#chance.integer(0, RARE_WORDS - 1)));
    return words.join(' ');
  }

  #word(): string {
    const wanted = this.#chance.next() * (this.#upTo[WORDS - 1] as number);
    let low = 0;
    for (let high = WORDS - 1; low < high; ) {
      const middle = (low + high) >> 1;
      if ((this.#upTo[middle] as number) > wanted) high = middle;
      else low = middle + 1;
    }
    return this.words[low] as string;
  }
}

export function rareWord(index: number): string {
  return `e${(index * 7919 + 65_536).toString(16)}x`;
}

function newWord(chance: Chance, syllables: number): string {
  const length = chance.integer(Math.max(1, syllables - 1), syllables);
  const parts = Array.from(
    { length },
    () => chance.pick([...'bdfghjklmnprstvwz']) + chance.pick([...'aeiouy']) + chance.pick(['', '', 'n', 'r', 's']),
  );
  return parts.join('');
}

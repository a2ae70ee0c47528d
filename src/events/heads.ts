import type { Event } from './schemas.ts';

/** The length of an embedded text. Characters. */
export const HEAD_CHARACTERS = 500;
/** The most list members that a head has, such as pieces of evidence. */
const HEAD_ITEMS = 10;

type Json = Record<string, unknown>;

/**
 * The head of a payload, for answers that embed it among others. Texts are cut to 500 characters and lists to 10
 * members. `<name>_truncated: true` stands beside a text that was cut, `<name>_count` beside a list.
 */
export function headOf(payload: Json): Json {
  const head: Json = {};
  for (const [name, value] of Object.entries(payload)) {
    head[name] = value;
    if (typeof value === 'string') {
      head[name] = cut(value);
      if (head[name] !== value) head[`${name}_truncated`] = true;
    } else if (Array.isArray(value)) {
      head[name] = value.slice(0, HEAD_ITEMS).map(item => (isObject(item) ? headOf(item) : item));
      head[`${name}_count`] = value.length;
    }
  }
  return head;
}

/** The first 500 characters. A surrogate pair is one character. */
function cut(text: string): string {
  if (text.length <= HEAD_CHARACTERS) return text;
  return Array.from(text.slice(0, 2 * HEAD_CHARACTERS + 1))
    .slice(0, HEAD_CHARACTERS)
    .join('');
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The size of all cached heads. Characters. */
const CACHED_CHARACTERS = 4_000_000;

/** Caches heads of committed events by sequence; the oldest entries go first. Only an erasure changes events. */
export class HeadCache {
  readonly #heads = new Map<number, { head: Event; characters: number }>();
  #characters = 0;
  /** Rises when heads are forgotten: what was read before must not be cached after. */
  generation = 0;

  get(sequence: number): Event | undefined {
    return this.#heads.get(sequence)?.head;
  }

  /** Forgets the heads of a run, whose texts were erased. */
  forget(run_id: string): void {
    this.generation += 1;
    for (const [sequence, { head, characters }] of this.#heads) {
      if (head.run_id !== run_id) continue;
      this.#heads.delete(sequence);
      this.#characters -= characters;
    }
  }

  set(head: Event): void {
    if (this.#heads.has(head.sequence)) return;
    const { length: characters } = JSON.stringify(head);
    this.#heads.set(head.sequence, { head, characters });
    this.#characters += characters;
    for (const [sequence, oldest] of this.#heads) {
      if (this.#characters <= CACHED_CHARACTERS) return;
      this.#heads.delete(sequence);
      this.#characters -= oldest.characters;
    }
  }
}

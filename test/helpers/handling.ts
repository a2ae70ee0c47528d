import type { Message } from '../../src/outbox/schemas.ts';
import type { HandlerContext, HandlerDefinition, Policy } from '../../src/worker/handler.ts';

/** A handler for the `handlers` override, named by its topics if by nothing else. */
export function handler(
  topic: string | string[],
  handle: (message: Message, context: HandlerContext) => unknown,
  { name = [topic].flat().join(), transactional = false, policy = {} as Partial<Policy> } = {},
): HandlerDefinition {
  return { name, topics: [topic].flat(), transactional, handle, policy };
}

/** A gate that a test opens: `passed` resolves then. */
export function gate(): { open: () => void; passed: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { open: resolve, passed: promise };
}

/** Counts things up, and tells whoever waits for a number of them. */
export class Counter<T> {
  readonly seen: T[] = [];
  readonly #waiting: { count: number; resolve: () => void }[] = [];

  add(item: T): void {
    this.seen.push(item);
    for (const { count, resolve } of this.#waiting) if (this.seen.length >= count) resolve();
  }

  async reach(count: number): Promise<T[]> {
    if (this.seen.length < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push({ count, resolve });
      await promise;
    }
    return this.seen;
  }
}

import { setTimeout as pause } from 'node:timers/promises';

/** Between two looks. Milliseconds. */
const LOOK_MS = 150;

/**
 * Looks again and again until there is something.
 * @param ms the longest time
 * @param reason what is wrong otherwise
 * @returns the first value that is neither false nor undefined
 * @throws Error with the reason
 */
export async function until<T>(
  look: () => T | Promise<T>,
  ms: number,
  reason: () => string,
): Promise<Exclude<T, false | undefined>> {
  const end = performance.now() + ms;
  for (;;) {
    const found = await look();
    if (found !== false && found !== undefined) return found as Exclude<T, false | undefined>;
    if (performance.now() > end) throw new Error(reason());
    await pause(LOOK_MS);
  }
}

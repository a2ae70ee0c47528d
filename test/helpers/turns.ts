import { setImmediate as turn } from 'node:timers/promises';

/** Acts after so many turns of the event loop: of two that race, not always the same one shall be the first. */
export async function afterTurns<T>(turns: number, act: () => Promise<T>): Promise<T> {
  for (let passed = 0; passed < turns; passed += 1) await turn();
  return act();
}

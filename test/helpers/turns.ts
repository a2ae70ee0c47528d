import { setImmediate as turn } from 'node:timers/promises';

/** Acts after so many turns of the event loop: of two that race, not always the same one shall be the first. */
export async function afterTurns<T>(turns: number, act: () => Promise<T>): Promise<T> {
  for (let passed = 0; passed < turns; passed += 1) await turn();
  return act();
}

/**
 * What `work` resolves to, and the most CPU time of the main thread that one turn of the event loop takes meanwhile, which
 * a busy machine does not prolong. Milliseconds.
 */
export async function longestTurn<T>(work: () => Promise<T>): Promise<{ value: T; took: number }> {
  let took = 0;
  let running = true;
  let begun = cpu();
  const next = () => {
    const now = cpu();
    took = Math.max(took, now - begun);
    begun = now;
    if (running) setImmediate(next);
  };
  setImmediate(next);
  try {
    const value = await work();
    return { value, took: Math.max(took, cpu() - begun) };
  } finally {
    running = false;
  }
}

function cpu(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

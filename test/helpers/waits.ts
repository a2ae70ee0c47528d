import type { Answer, TestApp } from './app.ts';
import { signal } from './signals.ts';

/** Below every wait of the tests that is to end earlier, and far above what a busy machine needs to tell a waiter. Milliseconds. */
export const SOON_MS = 15_000;

/** An answer, and how long it took. */
export async function timed<T>(answer: Promise<T>): Promise<T & { took: number }> {
  const started = performance.now();
  const got = await answer;
  return { ...got, took: performance.now() - started };
}

let runs = 0;
/** A run that nothing else is in. */
export const ownRun = (): string => `waited-${++runs}`;

/** Asks a question in a run of its own and answers it as it is stored. */
export async function ask(send: TestApp['send'], fields: object = {}): Promise<Answer['body']> {
  const { body } = await send('POST', '/control-signals', signal('guidance_request', { run_id: ownRun(), ...fields }));
  return body.question;
}

/**
 * Lets requests that were sent before get as far as they come by themselves: those that wait are asleep then, or nearly
 * so. Nothing may depend on that; it makes the usual case the likely one.
 */
export async function settled(send: TestApp['send']): Promise<void> {
  for (let count = 0; count < 5; count += 1) await send('GET', '/stats');
}

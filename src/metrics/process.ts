import { readdirSync } from 'node:fs';
import type { Instruments } from './instruments.ts';

/** How often the event loop is looked at. Milliseconds. */
const LOOK_MS = 50;
/** Looks that were due while one came too late and that are made up for; a process may have been stopped for hours. */
const MISSED_LOOKS = 1000;

/**
 * Watches the event loop until the function that it answers is called. prom-client's own watch has no end, and starts its
 * maximum anew at each scrape, so that two scrapers take it from each other.
 */
export function watchEventLoop({ loopDelay }: Instruments): () => void {
  let expected = performance.now() + LOOK_MS;
  const timer = setInterval(() => {
    const now = performance.now();
    // Whatever had come due in between would have been late, too: each look that was missed counts.
    let late = Math.max(0, now - expected);
    for (let look = 0; late >= 0 && look <= MISSED_LOOKS; look += 1, late -= LOOK_MS) loopDelay.observe(late / 1000);
    expected = now + LOOK_MS;
  }, LOOK_MS).unref();
  return () => clearInterval(timer);
}

/** What the system says of the process, now. */
export function lookAtProcess(instruments: Instruments): void {
  const { user, system } = process.cpuUsage();
  const memory = process.memoryUsage();
  setTotal(instruments.cpuUser, user / 1e6);
  setTotal(instruments.cpuSystem, system / 1e6);
  setTotal(instruments.cpu, (user + system) / 1e6);
  instruments.startTime.set(performance.timeOrigin / 1000);
  instruments.residentMemory.set(memory.rss);
  instruments.heapTotal.set(memory.heapTotal);
  instruments.heapUsed.set(memory.heapUsed);
  instruments.externalMemory.set(memory.external);
  instruments.nodeVersion.labels(process.version).set(1);
  try {
    instruments.openFiles.set(readdirSync('/proc/self/fd').length);
  } catch {
    instruments.openFiles.remove();
  }
}

/** Makes a counter show a total that is kept elsewhere. */
export function setTotal(counter: { reset(): void; inc(by: number): void }, total: number): void {
  counter.reset();
  counter.inc(total);
}

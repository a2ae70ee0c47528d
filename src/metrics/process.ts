import { readdirSync } from 'node:fs';
import type { Instruments } from './instruments.ts';

/** Sampling interval of the event loop. Milliseconds. */
const SAMPLE_MS = 50;
/** Missed samples made up for at most: a process may have been suspended for hours. */
const MAX_MISSED = 1000;

/**
 * Samples the delay of the event loop until the returned function is called. The library's own metric cannot be
 * stopped. It resets its maximum at each scrape, so two scrapers would disturb each other.
 */
export function watchEventLoop({ loopDelay }: Instruments): () => void {
  let expected = performance.now() + SAMPLE_MS;
  const timer = setInterval(() => {
    const now = performance.now();
    // Missed samples count as late ones, or a long block would weigh no more than a short one.
    let late = Math.max(0, now - expected);
    for (let missed = 0; late >= 0 && missed <= MAX_MISSED; missed += 1, late -= SAMPLE_MS) {
      loopDelay.observe(late / 1000);
    }
    expected = now + SAMPLE_MS;
  }, SAMPLE_MS).unref();
  return () => clearInterval(timer);
}

/** Sets the metrics of the process: CPU, memory, open files, Node.js version. */
export function collectProcessMetrics(instruments: Instruments): void {
  const { user, system } = process.cpuUsage();
  setTotal(instruments.cpuUser, user / 1e6);
  setTotal(instruments.cpuSystem, system / 1e6);
  setTotal(instruments.cpu, (user + system) / 1e6);
  instruments.startTime.set(performance.timeOrigin / 1000);
  instruments.nodeVersion.labels(process.version).set(1);
  // Both read files, and fail while none can be opened.
  try {
    const memory = process.memoryUsage();
    instruments.residentMemory.set(memory.rss);
    instruments.heapTotal.set(memory.heapTotal);
    instruments.heapUsed.set(memory.heapUsed);
    instruments.externalMemory.set(memory.external);
    instruments.openFiles.set(readdirSync('/proc/self/fd').length);
  } catch {
    instruments.openFiles.remove();
  }
}

/** Sets a counter to a total that is kept elsewhere. */
export function setTotal(counter: { reset(): void; inc(by: number): void }, total: number): void {
  counter.reset();
  counter.inc(total);
}

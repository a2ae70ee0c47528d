import type { Timings } from '../db/database.ts';
import { type ProblemCode, problemTable } from '../errors.ts';
import { type ControlType, controlTypes } from '../signals/command.ts';
import { createInstruments, type Instruments } from './instruments.ts';

/**
 * What the parts of the service tell what they do to. Each label is looked up once, here: what runs for every signal then
 * adds to a number.
 */
export function createMetrics() {
  const instruments = createInstruments();
  const { rejections, signals, streams } = instruments;
  const rejected = new Map(Object.keys(problemTable).map(code => [code, counted(rejections, code)]));
  return {
    instruments,

    /** A signal of the type is stored. */
    stored: Object.fromEntries(
      controlTypes.map(type => {
        const one = counted(signals, type);
        return [type, () => one.inc()];
      }),
    ) as Record<ControlType, () => void>,

    /** A problem document is sent. */
    rejected: (code: ProblemCode): void => rejected.get(code)?.inc(),

    /** Goes up and down with the readers of the event stream. */
    streams,

    database: databaseTimings(instruments),
  };
}

/** The counter of one label value. It stands in the scrape from the start, so that its first event shows as an increase. */
function counted(counter: Instruments['rejections'] | Instruments['signals'], value: string): { inc(): void } {
  const one = counter.labels(value);
  one.inc(0);
  return one;
}

function databaseTimings({ reads, transaction, works, writeWait }: Instruments): Timings {
  const run = transaction.labels('run');
  const commit = transaction.labels('commit');
  // Also without labels: a histogram makes a child for each observation, unless it is given one.
  const [wait, shared, read] = [writeWait.labels(), works.labels(), reads.labels()];
  return {
    waited: milliseconds => wait.observe(milliseconds / 1000),
    committed(count, ran, took) {
      shared.observe(count);
      run.observe(ran / 1000);
      commit.observe(took / 1000);
    },
    read: took => read.observe(took / 1000),
  };
}

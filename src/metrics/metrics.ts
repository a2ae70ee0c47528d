import type { Timings } from '../db/database.ts';
import { type ProblemCode, problemTable } from '../errors.ts';
import type { QuestionOutcome } from '../questions/endings.ts';
import { type ControlType, controlTypes } from '../signals/command.ts';
import type { Dispatch } from '../worker/dispatcher.ts';
import { createInstruments, type Instruments } from './instruments.ts';

/**
 * Hooks by which the parts of the service report to the metrics. Labels are resolved once, here, so that the hot paths
 * only add to a number.
 */
export function createMetrics() {
  const instruments = createInstruments();
  const { rejections, signals, streams, questionsClosed, answerTime, webhookDeliveries } = instruments;
  for (const outcome of ['sent', 'retry', 'dead', 'discarded']) webhookDeliveries.labels(outcome).inc(0);
  for (const outcome of ['answered', 'expired', 'cancelled', 'superseded']) questionsClosed.labels(outcome).inc(0);
  const rejected = new Map(Object.keys(problemTable).map(code => [code, counterOf(rejections, code)]));
  return {
    instruments,

    /** Counts a stored signal of each type. */
    stored: Object.fromEntries(
      controlTypes.map(type => {
        const counter = counterOf(signals, type);
        return [type, () => counter.inc()];
      }),
    ) as Record<ControlType, () => void>,

    /** Counts a question that has ended. */
    ended(outcome: QuestionOutcome, seconds: number): void {
      questionsClosed.labels(outcome).inc();
      if (outcome === 'answered') answerTime.observe(seconds);
    },

    /** Wraps the dispatch of webhooks: counts their outcomes. */
    countingWebhooks(dispatch: Dispatch): Dispatch {
      return async (delivery, cancellation) => {
        const outcome = await dispatch(delivery, cancellation);
        webhookDeliveries.labels(outcome.kind).inc();
        return outcome;
      };
    },

    /** Counts a problem document. */
    rejected: (code: ProblemCode): void => rejected.get(code)?.inc(),

    /** Gauge of open event streams. */
    streams,

    database: databaseTimings(instruments),
  };
}

/** The counter of one label value. It starts at 0, so that its first event shows as an increase. */
function counterOf(counter: Instruments['rejections'] | Instruments['signals'], value: string): { inc(): void } {
  const child = counter.labels(value);
  child.inc(0);
  return child;
}

function databaseTimings({ reads, transaction, works, writeWait }: Instruments): Timings {
  const run = transaction.labels('run');
  const commit = transaction.labels('commit');
  return {
    waited: milliseconds => writeWait.observe(milliseconds / 1000),
    committed(count, ran, took) {
      works.observe(count);
      run.observe(ran / 1000);
      commit.observe(took / 1000);
    },
    read: took => reads.observe(took / 1000),
  };
}

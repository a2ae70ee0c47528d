import type { Reader } from '../db/database.ts';
import { COUNTED_IN_PARTS, largestCounts, readCounts, type Subject } from './repository.ts';

/** The numbers of threads and signals, in total and per value. */
export interface ThreadCounts {
  threads: {
    total: number;
    by_state: Record<string, number>;
    by_priority: Record<string, number>;
    by_ticket: { ticket: string; count: number }[];
    by_run: { run_id: string; count: number }[];
  };
  signals: { total: number; by_type: Record<string, number> };
}

/** The number of tickets and of runs in the answer. */
const LISTED = 50;

/** The current counts; only the 50 largest tickets and runs. They cost the same to read at any number of threads. */
export async function readThreadCounts(reader: Reader): Promise<ThreadCounts> {
  const small = await readCounts(reader, COUNTED_IN_PARTS);
  const of = (subject: Subject) =>
    Object.fromEntries(
      small.filter(row => row.subject === subject && row.count > 0).map(row => [row.value, row.count]),
    );
  const sum = (counts: Record<string, number>) => Object.values(counts).reduce((total, count) => total + count, 0);
  const tickets = await largestCounts(reader, 'thread_ticket', LISTED);
  const runs = await largestCounts(reader, 'thread_run', LISTED);
  const by_state = of('thread_state');
  const by_type = of('signal_type');
  return {
    threads: {
      total: sum(by_state),
      by_state,
      by_priority: of('thread_priority'),
      by_ticket: tickets.map(({ value, count }) => ({ ticket: value, count })),
      by_run: runs.map(({ value, count }) => ({ run_id: value, count })),
    },
    signals: { total: sum(by_type), by_type },
  };
}

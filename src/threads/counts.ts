import { randomInt } from 'node:crypto';
import type { Database, Tx } from '../db/database.ts';
import { addCount, largestCounts, readCounts } from './counts-repository.ts';

/** The attributes that are counted per value, such as threads per state. */
export type Subject = 'thread_state' | 'thread_priority' | 'thread_ticket' | 'thread_run' | 'signal_type';

/** An attribute of one thread or signal changes its value. Null stands for no value, and is not counted. */
export interface CountedChange {
  subject: Subject;
  from: string | null;
  to: string | null;
}

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

/** Subjects of which every signal changes one of few values. Their counts are kept in parts, and this process has one. */
const IN_PARTS: readonly Subject[] = ['thread_state', 'thread_priority', 'signal_type'];
const PARTS = 16;
/** The number of tickets and of runs in the answer. */
const LISTED = 50;

export type Counts = ReturnType<typeof createCounts>;

/** Keeps counts up to date with every write, so reading them costs the same at any number of threads. */
export function createCounts({ db }: { db: Database }) {
  // The processes of a database would wait for each other's transactions to change one row.
  const ownPart = db.shared ? randomInt(PARTS) : 0;

  function add(tx: Tx, subject: Subject, value: string, by: number): void {
    const part = IN_PARTS.includes(subject) ? ownPart : 0;
    tx.count(`${subject}:${value}`, by, (last, count) => addCount(last, { subject, value, part, count }));
  }

  return {
    /** Updates the counts in the transaction of the changes. */
    count(tx: Tx, changes: CountedChange[]): void {
      for (const { subject, from, to } of changes) {
        if (from === to) continue;
        if (from !== null) add(tx, subject, from, -1);
        if (to !== null) add(tx, subject, to, 1);
      }
    },

    /** The current counts; only the 50 largest tickets and runs. */
    async read(): Promise<ThreadCounts> {
      const small = await readCounts(db.read, IN_PARTS);
      const of = (subject: Subject) =>
        Object.fromEntries(
          small.filter(row => row.subject === subject && row.count > 0).map(row => [row.value, row.count]),
        );
      const sum = (counts: Record<string, number>) => Object.values(counts).reduce((total, count) => total + count, 0);
      const tickets = await largestCounts(db.read, 'thread_ticket', LISTED);
      const runs = await largestCounts(db.read, 'thread_run', LISTED);
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
    },
  };
}

import { type RawBuilder, sql } from 'kysely';

/*
 * A run can be too large for one transaction to erase it. Its first one stores the erasure. Until a job has done the
 * rest, each reader of a text of a run asks whether it is being erased. The table has few rows, mostly none.
 */

/** 1 if the run in this column is being erased, otherwise 0. @param column such as `events.run_id` */
export function erasing(column: string): RawBuilder<number> {
  return sql<number>`(select count(*) from erasures where erasures.run_id = ${sql.ref(column)})`;
}

/**
 * As {@link erasing}, for rows that have the run that they name, or else the thread: it may be opened later.
 * @param table such as `messages`
 */
export function erasingSubject(table: string): RawBuilder<number> {
  const [run_id, thread_id] = [sql.ref(`${table}.run_id`), sql.ref(`${table}.thread_id`)];
  const ofThread = sql`(select threads.run_id from threads where threads.thread_id = ${thread_id})`;
  return sql<number>`(select count(*) from erasures where erasures.run_id = coalesce(${run_id}, ${ofThread}))`;
}

/** A row of a repository that reads texts: whether its run is being erased. Undefined in rows that were not read. */
export interface Erasable {
  erasing?: number;
}

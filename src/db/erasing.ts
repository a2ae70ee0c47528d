import { type RawBuilder, sql } from 'kysely';

/*
 * A run can be too large for one transaction to erase it. Its first one stores the erasure. Until a job has done the
 * rest, each reader of a text of a run asks whether it is being erased. The table has few rows, mostly none.
 */

/** 1 if the run in this column is being erased, otherwise 0. @param column such as `events.run_id` */
export function erasing(column: string): RawBuilder<number> {
  return sql<number>`(select count(*) from erasures where erasures.run_id = ${sql.ref(column)})`;
}

/** A row of a repository that reads texts: whether its run is being erased. Undefined in rows that were not read. */
export interface Erasable {
  erasing?: number;
}

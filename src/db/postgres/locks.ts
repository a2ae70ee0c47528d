import { hash } from 'node:crypto';
import type { QueryConfig } from 'pg';
import type { Touched } from '../group-commit.ts';

/*
 * A transaction locks what it touches before it reads anything, so it may read, decide and write without a race. All of
 * its locks are taken in one order, so no two transactions wait for each other.
 */

/**
 * The advisory lock on everything ("forumbus" as eight ASCII bytes). Transactions that say what they touch share it; one
 * that does not has it alone.
 */
export const EVERYTHING = '7381244162955441523';
/** The class of the locks on single things. Their number is a hash: two things that share one only wait for each other. */
const THINGS = 1_179_603_540;

/** The statements that lock what a transaction touches. @param touches undefined for everything */
export function lockStatements(touches: readonly Touched[] | undefined): QueryConfig[] {
  if (!touches) return [{ name: 'forumbus_all', text: `select pg_advisory_xact_lock(${EVERYTHING})` }];
  const shared = { name: 'forumbus_share', text: `select pg_advisory_xact_lock_shared(${EVERYTHING})` };
  if (touches.length === 0) return [shared];
  const numbers = [...new Set(touches.map(thing => hash('sha1', thing, 'buffer').readInt32BE()))];
  return [shared, { ...LOCK_THINGS, values: [numbers.sort((a, b) => a - b)] }];
}

// It reads the numbers in their order.
const LOCK_THINGS = {
  name: 'forumbus_things',
  text: `select count(*) from (
    select pg_advisory_xact_lock(${THINGS}, number) from unnest($1::int[]) as thing(number) offset 0) as locked`,
};

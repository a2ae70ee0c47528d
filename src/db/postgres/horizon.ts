/*
 * Writers of different runs commit side by side, so a higher sequence may become visible before a lower one. Readers of
 * the log therefore stop at the horizon:
 *
 * - A transaction registers a lower bound before it draws its first sequence: the last one that was drawn by anybody. The
 *   bound is an advisory lock, so it ends with the transaction or with the session, after the commit is visible.
 * - A reader takes the last sequence that was drawn, and then the lowest bound that is registered. A writer without
 *   a bound draws higher sequences, or has ended. So the next statement sees every event up to the lower of the two.
 */

/** The class of the locks that are bounds. Their number has the low 32 bits of the bound. */
const BOUNDS = 1_179_603_525;

/** The last sequence that was drawn, committed or not. */
const LAST_DRAWN = `coalesce(pg_sequence_last_value(pg_get_serial_sequence('events', 'sequence')), 0)`;

/** Registers the bound of a transaction. */
export const REGISTER_BOUND = {
  name: 'forumbus_bound',
  text: `select pg_advisory_xact_lock_shared(${BOUNDS}, (${LAST_DRAWN})::bit(32)::int)`,
};

/**
 * The horizon as an expression. The look at the bounds refers to the last sequence, so it comes after it. The distance
 * to a bound is computed from the low bits, as a number with a sign. Bounds above are none of ours.
 */
export const HORIZON = `(
  select last.drawn - greatest(0, (
    select max((last.drawn - objid::bigint)::bit(32)::int) from pg_locks
    where locktype = 'advisory' and objsubid = 2 and classid = ${BOUNDS} and pid <> pg_backend_pid()
      and database = (select oid from pg_database where datname = current_database())
  )) from (select ${LAST_DRAWN} as drawn offset 0) as last
)`;

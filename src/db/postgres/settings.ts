import type pg from 'pg';
import { StartError } from '../../errors.ts';

/**
 * Timeouts, because a server that hangs keeps its connections open without answering. Each exceeds the one before,
 * since it may wait for it. A statement waits for a lock, a lock for an idle transaction. Milliseconds.
 */
export const TIMEOUT_MS = { idleInTransaction: 5000, lock: 6000, statement: 7000 };

/** What a connection is for, where it differs from the service's own. */
export interface SessionOptions {
  /** The server refuses every change. */
  readOnly?: boolean;
  /** Waits for a lock as long as it takes. */
  unhurried?: boolean;
}

/**
 * What a server, a database, a role or a pooler may have set otherwise. Settings that a server does not have are left out:
 * `transaction_timeout` came with 17, `idle_session_timeout` with 14.
 */
function settingsFor({ readOnly = false, unhurried = false }: SessionOptions): Record<string, string> {
  return {
    // Under `repeatable read` the snapshot is older than the locks, and a write decides on rows that have changed.
    default_transaction_isolation: 'read committed',
    // Otherwise it stays as it is: an operator may have made the database read-only.
    ...(readOnly && { default_transaction_read_only: 'on' }),
    default_transaction_deferrable: 'off',
    // A process that is stopped in the middle of a write would hold its locks, and all readers of the log.
    idle_in_transaction_session_timeout: String(TIMEOUT_MS.idleInTransaction),
    lock_timeout: unhurried ? '0' : String(TIMEOUT_MS.lock),
    // The client gives a statement up; a commit that the server cuts off could be stored and not replicated.
    statement_timeout: '0',
    transaction_timeout: '0',
    // It would end the standing connection, and with it the proof that this process is alive.
    idle_session_timeout: '0',
    // The server caches the plan of a prepared statement, perhaps one with a sequential scan from when the tables were
    // empty. All statements have an index, so sequential scans are off, and so are joins that read a table whole. JIT
    // is off because servers before 18 give a disabled scan a huge cost. It would trigger a compilation that never
    // pays.
    enable_seqscan: 'off',
    enable_hashjoin: 'off',
    enable_mergejoin: 'off',
    // Such a plan may also be from a time when the table was small. Reading it whole seemed cheaper than a few
    // look-ups. So look-ups seem cheap, as they are in memory.
    random_page_cost: '0.1',
    jit: 'off',
    plan_cache_mode: 'auto',
    // It would leave results of a search out.
    gin_fuzzy_search_limit: '0',
    // How values travel as text.
    client_encoding: 'UTF8',
    standard_conforming_strings: 'on',
    array_nulls: 'on',
    transform_null_equals: 'off',
    DateStyle: 'ISO, MDY',
    IntervalStyle: 'postgres',
    TimeZone: 'UTC',
    bytea_output: 'hex',
    extra_float_digits: '1',
    // An error would end the connection.
    exit_on_error: 'off',
  };
}

/** Planner switches go back to how the server was built, besides ours. A stored transaction survives a crash of the server. */
const APPLY = `
  select pg_catalog.set_config(name, setting, false) from (
    select name, boot_val as setting from pg_catalog.pg_settings where name like 'enable\\_%' and setting <> boot_val
    union all
    select name, 'local' from pg_catalog.pg_settings where name = 'synchronous_commit' and setting = 'off'
    union all
    select name, wanted.setting from unnest($1::text[], $2::text[]) as wanted(name, setting)
      join pg_catalog.pg_settings using (name)
    union all
    select 'search_path', pg_catalog.quote_ident($3)
  ) as settings`;

/** Where Forumbus's tables are; before they are made, where they would be. */
const SCHEMA = `
  select coalesce(
    (select nspname from pg_catalog.pg_namespace n
     where pg_catalog.has_schema_privilege(n.oid, 'usage')
       and exists (select from pg_catalog.pg_class where relnamespace = n.oid and relname = 'kysely_migration')
       and exists (select from pg_catalog.pg_class where relnamespace = n.oid and relname = 'control_threads')
     order by nspname is not distinct from pg_catalog.current_schema() desc, nspname = 'public' desc, nspname
     limit 1),
    (select name from unnest(pg_catalog.current_schemas(false)) with ordinality as path(name, place)
     where name !~ '^pg_' and name <> 'information_schema' order by place limit 1),
    'public') as schema`;

/** One of the settings, read back; of all of them the one whose loss would be noticed last. */
const VERIFY = `select pg_catalog.current_setting('default_transaction_isolation') as isolation`;

/**
 * Sets everything on a new connection that the service relies on. Parameters of the connection's start would not do:
 * PgBouncer refuses those that it does not know.
 * @param schema where the tables are; by default it is found out
 * @throws StartError if the connection does not keep what is set
 */
export async function applySettings(client: pg.ClientBase, options: SessionOptions, schema?: string): Promise<string> {
  const found = schema ?? (await client.query<{ schema: string }>(SCHEMA)).rows[0]?.schema ?? 'public';
  const settings = settingsFor(options);
  await client.query(APPLY, [Object.keys(settings), Object.values(settings), found]);
  const { rows } = await client.query<{ isolation: string }>(VERIFY);
  if (rows[0]?.isolation !== settings.default_transaction_isolation) throw new StartError(POOLER);
  return found;
}

const POOLER =
  'The database is reached through a pooler in transaction mode, which loses settings, locks and notifications: set pool_mode = session for it.';
/** How often two connections look for each other's settings. */
const LOOKS = 5;

/**
 * What no setting can mend.
 * @throws StartError for a database whose encoding is not UTF-8, or a pooler in transaction mode
 */
export async function assertUsable(pool: pg.Pool): Promise<void> {
  const one = await pool.connect();
  try {
    const { rows } = await one.query<{ encoding: string; pid: number }>(
      `select pg_catalog.current_setting('server_encoding') as encoding, pg_catalog.pg_backend_pid() as pid`,
    );
    const { encoding, pid } = rows[0] as { encoding: string; pid: number };
    if (encoding !== 'UTF8') {
      const advice = 'Forumbus needs one that was made with encoding UTF8.';
      throw new StartError(`The encoding of the database is ${encoding}, which cannot hold every text: ${advice}`);
    }
    // A pooler gives out process ids of its own.
    if (pid !== (one as unknown as { processID: number | null }).processID) await assertOwnSession(pool, one);
  } finally {
    one.release();
  }
}

/** In transaction mode a connection of the server goes to the next client, with the settings of the last one. */
async function assertOwnSession(pool: pg.Pool, one: pg.ClientBase): Promise<void> {
  const read = async (client: pg.ClientBase) => (await client.query<{ mark: string }>(READ_MARK)).rows[0]?.mark;
  const other = await pool.connect();
  try {
    for (let look = 0; look < LOOKS; look += 1) {
      const mark = `${process.pid} ${performance.now()}`;
      await one.query(`select pg_catalog.set_config('forumbus.mark', $1, false)`, [mark]);
      if ((await read(other)) === mark || (await read(one)) !== mark) throw new StartError(POOLER);
    }
  } finally {
    other.release();
  }
}

const READ_MARK = `select pg_catalog.current_setting('forumbus.mark', true) as mark`;

import { type Expression, Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import type { Clock } from '../clock.ts';
import { maskedUrl } from '../config.ts';
import { StartError } from '../errors.ts';
import type { Logger } from '../logging.ts';
import { type Database, refuseInsideWrite, runWrite } from './database.ts';
import { errorCode } from './errors.ts';
import { migrateToLatest, missingMigrations } from './migrator.ts';
import { advisoryPresence, holdPresence } from './presence.ts';
import type { Schema } from './schema.ts';
import { standingConnection } from './standing-connection.ts';

/** The advisory lock that serialises the writes of all processes on one database ("forumbus" as eight ASCII bytes). */
const WRITE_LOCK = '7381244162955441523';
/** Where processes tell each other that they have committed something. */
const CHANNEL = 'forumbus';
const POOL_SIZE = 10;

/**
 * Connects to PostgreSQL.
 * @param leaseClock measures leases in the place of the server's clock
 * @throws StartError if the server cannot be reached or refuses the login.
 */
export async function openPostgres(url: string, log: Logger, leaseClock?: Clock): Promise<Database> {
  const pool = new pg.Pool({
    connectionString: url,
    max: POOL_SIZE,
    keepAlive: true,
    connectionTimeoutMillis: 5000,
    application_name: 'forumbus',
    // A process that is stopped in the middle of a write would hold the write lock for everybody.
    idle_in_transaction_session_timeout: 5000,
    lock_timeout: 30_000,
    types: { getTypeParser },
  });
  // A connection that breaks between two queries says so by an event, to the pool while it is idle and by itself while it
  // is in use; without a listener for both it would end the process. The next query fails, or gets another connection.
  pool.on('error', error => log.debug({ err: error }, 'an idle database connection broke'));
  pool.on('connect', client => client.on('error', error => log.warn({ err: error }, 'a database connection broke')));
  try {
    await pool.query('select 1');
  } catch (error) {
    await pool.end();
    const reason = errorCode(error) ?? (error instanceof Error ? error.message : String(error));
    throw new StartError(`The database ${maskedUrl(url)} cannot be reached (${reason}).`);
  }
  const serverNow = sql<number>`(extract(epoch from statement_timestamp()) * 1000)::bigint`;
  const own: { name?: string } = {};
  const others = { heard: () => {} };
  const connection = standingConnection(url, log, async client => {
    client.on('notification', ({ payload }) => {
      if (payload !== own.name) others.heard();
    });
    await client.query(`listen ${CHANNEL}`);
    if (own.name) await holdPresence(client, own.name);
    // Whatever was said while nobody listened.
    others.heard();
  });
  const database = postgresDatabase(pool, () => (leaseClock ? sql<number>`${leaseClock.now()}::bigint` : serverNow));
  return {
    ...database,
    presence: advisoryPresence(pool, connection, own),
    announce: coalesced(() => connection.query(`select pg_notify('${CHANNEL}', $1)`, [own.name ?? ''])),
    onOthersWrites(heard) {
      others.heard = heard;
    },
    async close() {
      await connection.close();
      await database.close();
    },
  };
}

/** Runs `task` at once, and once more after it if it was asked for meanwhile: never twice side by side. */
function coalesced(task: () => Promise<void>): () => void {
  let running = false;
  let again = false;
  const run = () => {
    if (running) {
      again = true;
      return;
    }
    running = true;
    task()
      // A lost notification costs others a poll interval.
      .catch(() => {})
      .finally(() => {
        running = false;
        if (again) {
          again = false;
          run();
        }
      });
  };
  return run;
}

function postgresDatabase(
  pool: pg.Pool,
  leaseNow: () => Expression<number>,
): Omit<Database, 'presence' | 'announce' | 'onOthersWrites'> {
  const root = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  const read = root.withPlugin(refuseInsideWrite);
  return {
    engine: 'postgres',
    read: { query: read },
    snapshot: work =>
      read
        .transaction()
        .setIsolationLevel('repeatable read')
        .setAccessMode('read only')
        .execute(query => work({ query })),
    write: work =>
      runWrite(
        inner =>
          root.transaction().execute(async query => {
            await sql`select pg_advisory_xact_lock(${sql.lit(WRITE_LOCK)}::bigint)`.execute(query);
            return inner(query);
          }),
        leaseNow,
        work,
      ),
    migrate: () => migrateToLatest(root, 'postgres'),
    missingMigrations: () => missingMigrations(read, 'postgres'),
    close: () => root.destroy(),
  };
}

/** Every int8 of ours fits a double: sequences, counts and milliseconds stay below 2^53. */
const getTypeParser: typeof pg.types.getTypeParser = (oid: number, format?: 'text' | 'binary') =>
  oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid, format as 'text');

import BetterSqlite from 'better-sqlite3';
import { sql } from 'kysely';
import pg from 'pg';
import { pino } from 'pino';
import type { Database, Tx } from '../../src/db/database.ts';
import type { Engine } from '../../src/db/engine.ts';
import { openDatabase } from '../../src/db/open.ts';
import type { Row } from '../../src/db/schema.ts';
import { type StatementBuilder, statement } from '../../src/db/statement.ts';
import { scratchDatabase } from './engines.ts';

/** Rows that mean nothing, for tests of the write door itself: any key is stored once per caller. */
export type KeyRow = Row<'idempotency_keys'>;

export function keyRow(caller: string, idempotency_key: string, body = ''): KeyRow {
  const nothing = { reference: null, fingerprint: '', headers: '{}', run_id: null, thread_id: null };
  return { caller, idempotency_key, body, status: 200, created_at: 0, ...nothing };
}

const columns = ['caller', 'idempotency_key', 'fingerprint', 'status', 'headers', 'body', 'created_at'] as const;

/** Fails if the caller has the key already. */
export const insertKey = statement(({ query, values }: StatementBuilder<KeyRow>) =>
  query.insertInto('idempotency_keys').values(values(columns)),
);

export const keysOf = statement(({ query, value }: StatementBuilder<Pick<KeyRow, 'caller'>>) =>
  query.selectFrom('idempotency_keys').selectAll().where('caller', '=', value('caller')).orderBy('idempotency_key'),
);

export interface Opened {
  db: Database;
  url: string;
  beside: Beside;
  drop: () => Promise<void>;
}

/** The bare database, without a service on it, and a connection beside it. */
export async function openScratch(engine: Engine): Promise<Opened> {
  const scratch = await scratchDatabase(engine);
  const db = await openDatabase(scratch.url, pino({ level: 'silent' }));
  const beside = engine === 'sqlite' ? besideSqlite(scratch.url) : besidePostgres(scratch.url);
  const drop = async () => {
    await beside.close();
    await db.close();
    await scratch.drop();
  };
  return { db, url: scratch.url, beside, drop };
}

/** What another program sees. */
interface Beside {
  /** The keys of a caller, as they are stored when this is called. */
  keys(caller: string): Promise<string[]>;
  /** Tells transactions apart, from within. */
  transactionOf(tx: Tx): Promise<string>;
  close(): Promise<void>;
}

function besideSqlite(url: string): Beside {
  const file = new BetterSqlite(url.slice('sqlite:'.length), { readonly: true });
  const keys = file.prepare('select idempotency_key from idempotency_keys where caller = ? order by 1').pluck();
  return {
    keys: async caller => keys.all(caller) as string[],
    // It moves with each commit of another connection.
    transactionOf: async () => String(file.pragma('data_version', { simple: true })),
    close: async () => {
      file.close();
    },
  };
}

function besidePostgres(connectionString: string): Beside {
  const pool = new pg.Pool({ connectionString, max: 1 });
  return {
    async keys(caller) {
      const text = 'select idempotency_key from idempotency_keys where caller = $1 order by 1';
      return (await pool.query(text, [caller])).rows.map(row => row.idempotency_key);
    },
    async transactionOf(tx) {
      const id = sql<string>`pg_current_xact_id()::text`.as('id');
      return (await tx.query.selectNoFrom(id).executeTakeFirstOrThrow()).id;
    },
    close: () => pool.end(),
  };
}

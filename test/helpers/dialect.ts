import BetterSqlite from 'better-sqlite3';
import { type Dialect, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { Engine } from '../../src/db/engine.ts';
import { PreparedDialect } from '../../src/db/sqlite/driver.ts';

/** A way into a database beside the service. `options` are settings of the PostgreSQL server for this connection. */
export function dialect(engine: Engine, url: string, options = ''): Dialect {
  if (engine === 'sqlite') return new PreparedDialect({ database: new BetterSqlite(url.slice('sqlite:'.length)) });
  return new PostgresDialect({ pool: new pg.Pool({ connectionString: url, max: 1, options }) });
}

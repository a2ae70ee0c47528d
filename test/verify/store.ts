import { join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import pg from 'pg';
import type { Engine } from '../../src/db/engine.ts';
import { startPostgres } from '../helpers/postgres-server.ts';

export type Row = Record<string, unknown>;

/** The scratch database, read past the service's own code. */
export interface Store {
  url: string;
  query(statement: string): Promise<Row[]>;
  /** PostgreSQL only: what can happen to a server. */
  server?: { restart(): Promise<void>; terminateBackends(): Promise<number> };
  /** What is left on disk, for whoever looks into a failure. */
  folders: string[];
  close(): Promise<void>;
  remove(): Promise<void>;
}

/** There is no unique constraint on the effects: a doubled one would be stored, and show. */
const effectsTable = (position: string) => `create table if not exists verify_effects
  (position ${position}, signal_id text not null, thread_id text not null, sequence bigint not null)`;

/** Defaults of a database that the service must not depend on. */
const UNUSUAL = [
  `alter database postgres set default_transaction_isolation = 'repeatable read'`,
  `alter database postgres set timezone = 'Asia/Kathmandu'`,
  `alter database postgres set datestyle = 'German'`,
  `alter database postgres set lock_timeout = '1ms'`,
  `alter database postgres set search_path = 'pg_catalog'`,
];

export async function openStore(engine: Engine, folder: string, hostile: boolean): Promise<Store> {
  const store = engine === 'sqlite' ? sqliteStore(folder) : await postgresStore();
  const position = { sqlite: 'integer primary key', postgres: 'bigint generated always as identity primary key' };
  await store.query(effectsTable(position[engine]));
  if (hostile && engine === 'postgres') for (const statement of UNUSUAL) await store.query(statement);
  return store;
}

function sqliteStore(folder: string): Store {
  const path = join(folder, 'forumbus.db');
  return {
    url: `sqlite:${path}`,
    folders: [],
    async query(statement) {
      const file = new BetterSqlite(path, { timeout: 5000 });
      try {
        const prepared = file.prepare(statement);
        if (prepared.reader) return prepared.all() as Row[];
        prepared.run();
        return [];
      } finally {
        file.close();
      }
    },
    async close() {},
    async remove() {},
  };
}

async function postgresStore(): Promise<Store> {
  const server = await startPostgres({ durable: true });
  const query = async (statement: string): Promise<Row[]> => {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    try {
      // The defaults of the database are for the service, not for the proofs.
      await client.query('set default_transaction_read_only = off; set search_path = public');
      return (await client.query(statement)).rows;
    } finally {
      await client.end();
    }
  };
  return {
    url: server.url,
    query,
    folders: [server.folder],
    server: {
      /** An immediate shutdown: every connection is cut, nothing is flushed, and the start has to recover from the log. */
      async restart() {
        await server.shutDown('SIGQUIT');
        await server.start();
      },
      async terminateBackends() {
        const ended = await query(
          `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'forumbus'`,
        );
        return ended.length;
      },
    },
    close: () => server.shutDown('SIGINT'),
    remove: () => server.remove(),
  };
}

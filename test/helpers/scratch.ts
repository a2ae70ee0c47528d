import { randomUUID } from 'node:crypto';
import { existsSync, statfsSync } from 'node:fs';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import type { Engine } from '../../src/db/engine.ts';
import { openDatabase } from '../../src/db/open.ts';

const MEMORY = '/dev/shm';
/** More than the files of all tests at one moment. Bytes. */
const ENOUGH = 2 * 1024 ** 3;

/**
 * Where files of tests are: in memory where there is enough of it, since a test survives no power cut anyway. A killed
 * process loses nothing there, as on a disk.
 */
export const scratchRoot = existsSync(MEMORY) && free(MEMORY) > ENOUGH ? MEMORY : tmpdir();

function free(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

/** A database of its own; `drop` removes it. */
export interface Scratch {
  url: string;
  drop: () => Promise<void>;
}

/** What scratch databases are made from. */
export interface Templates {
  /** A server on which the tests may create databases. */
  server: string;
  /** The file and the server's database that have all migrations. */
  sqlite: string;
  postgres: string;
}

/** Makes the templates: databases on which all migrations have run. */
export async function makeTemplates(server: string): Promise<{ templates: Templates; drop: () => Promise<void> }> {
  const made = [await emptyFile(), await emptyPostgres(server)] as const;
  for (const { url } of made) {
    const db = await openDatabase(url, pino({ level: 'silent' }));
    await db.migrate();
    await db.close();
  }
  const [sqlite, postgres] = made;
  return {
    templates: { server, sqlite: fileOf(sqlite), postgres: new URL(postgres.url).pathname.slice(1) },
    drop: async () => {
      await Promise.all(made.map(({ drop }) => drop()));
    },
  };
}

/** A database without a table. */
export async function emptyScratch(engine: Engine, { server }: Templates): Promise<Scratch> {
  return engine === 'sqlite' ? emptyFile() : emptyPostgres(server);
}

/** A copy of the template: to run the migrations each time takes several times as long. */
export async function migratedScratch(engine: Engine, { server, sqlite, postgres }: Templates): Promise<Scratch> {
  if (engine === 'postgres') return emptyPostgres(server, `template ${postgres} strategy file_copy`);
  const scratch = await emptyFile();
  await copyFile(sqlite, fileOf(scratch));
  return scratch;
}

/** An empty folder of its own. */
export async function scratchFolder(): Promise<{ path: string; drop: () => Promise<void> }> {
  const path = await mkdtemp(join(scratchRoot, 'forumbus-test-'));
  return { path, drop: () => rm(path, { recursive: true, force: true }) };
}

async function emptyFile(): Promise<Scratch> {
  const { path, drop } = await scratchFolder();
  return { url: `sqlite:${join(path, 'forumbus.db')}`, drop };
}

const fileOf = ({ url }: Scratch): string => url.slice('sqlite:'.length);

/** A database of a server, empty or a copy. */
export async function emptyPostgres(server: string, from = ''): Promise<Scratch> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const run = async (statement: string): Promise<void> => {
    const client = new pg.Client({ connectionString: server });
    await client.connect();
    await client.query(statement);
    await client.end();
  };
  await run(`create database ${name} ${from}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => run(`drop database if exists ${name} with (force)`) };
}

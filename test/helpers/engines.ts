import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { inject } from 'vitest';
import type { Engine } from '../../src/db/database.ts';

/** Both engines: every conformance suite is a `describe.each` over these. */
export const engines: Engine[] = ['sqlite', 'postgres'];

/** An empty database of its own; `drop` removes it. */
export interface Scratch {
  url: string;
  drop: () => Promise<void>;
}

export async function scratchDatabase(engine: Engine): Promise<Scratch> {
  return engine === 'sqlite' ? scratchFile() : scratchPostgres(inject('postgresUrl'));
}

/** An empty folder of its own. */
export async function scratchFolder(): Promise<{ path: string; drop: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'forumbus-test-'));
  return { path, drop: () => rm(path, { recursive: true, force: true }) };
}

async function scratchFile(): Promise<Scratch> {
  const { path, drop } = await scratchFolder();
  return { url: `sqlite:${join(path, 'forumbus.db')}`, drop };
}

async function scratchPostgres(serverUrl: string): Promise<Scratch> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const run = async (statement: string): Promise<void> => {
    const client = new pg.Client({ connectionString: serverUrl });
    await client.connect();
    await client.query(statement);
    await client.end();
  };
  await run(`create database ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => run(`drop database if exists ${name} with (force)`) };
}

import { Kysely, sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import { expect } from 'vitest';
import { migrations } from '../../migrations/index.ts';
import type { Engine } from '../../src/db/engine.ts';
import { dump } from './database.ts';
import { dialect } from './dialect.ts';

/** Brings a database to the version that had so many migrations. */
export async function migrateTo(version: number, engine: Engine, url: string): Promise<void> {
  const db = new Kysely<unknown>({ dialect: dialect(engine, url) });
  await migrate(db, version, engine);
  await db.destroy();
}

async function migrate(db: Kysely<unknown>, version: number, engine: Engine): Promise<void> {
  const known = Object.entries(migrations).slice(0, version);
  const steps = known.map(([name, step]) => [name, { up: (on: Kysely<unknown>) => step(on, engine) }] as const);
  const provider = { getMigrations: async () => Object.fromEntries(steps) };
  const { error } = await new Migrator({ db, provider }).migrateToLatest();
  expect(error).toBeUndefined();
}

/** What columns that later versions dropped had at least. */
const gone: Record<string, string> = { open_questions: '[]' };

/**
 * A database as the first version left it: its schema, and of the rows of another database what that schema has. What
 * both have in common is written today as it was then.
 */
export async function copyToFirstVersion(engine: Engine, from: string, to: string): Promise<void> {
  const db = new Kysely<unknown>({ dialect: dialect(engine, to) });
  await migrate(db, 1, engine);
  const tables = await db.introspection.getTables();
  const copied = await dump(from);
  const override = sql.raw(engine === 'postgres' ? 'overriding system value' : '');
  await db.transaction().execute(async tx => {
    for (const table of ['threads', 'events', 'control_threads', 'questions', 'topics']) {
      const columns = tables.find(({ name }) => name === table)?.columns.map(({ name }) => name) ?? [];
      for (const row of copied[table]?.map(json => JSON.parse(json)) ?? []) {
        await sql`insert into ${sql.table(table)} (${sql.join(columns.map(column => sql.ref(column)))}) ${override}
          values (${sql.join(columns.map(column => row[column] ?? gone[column] ?? null))})`.execute(tx);
      }
    }
    if (engine === 'postgres') {
      await sql`select setval('events_sequence_seq', (select max(sequence) from events))`.execute(tx);
    }
  });
  await db.destroy();
}

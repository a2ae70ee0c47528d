import type { Kysely } from 'kysely';
import { type MigrationProvider, Migrator } from 'kysely/migration';
import { migrations } from '../../migrations/index.ts';
import { StartError } from '../errors.ts';
import type { Engine } from './engine.ts';
import type { Schema } from './schema.ts';

/**
 * Applies the missing migrations in one transaction and answers their names. Processes that start together on one
 * PostgreSQL wait for each other; on SQLite the file's lock lets only one come this far.
 * @throws StartError if the database has migrations that this code does not know.
 */
export async function migrateToLatest(db: Kysely<Schema>, engine: Engine): Promise<string[]> {
  const unknown = await unknownMigrations(db);
  if (unknown.length > 0) {
    throw new StartError(
      `The database's schema is newer than this version of Forumbus (it has ${unknown.join(', ')}).`,
    );
  }
  const { error, results } = await new Migrator({ db, provider: provider(engine) }).migrateToLatest();
  if (error) throw error;
  return (results ?? []).map(result => result.migrationName);
}

export async function missingMigrations(db: Kysely<Schema>, engine: Engine): Promise<string[]> {
  const applied = await appliedMigrations(db);
  return Object.keys(await provider(engine).getMigrations()).filter(name => !applied.includes(name));
}

export async function unknownMigrations(db: Kysely<Schema>): Promise<string[]> {
  return (await appliedMigrations(db)).filter(name => !(name in migrations));
}

async function appliedMigrations(db: Kysely<Schema>): Promise<string[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some(table => table.name === 'kysely_migration')) return [];
  const rows = await (db as unknown as Kysely<{ kysely_migration: { name: string } }>)
    .selectFrom('kysely_migration')
    .select('name')
    .execute();
  return rows.map(row => row.name);
}

function provider(engine: Engine): MigrationProvider {
  const bound = Object.entries(migrations).map(([name, up]) => [name, { up: (db: Kysely<unknown>) => up(db, engine) }]);
  return { getMigrations: async () => Object.fromEntries(bound) };
}

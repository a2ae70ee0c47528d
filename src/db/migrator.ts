import type { Kysely } from 'kysely';
import { type MigrationProvider, Migrator } from 'kysely/migration';
import { migrations } from '../../migrations/index.ts';
import { StartError } from '../errors.ts';
import type { Engine } from './engine.ts';
import { errorCode } from './errors.ts';
import type { Schema } from './schema.ts';

/** PostgreSQL's code for a write in a read-only transaction. */
const READ_ONLY = '25006';

/**
 * Applies the missing migrations in one transaction; resolves with their names. Processes that start together on
 * PostgreSQL wait for each other; on SQLite the lock of the file admits only one.
 * @throws StartError if the database has migrations that this code does not have, or is read-only
 */
export async function migrateToLatest(db: Kysely<Schema>, engine: Engine): Promise<string[]> {
  const unknown = await unknownMigrations(db);
  if (unknown.length > 0) {
    throw new StartError(
      `The database's schema is newer than this version of Forumbus (it has ${unknown.join(', ')}).`,
    );
  }
  const { error, results } = await new Migrator({ db, provider: provider(engine) }).migrateToLatest();
  if (errorCode(error) === READ_ONLY) {
    throw new StartError('The database is read-only: it is a standby, or has default_transaction_read_only.');
  }
  if (error) throw error;
  return (results ?? []).map(result => result.migrationName);
}

/** Names of the migrations that the code has and the database lacks. */
export async function missingMigrations(db: Kysely<Schema>, engine: Engine): Promise<string[]> {
  const applied = await appliedMigrations(db);
  return Object.keys(await provider(engine).getMigrations()).filter(name => !applied.includes(name));
}

/** Names of applied migrations that the code does not have: a newer version applied them. */
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

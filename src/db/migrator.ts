import type { Kysely } from 'kysely';
import { type MigrationProvider, Migrator } from 'kysely/migration';
import { migrations } from '../../migrations/index.ts';
import { textOf } from '../error-text.ts';
import { StartError } from '../errors.ts';
import type { Engine } from './engine.ts';
import { errorCode } from './errors.ts';
import type { Schema } from './schema.ts';

/** PostgreSQL's code for a write in a read-only transaction. */
const READ_ONLY = '25006';
/** And for a table that does not exist. */
const NO_TABLE = '42P01';

/** The names of migrations beside which code of the version before goes on. It knows them by their names only. */
const ADDITIVE = /-additive$/;

/**
 * Applies the missing migrations in one transaction; resolves with their names. Processes that start together on
 * PostgreSQL wait for each other; on SQLite the lock of the file admits only one.
 * @param others counts the other processes that use the database. Those that come later wait for the end of its transaction.
 * @throws StartError if the schema is newer than the code, others would be left behind, or the database is read-only
 */
export async function migrateToLatest(
  db: Kysely<Schema>,
  engine: Engine,
  others: (db: Kysely<Schema>) => Promise<number>,
): Promise<string[]> {
  const missing = await missingMigrations(db, engine);
  const newer = newerAmong(await appliedMigrations(db));
  const breaking = newer.filter(name => missing.length > 0 || !ADDITIVE.test(name));
  if (breaking.length > 0) {
    throw new StartError(
      `The database's schema is newer than this version of Forumbus (it has ${breaking.join(', ')}).`,
    );
  }
  // The migrator takes them for a fault.
  if (newer.length > 0) return [];
  const exclusive = missing.filter(name => !ADDITIVE.test(name));
  // In the transaction: another process may have migrated meanwhile, and then there is nothing to do.
  const assertAlone = async (tx: Kysely<unknown>) => {
    const running = exclusive.length > 0 ? await others(tx as Kysely<Schema>) : 0;
    if (running === 0) return;
    throw new StartError(
      `Other processes use the database (${running}), and are too old for its new schema (${exclusive.join(', ')}). ` +
        'Stop all of them first.',
    );
  };
  const { error, results } = await new Migrator({ db, provider: provider(engine, assertAlone) }).migrateToLatest();
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

/** Names of applied migrations that this code cannot work with: a newer version applied them. */
export async function unknownMigrations(db: Kysely<Schema>): Promise<string[]> {
  return unknownAmong(await appliedMigrations(db));
}

/** Those of the applied migrations that this code cannot work with. */
export function unknownAmong(applied: string[]): string[] {
  return newerAmong(applied).filter(name => !ADDITIVE.test(name));
}

const newerAmong = (applied: string[]) => applied.filter(name => !(name in migrations));

async function appliedMigrations(db: Kysely<Schema>): Promise<string[]> {
  const query = (db as unknown as Kysely<{ kysely_migration: { name: string } }>)
    .selectFrom('kysely_migration')
    .select('name');
  try {
    return (await query.execute()).map(row => row.name);
  } catch (error) {
    // An empty database.
    if (errorCode(error) === NO_TABLE || /^no such table/.test(textOf(error))) return [];
    throw error;
  }
}

/** @param before runs in the transaction of the migrations, ahead of each */
function provider(engine: Engine, before: (tx: Kysely<unknown>) => Promise<void> = async () => {}): MigrationProvider {
  const bound = Object.entries(migrations).map(([name, step]) => {
    const up = (db: Kysely<unknown>) => before(db).then(() => step(db, engine));
    return [name, { up }];
  });
  return { getMigrations: async () => Object.fromEntries(bound) };
}

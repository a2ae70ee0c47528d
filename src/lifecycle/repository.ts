import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import type { Engine } from '../db/engine.ts';
import type { Row } from '../db/schema.ts';

/** An erasure that is not done. */
export type ErasureRow = Row<'erasures'>;

export async function insertErasure(tx: Tx, row: ErasureRow): Promise<void> {
  await tx.query.insertInto('erasures').values(row).execute();
}

export async function findErasure(reader: Reader, run_id: string): Promise<ErasureRow | undefined> {
  return reader.query.selectFrom('erasures').selectAll().where('run_id', '=', run_id).executeTakeFirst();
}

/** The runs that are being erased. */
export async function listErasures(reader: Reader, limit: number): Promise<string[]> {
  const query = reader.query.selectFrom('erasures').select('run_id').orderBy('run_id').limit(limit);
  return (await query.execute()).map(row => row.run_id);
}

export async function updateErasure(tx: Tx, { run_id, ...row }: ErasureRow): Promise<void> {
  await tx.query.updateTable('erasures').set(row).where('run_id', '=', run_id).execute();
}

/** Lets all erasures begin again. */
export async function restartErasures(tx: Tx): Promise<void> {
  await tx.query.updateTable('erasures').set({ phase: 'words', at: 0, post: 0, posts: 0 }).execute();
}

export async function deleteErasure(tx: Tx, run_id: string): Promise<void> {
  await tx.query.deleteFrom('erasures').where('run_id', '=', run_id).execute();
}

/**
 * Checks references between rows as each statement ends. PostgreSQL would otherwise note each row that is to be checked at
 * the commit, which would take long then.
 */
export async function checkReferencesAtOnce(tx: Tx, engine: Engine): Promise<void> {
  if (engine === 'postgres') await sql`set constraints all immediate`.execute(tx.query);
}

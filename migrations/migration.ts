import type { Kysely } from 'kysely';

/**
 * Applies one step to the schema. Migrations import nothing from src, so that later code cannot change their effect.
 */
export type Migration = (db: Kysely<unknown>, engine: 'sqlite' | 'postgres') => Promise<void>;

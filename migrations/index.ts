import type { Kysely } from 'kysely';
import { spine } from './001-spine.ts';

/** Applies one step to the schema. Migrations import nothing from src: what they did once must stay what they do. */
export type Migration = (db: Kysely<unknown>, engine: 'sqlite' | 'postgres') => Promise<void>;

/** All migrations in the order in which they are applied. A name that has shipped is never changed or reused. */
export const migrations: Record<string, Migration> = {
  '001-spine': spine,
};

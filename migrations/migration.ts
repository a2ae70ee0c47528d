import type { Kysely } from 'kysely';

/** Applies one step to the schema. Migrations import nothing from src: what they did once must stay what they do. */
export type Migration = (db: Kysely<unknown>, engine: 'sqlite' | 'postgres') => Promise<void>;

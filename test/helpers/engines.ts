import { inject } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { emptyScratch, migratedScratch, type Scratch } from './scratch.ts';

export type { Scratch } from './scratch.ts';

/** Both engines: every conformance suite is a `describe.each` over these. */
export const engines: Engine[] = ['sqlite', 'postgres'];

/** A database of its own that has all migrations. */
export async function scratchDatabase(engine: Engine): Promise<Scratch> {
  return migratedScratch(engine, inject('templates'));
}

/** A database of its own without a table. */
export async function emptyDatabase(engine: Engine): Promise<Scratch> {
  return emptyScratch(engine, inject('templates'));
}

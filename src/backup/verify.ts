import { newUid, systemClock } from '../clock.ts';
import type { ReadOnlyDatabase } from '../db/database.ts';
import { isDamaged } from '../db/errors.ts';
import { brokenReferences, sqliteFaults } from '../db/inspection.ts';
import { openSqliteReadOnly } from '../db/sqlite/database.ts';
import { StartError } from '../errors.ts';
import { createEvents } from '../events/service.ts';

/** What a backup holds. */
export interface Verified {
  /** Of its newest event; 0 if there is none. */
  sequence: number;
  /** The migrations that the next start on it will apply. */
  missing_migrations: string[];
}

/**
 * Reads all of a backup and answers what it holds.
 * @param path of a copy that nobody else uses
 * @param name what the operator calls it
 * @throws StartError if it is damaged, or not a Forumbus database, or one that a newer version has made
 */
export async function verify(path: string, name: string): Promise<Verified> {
  const backup = opened(path, name);
  try {
    const faults = await sqliteFaults(backup.read, true);
    if (faults.length > 0) throw new StartError(`The backup ${name} is damaged: ${faults[0]}.`);
    const broken = await brokenReferences(backup.read);
    if (broken > 0)
      throw new StartError(`The backup ${name} is damaged: ${broken} rows refer to rows that are missing.`);
    const unknown = await backup.unknownMigrations();
    if (unknown.length > 0) {
      throw new StartError(
        `The schema of the backup ${name} is newer than this version of Forumbus (it has ${unknown.join(', ')}).`,
      );
    }
    const missing_migrations = await backup.missingMigrations();
    if (missing_migrations.includes('001-spine')) throw new StartError(`The file ${name} is no database of Forumbus.`);
    const events = createEvents({ db: backup, clock: systemClock, newUid, publish: async () => {} });
    return { sequence: await events.latest(backup.read), missing_migrations };
  } catch (error) {
    if (!isDamaged(error)) throw error;
    throw new StartError(`The backup ${name} is damaged.`);
  } finally {
    await backup.close();
  }
}

function opened(path: string, name: string): ReadOnlyDatabase {
  try {
    return openSqliteReadOnly(path, true);
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    throw new StartError(`The file ${name} is no backup: it is damaged, or not a SQLite database.`);
  }
}

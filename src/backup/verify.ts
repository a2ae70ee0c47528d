import { newUid, systemClock } from '../clock.ts';
import { CommitNotifier } from '../commit-notifier.ts';
import type { ReadOnlyDatabase } from '../db/database.ts';
import { isDamaged } from '../db/errors.ts';
import { brokenReferences, sqliteFaults } from '../db/inspection.ts';
import { openSqliteReadOnly } from '../db/sqlite/database.ts';
import { StartError } from '../errors.ts';
import { createEvents } from '../events/service.ts';

/** The content of a verified backup. */
export interface Verified {
  /** Sequence of its newest event; 0 if there is none. */
  sequence: number;
  /** Migrations that the next start will apply. */
  missing_migrations: string[];
}

/**
 * Verifies a backup: integrity, foreign keys and schema.
 * @param path of a copy that no other process uses
 * @param name the backup's name in error messages
 * @throws StartError if it is damaged, is not a Forumbus database, or has a newer schema
 */
export async function verify(path: string, name: string): Promise<Verified> {
  const backup = openBackup(path, name);
  try {
    const faults = await sqliteFaults(backup.read, true);
    if (faults.length > 0) throw new StartError(`The backup ${name} is damaged: ${faults[0]}.`);
    const broken = await brokenReferences(backup.read);
    if (broken > 0) throw new StartError(`The backup ${name} is damaged: ${broken} rows refer to missing rows.`);
    const unknown = await backup.unknownMigrations();
    if (unknown.length > 0) {
      throw new StartError(
        `The schema of the backup ${name} is newer than this version of Forumbus (it has ${unknown.join(', ')}).`,
      );
    }
    const missing_migrations = await backup.missingMigrations();
    if (missing_migrations.includes('001-spine')) throw new StartError(`The file ${name} is not a Forumbus database.`);
    const events = createEvents({ db: backup, clock: systemClock, newUid, commits: new CommitNotifier() });
    return { sequence: await events.latest(backup.read), missing_migrations };
  } catch (error) {
    if (!isDamaged(error)) throw error;
    throw new StartError(`The backup ${name} is damaged.`);
  } finally {
    await backup.close();
  }
}

function openBackup(path: string, name: string): ReadOnlyDatabase {
  try {
    return openSqliteReadOnly(path, true);
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    throw new StartError(`The file ${name} is not a backup: it is damaged, or not a SQLite database.`);
  }
}

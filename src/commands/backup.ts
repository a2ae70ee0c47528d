import { resolve } from 'node:path';
import { backUp } from '../backup/backup.ts';
import { sqliteFile } from '../db/url.ts';
import { StartError } from '../errors.ts';
import { callOf } from '../invocation.ts';
import { answerHelp, readArguments, runCommand } from './command.ts';

/* `npm run backup`: copies the SQLite database, also while the service runs, and verifies the copy. */

const USAGE = callOf('backup', '<file>');

await answerHelp(USAGE, 'Copies the SQLite database to a file and verifies the copy, also while the service runs.');
await runCommand('The backup failed.', async ({ config, log }) => {
  const { positionals } = readArguments(USAGE, 1, {});
  const database = sqliteFile(config.DATABASE_URL);
  if (database === undefined) {
    throw new StartError(
      'DATABASE_URL names a PostgreSQL database: back it up with pg_dump, as docs/operations.md says.',
    );
  }
  const path = resolve(positionals[0] as string);
  const started = performance.now();
  const backup = await backUp(database, path);
  log.info({ path, ...backup, duration_ms: Math.round(performance.now() - started) }, 'backed up');
});

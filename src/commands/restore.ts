import { resolve } from 'node:path';
import { restore } from '../backup/restore.ts';
import { sqliteFile } from '../db/url.ts';
import { StartError } from '../errors.ts';
import { callOf } from '../invocation.ts';
import { answerHelp, readArguments, runCommand } from './command.ts';

/* `npm run restore`: replaces the SQLite database by a backup while no service runs. */

const USAGE = callOf('restore', '<backup> [--replace]');

await answerHelp(USAGE, 'Puts a backup in the place of the SQLite database. The service must be stopped.');
await runCommand('The restore failed.', async ({ config, log }) => {
  const { positionals, values } = readArguments(USAGE, 1, {
    replace: { type: 'boolean', default: false },
  });
  const path = sqliteFile(config.DATABASE_URL);
  if (path === undefined) {
    throw new StartError(
      'DATABASE_URL names a PostgreSQL database: restore it with pg_restore, as docs/operations.md says.',
    );
  }
  const backup = resolve(positionals[0] as string);
  const started = performance.now();
  const restored = await restore(backup, path, { replace: values.replace, now: Date.now() });
  log.info({ path, backup, ...restored, duration_ms: Math.round(performance.now() - started) }, 'restored');
});

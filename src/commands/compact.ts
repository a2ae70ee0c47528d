import { compact } from '../backup/compact.ts';
import { sqliteFile } from '../db/url.ts';
import { StartError } from '../errors.ts';
import { callOf } from '../invocation.ts';
import { answerHelp, readArguments, runCommand } from './command.ts';

/* `npm run compact`: writes the SQLite database anew, without what was deleted, while no service runs. */

const USAGE = callOf('compact');

await answerHelp(
  USAGE,
  'Writes the SQLite database anew, so that nothing that was erased is left in its file. The service must be stopped.',
);
await runCommand('The compaction failed.', async ({ config, log }) => {
  readArguments(USAGE, 0, {});
  const path = sqliteFile(config.DATABASE_URL);
  if (path === undefined) {
    throw new StartError('DATABASE_URL names a PostgreSQL database: use VACUUM FULL, as docs/operations.md says.');
  }
  const started = performance.now();
  const sizes = compact(path);
  log.info({ path, ...sizes, duration_ms: Math.round(performance.now() - started) }, 'compacted');
});

import { openDatabase } from '../db/open.ts';
import { callOf } from '../invocation.ts';
import { answerHelp, readArguments, runCommand, withResource } from './command.ts';

/* `npm run migrate`: applies missing migrations and ends. The service does the same at every start. */

const USAGE = callOf('migrate');

await answerHelp(USAGE, 'Brings the schema of the database up to date. Every start of the service does the same.');
await runCommand('The migration failed.', async ({ config, log }) => {
  readArguments(USAGE, 0, {});
  const migrations = await withResource(openDatabase(config.DATABASE_URL, log), db => db.migrate());
  log.info({ migrations }, 'the schema is up to date');
});

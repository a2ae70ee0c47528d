import { openDatabase } from '../db/open.ts';
import { answerHelp, lending, readArguments, runCommand } from './command.ts';

/* The command behind `npm run migrate`: applies what is missing and ends. The service does the same at every start. */

const USAGE = 'npm run migrate';

await answerHelp(USAGE, 'Brings the schema of the database up to date. Every start of the service does the same.');
await runCommand('The migration failed.', async ({ config, log }) => {
  readArguments(USAGE, 0, {});
  const migrations = await lending(openDatabase(config.DATABASE_URL, log), db => db.migrate());
  log.info({ migrations }, 'the schema is up to date');
});

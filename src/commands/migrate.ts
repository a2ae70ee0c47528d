import { openDatabase } from '../db/open.ts';
import { lending, runCommand } from './command.ts';

/* The command behind `npm run migrate`: applies what is missing and ends. The service does the same at every start. */

await runCommand('The migration failed.', async ({ config, log }) => {
  const migrations = await lending(openDatabase(config.DATABASE_URL, log), db => db.migrate());
  log.info({ migrations }, 'the schema is up to date');
});

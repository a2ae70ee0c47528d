import { openDatabase } from '../db/open.ts';
import { runCommand, withResource } from './command.ts';

/* `npm run migrate`: applies missing migrations and ends. The service does the same at every start. */

await runCommand('The migration failed.', async ({ config, log }) => {
  const migrations = await withResource(openDatabase(config.DATABASE_URL, log), db => db.migrate());
  log.info({ migrations }, 'the schema is up to date');
});

import { readConfig } from './config.ts';
import { openDatabase } from './db/open.ts';
import { StartError } from './errors.ts';
import { createLogger, logWarnings } from './logging.ts';

/* The command behind `npm run migrate`: applies what is missing and ends. The service does the same at every start. */

const log = createLogger('info');
logWarnings(log);
try {
  const config = readConfig(process.env);
  const db = await openDatabase(config.DATABASE_URL, log);
  try {
    log.info({ migrations: await db.migrate() }, 'the schema is up to date');
  } finally {
    await db.close();
  }
} catch (error) {
  if (error instanceof StartError) log.fatal(error.message);
  else log.fatal({ err: error }, 'The migration failed.');
  process.exitCode = 1;
}

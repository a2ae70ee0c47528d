import closeWithGrace from 'close-with-grace';
import type { FastifyInstance } from 'fastify';
import { buildApp } from './app.ts';
import { type Config, maskedConfig, misspelt, readConfig } from './config.ts';
import { troubleOf } from './db/errors.ts';
import { StartError } from './errors.ts';
import { createLogger, type Logger, logWarnings } from './logging.ts';

/** Time to close the database after the grace for requests and handlers is used up. Milliseconds. */
const CLOSE_MARGIN_MS = 2000;

let log = createLogger('info');
try {
  const config = readConfig(process.env);
  log = createLogger(config.LOG_LEVEL);
  logWarnings(log);
  for (const sentence of misspelt(process.env)) log.warn(sentence);
  await serve(config, log);
} catch (error) {
  const trouble = troubleOf(error);
  if (error instanceof StartError) log.fatal(error.message);
  else log.fatal({ err: error }, trouble ? `Forumbus could not start: ${trouble.detail}` : 'Forumbus could not start.');
  process.exitCode = 1;
}

async function serve(config: Config, log: Logger): Promise<void> {
  log.info({ config: maskedConfig(config) }, 'starting');
  let app: FastifyInstance | undefined;
  // A second signal, or the end of the delay, ends the process at once. `beforeExit` is skipped, so that a failed start
  // keeps its own exit code.
  const delay = config.SHUTDOWN_GRACE_MS + CLOSE_MARGIN_MS;
  closeWithGrace({ delay, logger: false, skip: ['beforeExit'] }, async ({ signal, err }) => {
    if (err) log.fatal({ err }, 'stopping after an uncaught error');
    else log.info({ signal }, 'stopping');
    await app?.close();
    log.info('stopped');
  });
  app = await buildApp(config, log);
  try {
    // For `localhost` Fastify opens a second server on [::1], without the limits and error answers of the first.
    const host = config.HOST === 'localhost' ? '127.0.0.1' : config.HOST;
    const listenTextResolver = (address: string) => `Forumbus listens on ${address}`;
    await app.listen({ host, port: config.PORT, listenTextResolver });
  } catch (error) {
    await app.close();
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') throw new StartError(`The address ${config.HOST}:${config.PORT} is in use.`);
    if (code === 'EADDRNOTAVAIL' || code === 'EACCES') {
      throw new StartError(`The address ${config.HOST}:${config.PORT} is not available (${code}).`);
    }
    throw error;
  }
  const address = app.server.address();
  if (typeof address === 'object' && address) log.info({ host: address.address, port: address.port }, 'listening');
}

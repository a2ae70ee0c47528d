import { setTimeout as sleep } from 'node:timers/promises';
import closeWithGrace from 'close-with-grace';
import type { FastifyInstance } from 'fastify';
import { buildApp } from './app.ts';
import { answerHelp, logFailure, readArguments } from './commands/command.ts';
import { type Config, maskedConfig, misspelt, readConfig } from './config.ts';
import { textOf } from './error-text.ts';
import { StartError } from './errors.ts';
import { createLogger, type Logger, logWarnings } from './logging.ts';
import { stdoutWritten } from './stdout.ts';
import { failOrigin } from './worker/origin.ts';

/** Time to close the database after the grace for requests and handlers is used up. Milliseconds. */
const CLOSE_MARGIN_MS = 2000;

/**
 * A terminal sends Ctrl-C to npm and to the service, and npm passes it on. Within this time, both count as one signal.
 * Milliseconds.
 */
const SAME_SIGNAL_MS = ['start', 'npx'].includes(process.env.npm_lifecycle_event ?? '') ? 1000 : 0;
/** What Node does in threads that may hang: it looks up names, and opens files such as pipes. */
const IN_THREADS = ['GetAddrInfoReqWrap', 'GetNameInfoReqWrap', 'FSReqCallback', 'FSReqPromise'];
/** How often the end of the service looks whether such a thread still works. Milliseconds. */
const THREADS_CHECK_MS = 50;
/** How often the service looks whether the shell of npx is there. Milliseconds. */
const SHELL_CHECK_MS = 500;
/** Signals that would end the process by default. Node forgets that `nohup` ignores SIGHUP. */
const IGNORED = ['SIGHUP', 'SIGQUIT', 'SIGUSR2', 'SIGALRM', 'SIGVTALRM', 'SIGIO', 'SIGPWR', 'SIGSTKFLT'] as const;
/** What close-with-grace would end the process for, beside errors that nobody caught. A start that failed has its own exit code. */
const SKIPPED: closeWithGrace.AllEvents[] = [
  ...(['SIGHUP', 'SIGQUIT', 'SIGUSR2', 'SIGTERM', 'SIGINT'] as const),
  ...(['SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGSEGV'] as const),
  'beforeExit',
  'uncaughtException',
  'unhandledRejection',
];

const USAGE = 'npm start';

await answerHelp(USAGE, 'Runs the service. Settings are environment variables: see docs/configuration.md.');
for (const signal of IGNORED) process.on(signal, () => {});
const log = createLogger('info');
try {
  readArguments(USAGE, 0, {});
  const config = readConfig(process.env);
  log.level = config.LOG_LEVEL;
  logWarnings(log);
  for (const sentence of misspelt(process.env)) log.warn(sentence);
  await serve(config, log);
} catch (error) {
  logFailure(log, 'Forumbus could not start.', error);
  // Not at the end of the event loop, which a stalled stdout would keep alive.
  await stdoutWritten();
  await Promise.race([threadsEnded(), sleep(CLOSE_MARGIN_MS)]);
  exitNow();
}

async function serve(config: Config, log: Logger): Promise<void> {
  log.info({ config: maskedConfig(config) }, 'starting');
  let app: FastifyInstance | undefined;
  // A second signal, or the end of the delay, ends the process at once.
  const delay = config.SHUTDOWN_GRACE_MS + CLOSE_MARGIN_MS;
  let stoppingSince: number | undefined;
  let fault: { error: unknown } | undefined;
  const { close } = closeWithGrace({ delay, logger: false, skip: SKIPPED, onTimeout: exitNow }, async () => {
    stoppingSince ??= performance.now();
    if (fault?.error instanceof StartError) log.fatal(fault.error.message);
    else if (fault) log.fatal({ err: fault.error }, 'stopping after an uncaught error');
    await app?.close();
    log.info('stopped');
    await stdoutWritten();
    await threadsEnded();
    if (fault) process.exit(1);
  });
  const onSignal = (signal: NodeJS.Signals) => {
    if (stoppingSince !== undefined) {
      if (performance.now() - stoppingSince >= SAME_SIGNAL_MS) exitNow();
      return;
    }
    stoppingSince = performance.now();
    log.info({ signal }, 'stopping');
    close();
  };
  const onUncaught = (error: unknown) => {
    const origin = failOrigin(error);
    if (origin) {
      const { handler, message_id } = origin;
      log.error({ handler, message_id, error: textOf(error) }, 'uncaught error of a handler');
    } else if (stoppingSince !== undefined) exitNow();
    else fail(error);
  };
  const fail = (error: unknown) => {
    if (stoppingSince !== undefined) return;
    fault = { error };
    close();
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  if (process.env.npm_lifecycle_event === 'npx') {
    // The shell that npx starts may take SIGTERM for itself and leave the service behind.
    const shell = process.ppid;
    const check = setInterval(() => {
      if (process.ppid === shell) return;
      clearInterval(check);
      onSignal('SIGTERM');
    }, SHELL_CHECK_MS).unref();
  }
  process.on('uncaughtException', onUncaught).on('unhandledRejection', onUncaught);
  app = await buildApp(config, log, {}, fail);
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
    if (code === 'ENOTFOUND' || code?.startsWith('EAI_')) {
      throw new StartError(`The setting HOST is wrong: no address of the name ${config.HOST} is found (${code}).`);
    }
    throw error;
  }
  const address = app.server.address();
  if (typeof address === 'object' && address) log.info({ host: address.address, port: address.port }, 'listening');
}

function threadsWork(): boolean {
  return process.getActiveResourcesInfo().some(name => IN_THREADS.includes(name));
}

async function threadsEnded(): Promise<void> {
  while (threadsWork()) await sleep(THREADS_CHECK_MS);
}

/** Ends the process with 1. `process.exit` waits for threads that work, and meanwhile only SIGKILL can end it. */
function exitNow(): never {
  if (threadsWork()) process.kill(process.pid, 'SIGKILL');
  process.exit(1);
}

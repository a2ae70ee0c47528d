import { type Logger, pino } from 'pino';
import pretty from 'pino-pretty';

export type { Logger };

/**
 * JSON lines on stdout; readable lines when stdout is a terminal.
 * Headers that carry secrets are never written, should anything ever log a whole request.
 */
export function createLogger(level: string): Logger {
  const options = {
    level,
    redact: ['req.headers.authorization', 'req.headers.cookie', 'req.headers["idempotency-key"]', '*.password'],
  };
  return process.stdout.isTTY ? pino(options, pretty({ sync: true })) : pino(options);
}

/** Node's own warnings as log lines, in the place of plain text on stderr. */
export function logWarnings(log: Logger): void {
  process.removeAllListeners('warning');
  process.on('warning', warning => log.warn({ err: warning }, 'Node warns'));
}

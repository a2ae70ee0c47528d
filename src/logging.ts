import { type Logger, pino, stdSerializers } from 'pino';
import pretty from 'pino-pretty';
import { textOf } from './error-text.ts';

export type { Logger };

const TOKENS = /fbt_([0-9a-f]{16})_[0-9a-f]{64}/g;

/**
 * JSON lines on stdout; readable lines when stdout is a terminal.
 * Headers that carry secrets are never written, should anything ever log a whole request, and of tokens that somebody
 * has put where they do not belong, as in a URL, only the ids.
 */
export function createLogger(level: string): Logger {
  const options = {
    level,
    redact: ['req.headers.authorization', 'req.headers.cookie', 'req.headers["idempotency-key"]', '*.password'],
    serializers: { err: serializedError },
    hooks: { streamWrite: (line: string) => line.replace(TOKENS, 'fbt_$1_***') },
  };
  return process.stdout.isTTY ? pino(options, pretty({ sync: true })) : pino(options);
}

/** Whatever was thrown: a line about an error must not fail for what the error is. */
function serializedError(error: unknown): unknown {
  try {
    return stdSerializers.err(error as Error);
  } catch {
    return textOf(error);
  }
}

/** Node's own warnings as log lines, in the place of plain text on stderr. */
export function logWarnings(log: Logger): void {
  process.removeAllListeners('warning');
  process.on('warning', warning => log.warn({ err: warning }, 'Node warns'));
}

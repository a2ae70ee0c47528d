import { type Logger, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { lineWriter } from './stdout.ts';

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
    hooks: { streamWrite: (line: string) => line.replace(TOKENS, 'fbt_$1_***') },
  };
  const stdout = lineWriter(dropped => log.warn({ dropped }, 'log lines were dropped: nobody read stdout'));
  const prettify = prettyFactory({});
  const log = pino(options, process.stdout.isTTY ? { write: line => stdout.write(prettify(line)) } : stdout);
  return log;
}

/** Node's own warnings as log lines, in the place of plain text on stderr. */
export function logWarnings(log: Logger): void {
  process.removeAllListeners('warning');
  process.on('warning', warning => log.warn({ err: warning }, 'Node warns'));
}

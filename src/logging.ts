import type { FastifyReply } from 'fastify';
import { type DestinationStream, type Logger, type LoggerOptions, pino, stdSerializers } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { textOf } from './error-text.ts';
import { STEERING } from './printable.ts';
import { lineWriter } from './stdout.ts';
import { cut } from './text.ts';

export type { Logger };

/** A character of a token as such, or percent-encoded any number of times (RFC 3986, 2.1). */
const encoded = (plain: string, hex: string) => `(?:${plain}|%(?:25)*${hex})`;
const DIGIT = encoded('[0-9a-f]', '(?:3\\d|[46][1-6])');
const UNDERSCORE = encoded('_', '5f');
const PREFIX = [encoded('f', '[46]6'), encoded('b', '[46]2'), encoded('t', '[57]4'), UNDERSCORE].join('');
/** A whole token, or its beginning up to a part of the secret. */
const TOKENS = new RegExp(`${PREFIX}((?:${DIGIT}){16})${UNDERSCORE}(?:${DIGIT})+`, 'gi');

/** The path of an answer link: anyone who has it may answer. */
const LINKS = /\/a\/[\w-]+\.[\w-]{43}/g;

/** What a provider sends back with a browser: a code, which counts once. */
const CALLBACKS = /(\/page\/login\/oidc\/callback\?)[^\s"]+/g;

/**
 * Cuts the tokens in a text to their ids, also where they are percent-encoded in whole or in part. Hides answer links
 * and codes of logins.
 */
export function maskTokens(text: string): string {
  return text.replace(TOKENS, 'fbt_$1_***').replace(LINKS, '/a/***').replace(CALLBACKS, '$1***');
}

const steeringRuns = new RegExp(`${STEERING}+`, 'gu');
const steeringInLines = new RegExp(`(?!\\n)${STEERING}`, 'gu');

/**
 * Logs to stdout: JSON lines, or one readable line each on a terminal.
 * Headers that carry secrets are redacted. Tokens in any other place, such as a URL, are cut to their ids.
 */
export function createLogger(level: string): Logger {
  const options = optionsOf(level);
  const stdout = lineWriter(dropped => log.warn({ dropped }, 'log lines were dropped: nobody read stdout'));
  const log = process.stdout.isTTY ? terminalLogger(options, stdout) : pino(options, stdout);
  return log;
}

/** As {@link createLogger}, to stderr: for a command whose stdout is its answer. */
export function createStderrLogger(level: string): Logger {
  const stderr = { write: (line: string) => void process.stderr.write(line) };
  return process.stderr.isTTY ? terminalLogger(optionsOf(level), stderr) : pino(optionsOf(level), stderr);
}

function optionsOf(level: string): LoggerOptions {
  return {
    level,
    redact: ['req.headers.authorization', 'req.headers.cookie', 'req.headers["idempotency-key"]', '*.password'],
    serializers: { err: serializedError },
    hooks: { streamWrite: maskTokens },
  };
}

/** Serializes any thrown value; one that cannot be read must not fail the log line. */
function serializedError(error: unknown): unknown {
  try {
    return stdSerializers.err(error as Error);
  } catch {
    return textOf(error);
  }
}

/** Logs Node's own warnings, instead of plain text on stderr. */
export function logWarnings(log: Logger): void {
  process.removeAllListeners('warning');
  process.on('warning', warning => {
    // A clone has the page's modules without their types, by a function that Node calls experimental.
    if (!warning.message.startsWith('stripTypeScriptTypes')) log.warn({ err: warning }, 'Node warns');
  });
}

/** Lines for programs. A terminal repeats them: in the last line of the request, or in Fastify's line of the address. */
const FOR_PROGRAMS = new Set<unknown>(['incoming request', 'request refused', 'listening']);

/** Fields that {@link messageOf} puts into the text, or that are of no use on a terminal. */
const HIDDEN_FIELDS = ['hostname', 'config', 'request_id', 'res', 'responseTime'];

const ERROR_LEVEL = 50;
/** Paths and problems may repeat what a caller has sent. Characters. */
const SHOWN_LENGTH = 300;

interface Line {
  level: number;
  msg?: string;
  request_id?: string;
  res?: ReturnType<typeof describeReply>;
  /** Milliseconds. */
  responseTime?: number;
  /** A serialized error, or any other value that was thrown. */
  err?: { message?: string; stack?: string } | string | number | boolean | null;
}

function terminalLogger(options: LoggerOptions, stdout: DestinationStream): Logger {
  const prettify = prettyFactory({
    singleLine: true,
    ignore: HIDDEN_FIELDS.join(','),
    messageFormat: line => messageOf(line as unknown as Line),
    customPrettifiers: { err: (_err, _name, line) => stackOf(line as unknown as Line) as string },
  });
  return pino(
    {
      ...options,
      serializers: { ...options.serializers, res: describeReply },
      hooks: {
        ...options.hooks,
        logMethod(args, log) {
          const [fields, message] = args as [{ err?: unknown }, unknown];
          // A request that could not be parsed has no last line; its refusal carries the parser's error.
          if (FOR_PROGRAMS.has(message) && !fields.err) return;
          log.apply(this, args);
        },
      },
    },
    { write: line => stdout.write(prettify(line)) },
  );
}

/** Without a request where Fastify logs a bare status. */
function describeReply({ statusCode, request, refusal }: Pick<FastifyReply, 'statusCode'> & Partial<FastifyReply>) {
  const [path = ''] = request?.originalUrl.split('?') ?? [];
  const problem = refusal ? cut(`${refusal.code}: ${refusal.message}`, SHOWN_LENGTH) : undefined;
  return { statusCode, method: request?.method, path: cut(path, SHOWN_LENGTH), problem };
}

/** Example: `GET /runs 400 3 ms 019a… VALIDATION_FAILED: query/x: is not a known field`. */
function messageOf(line: Line): string {
  const { msg, res, responseTime, request_id, err } = line;
  const parts = res ? [res.method, res.path, res.statusCode] : [msg];
  if (responseTime !== undefined) parts.push(Math.round(responseTime), 'ms');
  else if (res) parts.push(msg);
  parts.push(request_id, res?.problem);
  const error = typeof err === 'object' ? err?.message : err;
  const ending = error === undefined || stackOf(line) ? '' : `: ${error}`;
  const text = parts.filter(part => part !== undefined).join(' ') + ending;
  // A path or a message from outside must neither break the line nor steer the terminal.
  return text.replace(steeringRuns, ' ');
}

/** The lines of an error's stack, if the line reports a failure: any other line names its error in its message. */
function stackOf({ level, err }: Line): string | undefined {
  if (level < ERROR_LEVEL || typeof err !== 'object') return undefined;
  return err?.stack?.replace(steeringInLines, '');
}

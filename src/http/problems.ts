import { type IncomingHttpHeaders, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { newUid } from '../clock.ts';
import { FAILING, troubleOf, UnknownOutcome } from '../db/errors.ts';
import { type ProblemCode, type ProblemItem, problemTable, Refusal } from '../errors.ts';
import { type Logger, maskTokens } from '../logging.ts';
import { allowedMethods } from './allowed-methods.ts';
import { SECURITY_HEADERS } from './headers.ts';
import { isEndless } from './limits.ts';
import type { RefusalLimit, RequestLog } from './request-log.ts';
import { Ref } from './schemas.ts';
import { toItems } from './validation.ts';

declare module 'fastify' {
  interface FastifyReply {
    /** The refusal that this reply sends; null for any other answer. */
    refusal: Refusal | null;
  }
}

export const PROBLEM_TYPE = 'application/problem+json';

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'A URN derived from the code.' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: 'Explains the problem of this request in one sentence.' }),
    code: Type.String({ description: 'A stable code for programs.' }),
    request_id: Type.String({ description: 'The id in the X-Request-Id header and in the logs.' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          in: Type.Enum(['body', 'query', 'params', 'headers']),
          pointer: Type.String({ description: 'A JSON Pointer (RFC 6901).' }),
          code: Type.String(),
          detail: Type.String(),
        }),
      ),
    ),
  },
  {
    $id: 'Problem',
    additionalProperties: true,
    description: 'A problem document (RFC 9457). Some codes add members of their own.',
    examples: [
      {
        type: 'urn:forumbus:problem:validation-failed',
        title: problemTable.VALIDATION_FAILED.title,
        status: 400,
        detail: 'body/question: is required',
        code: 'VALIDATION_FAILED',
        request_id: '019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a',
        errors: [{ in: 'body', pointer: '/question', code: 'REQUIRED', detail: 'is required' }],
      },
    ],
  },
);

interface ProblemResponse {
  description: string;
  headers?: Record<string, object>;
  /** `x-codes` is for openapi/complete.ts, which writes them into the schema: the service itself serializes `Problem`. */
  content: Record<string, { schema: ReturnType<typeof Ref>; 'x-codes': ProblemCode[] }>;
}

/** The codes with which any operation may refuse a request. */
export const COMMON_CODES = [
  'VALIDATION_FAILED',
  'MALFORMED_URL',
  'MALFORMED_REQUEST',
  'UNAUTHORIZED',
  'FORBIDDEN',
  'HOST_NOT_ALLOWED',
  'ORIGIN_NOT_ALLOWED',
  'REQUEST_TIMEOUT',
  'URI_TOO_LONG',
  'RATE_LIMITED',
  'HEADERS_TOO_LARGE',
  'INTERNAL_ERROR',
  'SERVICE_UNAVAILABLE',
] as const satisfies ProblemCode[];

/** Statuses after which a retry of the same request may succeed. */
const RETRYABLE: number[] = [429, 503];
/** The default of Retry-After. Seconds. */
const RETRY_AFTER = 1;
const retryAfter = {
  'Retry-After': {
    type: 'integer',
    description: 'Seconds to wait before a retry (RFC 9110, 10.2.3).',
  },
};

/** The responses, by status, of an operation that refuses with these codes, besides those of every operation. */
export function problemResponses(...codes: ProblemCode[]): Record<number, ProblemResponse> {
  const byStatus: Record<number, ProblemCode[]> = {};
  for (const code of [...COMMON_CODES, ...codes]) {
    byStatus[problemTable[code].status] = [...(byStatus[problemTable[code].status] ?? []), code];
  }
  const response = (status: number, names: ProblemCode[]): ProblemResponse => ({
    description: names.map(name => `\`${name}\`: ${problemTable[name].title}.`).join(' '),
    ...(RETRYABLE.includes(status) && { headers: retryAfter }),
    content: { [PROBLEM_TYPE]: { schema: Ref(Problem), 'x-codes': names } },
  });
  return Object.fromEntries(
    Object.entries(byStatus).map(([status, names]) => [Number(status), response(Number(status), names)]),
  );
}

/** As {@link problems}, for an operation that takes a body. */
export function bodyProblems(...codes: ProblemCode[]): Record<number, ProblemResponse> {
  return problemResponses(
    'MALFORMED_JSON',
    'NUMBER_NOT_EXACT',
    ...codes,
    'PAYLOAD_TOO_LARGE',
    'UNSUPPORTED_MEDIA_TYPE',
  );
}

/** As {@link bodyProblems}, for an operation with an actor, which must be that of the token. */
export function actProblems(...codes: ProblemCode[]): Record<number, ProblemResponse> {
  return bodyProblems('ACTOR_MISMATCH', ...codes);
}

/** As {@link actProblems}, for a write that may carry an idempotency key. */
export function writeProblems(...codes: ProblemCode[]): Record<number, ProblemResponse> {
  // An answer that is stored under a key may have been erased with its run.
  return actProblems(...codes, 'RUN_ERASED', 'IDEMPOTENCY_KEY_REUSED');
}

/** The refusal of a malformed header. @param detail completes "headers/<name>: …" */
export function badHeader(name: string, detail: string): Refusal {
  const item: ProblemItem = { in: 'headers', pointer: `/${name}`, code: 'INVALID_FORMAT', detail };
  return new Refusal('VALIDATION_FAILED', `headers/${name}: ${detail}`, { errors: [item] });
}

/** Called with the code of every problem document that is sent. */
export type Rejected = (code: ProblemCode) => void;

/** Answers errors of routes and hooks, unknown paths and wrong methods with problem documents. */
export function useProblems(app: FastifyInstance, requestLog: RequestLog, rejected: Rejected): void {
  app.decorateReply('refusal', null);
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const refusal = error instanceof UnknownOutcome ? unknownOutcome(error, request) : toRefusal(error);
    const { status } = problemTable[refusal.code];
    // A client that left is no failure of the service.
    if (request.raw.readableAborted) request.log.info('the client went away');
    // A Refusal is expected behavior, even with 503.
    else if (status >= 500 && !(error instanceof Refusal)) request.log.error({ err: error }, 'request failed');
    else requestLog.refused(request, refusal);
    rejected(refusal.code);
    return sendProblem(request, reply, refusal);
  });
  const methodsOf = allowedMethods(app);
  app.setNotFoundHandler((request, reply) => {
    const { method, url, originalUrl } = request;
    const allowed = methodsOf(pathOf(url));
    // The page has paths that are unknown to programs.
    const isKnown = allowed.length > 0 && !allowed.includes(method);
    const allow = allowed.join(', ');
    if (isKnown) reply.header('allow', allow);
    const refusal = isKnown
      ? new Refusal('METHOD_NOT_ALLOWED', `${pathOf(originalUrl)} takes ${allow}, not ${method}.`)
      : new Refusal('NOT_FOUND', `There is no ${method} ${pathOf(originalUrl)}.`);
    rejected(refusal.code);
    requestLog.refused(request, refusal);
    return sendProblem(request, reply, refusal);
  });
}

function pathOf(url: string): string {
  return url.split('?')[0] as string;
}

/** The `frameworkErrors` option of Fastify: a URL that cannot be decoded never reaches a route. */
export function frameworkProblem(
  requestLog: RequestLog,
  rejected: Rejected,
): (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => void {
  return (error, request, reply) => {
    const refusal = toRefusal(error);
    requestLog.refused(request, refusal);
    rejected(refusal.code);
    // No hook has run.
    if (isEndless(request.raw)) reply.header('connection', 'close');
    sendProblem(request, reply, refusal);
  };
}

/** The `clientErrorHandler` option of Fastify: malformed HTTP is answered on the bare socket. */
export function socketProblem(
  log: Logger,
  limit: RefusalLimit,
  rejected: Rejected,
): (error: NodeJS.ErrnoException, socket: Socket) => void {
  return (error, socket) => {
    // Node keeps the running response here; a second answer in the middle would corrupt it.
    const { _httpMessage: response } = socket as Socket & { _httpMessage?: { headersSent: boolean } };
    if (error.code === 'ECONNRESET' || !socket.writable || response?.headersSent) {
      socket.destroy();
      return;
    }
    const code = SOCKET_CODES[error.code ?? ''] ?? 'MALFORMED_REQUEST';
    const { status, title } = problemTable[code];
    const requestId = newUid();
    // Only these parts of the error: it also has the bytes that were received.
    const err = { code: error.code, message: error.message };
    if (limit.admits()) log.info({ request_id: requestId, code, err }, 'request refused');
    rejected(code);
    const body = textOf(problemBody(new Refusal(code, `${title}.`), requestId));
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      `Content-Type: ${PROBLEM_TYPE}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
      `X-Request-Id: ${requestId}`,
      'Connection: close',
      ...Object.entries(SECURITY_HEADERS).map(([name, value]) => `${name}: ${value}`),
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  };
}

const SOCKET_CODES: Record<string, ProblemCode> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
  HPE_HEADER_OVERFLOW: 'HEADERS_TOO_LARGE',
};

function sendProblem(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): FastifyReply {
  const { status } = problemTable[refusal.code];
  reply.refusal = refusal;
  const isRetryable =
    RETRYABLE.includes(status) && (!refusal.extensions.outcome || isRepeatable(request.method, request.headers));
  if (isRetryable && !reply.hasHeader('retry-after')) reply.header('retry-after', RETRY_AFTER);
  return (
    reply
      .code(status)
      // Repeated here, since a URL that cannot be decoded runs no hook.
      .headers(SECURITY_HEADERS)
      .header('x-request-id', request.id)
      .header('content-type', PROBLEM_TYPE)
      .serializer(textOf)
      .send(problemBody(refusal, request.id))
  );
}

/** A problem document as text. Details may repeat a URL, and a URL may hold a token by mistake. */
function textOf(body: object): string {
  return maskTokens(JSON.stringify(body));
}

function problemBody({ code, message, extensions }: Refusal, request_id: string) {
  const { status, title } = problemTable[code];
  const type = `urn:forumbus:problem:${code.toLowerCase().replaceAll('_', '-')}`;
  return { type, title, status, detail: message, code, request_id, ...extensions };
}

/** The problem codes of Fastify's own errors. */
const FRAMEWORK_CODES: Record<string, ProblemCode> = {
  FST_ERR_BAD_URL: 'MALFORMED_URL',
  FST_ERR_MAX_PARAM_LENGTH: 'URI_TOO_LONG',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'UNSUPPORTED_MEDIA_TYPE',
  FST_ERR_CTP_EMPTY_TYPE: 'UNSUPPORTED_MEDIA_TYPE',
  FST_ERR_CTP_BODY_TOO_LARGE: 'PAYLOAD_TOO_LARGE',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'MALFORMED_JSON',
  FST_ERR_CTP_INVALID_JSON_BODY: 'MALFORMED_JSON',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'MALFORMED_REQUEST',
};

/** Converts any error to a refusal. An unexpected error becomes INTERNAL_ERROR; its message stays in the log. */
export function toRefusal(error: FastifyError): Refusal {
  if (error instanceof Refusal) return error;
  if (error.validation) {
    const errors = toItems(error.validation, error.validationContext ?? 'body');
    return new Refusal('VALIDATION_FAILED', summary(errors), { errors });
  }
  const code = FRAMEWORK_CODES[error.code];
  if (code) return new Refusal(code, frameworkDetail(code, error));
  const trouble = troubleOf(error);
  if (trouble) return new Refusal('SERVICE_UNAVAILABLE', `${trouble.detail} Retry later.`);
  if (error.statusCode === 400) {
    return new Refusal(error instanceof SyntaxError ? 'MALFORMED_JSON' : 'MALFORMED_REQUEST', error.message);
  }
  return new Refusal(
    'INTERNAL_ERROR',
    'The service failed unexpectedly; its log has the details under this request_id.',
  );
}

/**
 * A write that may have taken effect. `outcome: "unknown"` says so to programs; Retry-After comes only where a repetition
 * has no second effect.
 */
function unknownOutcome(error: UnknownOutcome, { method, headers }: FastifyRequest): Refusal {
  const happened = `${troubleOf(error)?.detail ?? FAILING.detail} Whether the request took effect is unknown.`;
  const advice = isRepeatable(method, headers)
    ? 'Send it again as it is: it has no second effect.'
    : 'Look whether it did before you send it again. With an Idempotency-Key it could be repeated without a second effect.';
  return new Refusal('SERVICE_UNAVAILABLE', `${happened} ${advice}`, { outcome: 'unknown' });
}

function isRepeatable(method: string, headers: IncomingHttpHeaders): boolean {
  return method !== 'POST' || headers['idempotency-key'] !== undefined;
}

function frameworkDetail(code: ProblemCode, error: Error): string {
  if (code === 'UNSUPPORTED_MEDIA_TYPE')
    return 'Send the body as JSON, with the header Content-Type: application/json.';
  return `${error.message}${error.message.endsWith('.') ? '' : '.'}`;
}

function summary([first, ...more]: ProblemItem[]): string {
  if (!first) return 'The request does not fit its schema.';
  const rest = more.length > 0 ? ` (and ${more.length} more)` : '';
  return `${first.in}${first.pointer}: ${first.detail}${rest}`;
}

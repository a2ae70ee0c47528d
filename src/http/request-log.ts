import { type FastifyBaseLogger, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import { type ProblemCode, problemTable, type Refusal } from '../errors.ts';
import { cut } from '../text.ts';
import type { Tracing } from '../tracing.ts';
import { addToLog, beginTrace } from './tracing.ts';

/** Refusals of callers without a valid token that are logged each second; the others are counted. */
const LOGGED_PER_SECOND = 20;
const SECOND_MS = 1000;
/** URLs and sentences may repeat what a caller has sent. Characters. */
const LOGGED_LENGTH = 300;
/** Refusals whose sentences repeat texts that are stored: logs hold none. */
const QUOTING: ProblemCode[] = ['INVALID_SELECTION'];

/**
 * Writes the log lines of requests. A refused request costs three short lines, and anybody can send one. So refusals of
 * callers without a valid token are limited by {@link RefusalLimit}. The first line is therefore written once the
 * request is accepted or refused.
 */
export class RequestLog extends LogController {
  readonly #tracing: Tracing | undefined;
  readonly #limit: RefusalLimit;
  readonly #begun = new WeakSet<FastifyRequest>();
  readonly #dropped = new WeakSet<FastifyRequest>();

  constructor(tracing: Tracing | undefined, limit: RefusalLimit) {
    super({ requestIdLogLabel: 'request_id' });
    this.#tracing = tracing;
    this.#limit = limit;
  }

  /** Begins the trace, so that every line carries the trace id. */
  override incomingRequest(request: FastifyRequest, reply: FastifyReply): void {
    beginTrace(this.#tracing, request, reply);
  }

  /** The caller of the request is known; with a token, the lines name it. */
  readonly identified = (request: FastifyRequest, reply: FastifyReply): void => {
    const token_id = request.caller?.tokenId;
    if (!token_id) return;
    addToLog(request, reply, { token_id });
    this.accepted(request);
  };

  /** The request is accepted. */
  accepted(request: FastifyRequest): void {
    if (this.#begun.has(request)) return;
    this.#begun.add(request);
    request.log.info({ req: shortRequest(request) }, 'incoming request');
  }

  refused(request: FastifyRequest, { code, message }: Refusal): void {
    if (request.caller?.grant === undefined && !this.#limit.admits()) {
      this.#dropped.add(request);
      return;
    }
    this.accepted(request);
    const detail = QUOTING.includes(code) ? problemTable[code].title : cut(message, LOGGED_LENGTH);
    request.log.info({ code, detail }, 'request refused');
  }

  override requestCompleted(error: Error | null | undefined, request: FastifyRequest, reply: FastifyReply): void {
    if (!error && this.#dropped.has(request)) return;
    this.accepted(request);
    super.requestCompleted(error, request, reply);
  }
}

/** Admits a number of log lines each second, and logs the number of the others at the end of that second. */
export class RefusalLimit {
  readonly #log: Pick<FastifyBaseLogger, 'info'>;
  #logged = 0;
  #counted = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Pick<FastifyBaseLogger, 'info'>) {
    this.#log = log;
  }

  admits(): boolean {
    this.#timer ??= setTimeout(() => this.#endSecond(), SECOND_MS).unref();
    this.#logged += 1;
    if (this.#logged <= LOGGED_PER_SECOND) return true;
    this.#counted += 1;
    return false;
  }

  #endSecond(): void {
    if (this.#counted > 0) this.#log.info({ count: this.#counted }, 'more requests refused');
    this.#logged = 0;
    this.#counted = 0;
    this.#timer = undefined;
  }
}

/** What Fastify's serializer of requests reads, of bounded length. */
function shortRequest({ method, originalUrl, host, ip, socket }: FastifyRequest) {
  const [url, shortHost, shortIp] = [originalUrl, host, ip].map(text => cut(text, LOGGED_LENGTH));
  return { method, url, host: shortHost, ip: shortIp, socket };
}

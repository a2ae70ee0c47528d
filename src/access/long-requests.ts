import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { coalesce } from '../coalesce.ts';
import { Refusal } from '../errors.ts';
import { whileConnected } from '../http/connection.ts';
import { addressOf } from '../http/proxies.ts';
import type { Logger } from '../logging.ts';
import { CHALLENGE } from './hook.ts';
import type { Access, HeldSecret } from './service.ts';

/** Tokens are checked at least this often, however seldom the process polls. Milliseconds. */
const CHECK_MS = 500;

type Kind = 'stream' | 'wait';

interface Options {
  access: Pick<Access, 'isOpen'>;
  /** Those of these secrets that have ended, by themselves or with the login that stands for them. */
  ended: (held: HeldSecret[]) => Promise<HeldSecret[]>;
  /** Concurrent long requests allowed per caller and kind. */
  limits: Record<Kind, number>;
  /** How often tokens are checked for revocation and expiry, up to {@link CHECK_MS}. Milliseconds. */
  pollIntervalMs: number;
  log: Logger;
}

/** A long request; `revoked` ends it when its token or login ends. */
interface LongRequest {
  secret: HeldSecret | undefined;
  revoked: AbortController;
}

const REVOKED = new Refusal('UNAUTHORIZED', 'The token was revoked or expired during the request.');
const CODES = { stream: 'TOO_MANY_STREAMS', wait: 'TOO_MANY_WAITS' } as const;

/**
 * Long requests: event streams and waits. Limits them per caller, and ends those whose token is revoked or expires, in
 * any process, or whose person signs out. Also caches whether the service is open, that is, has no tokens.
 */
export class LongRequests {
  readonly #options: Options;
  readonly #live = new Set<LongRequest>();
  readonly #counts = new Map<string, number>();
  #open = false;
  #look: Promise<boolean> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Whether no token has ever been created, as of the last check. */
  get isOpen(): boolean {
    return this.#open;
  }

  /**
   * As {@link isOpen}, but asks the database until there is a token. So the first one counts at once, whichever process
   * creates it.
   */
  async checkOpen(): Promise<boolean> {
    if (!this.#open) return false;
    // Requests of one turn of the event loop share a read, which starts after all of them.
    this.#look ??= nextTurn().then(() => {
      this.#look = undefined;
      return this.#options.access.isOpen();
    });
    if (!(await this.#look)) this.tokensChanged();
    return this.#open;
  }

  /** Reads whether the service is open, and begins to poll the tokens. */
  async start(): Promise<void> {
    this.#open = await this.#options.access.isOpen();
    this.#timer = setInterval(() => void this.check(), Math.min(this.#options.pollIntervalMs, CHECK_MS)).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** To be called after a token is created or revoked in this process. */
  tokensChanged(): void {
    this.#open = false;
    void this.check();
  }

  /** Ends the requests whose tokens are revoked or expired, by this process or another. */
  readonly check = coalesce(async () => {
    try {
      await this.#endRevoked();
    } catch (error) {
      // Debug only: requests that need the database report the same error, and the next poll retries.
      this.#options.log.debug({ err: error }, 'could not check tokens');
    }
  });

  async #endRevoked(): Promise<void> {
    const { access } = this.#options;
    if (this.#open) this.#open = await access.isOpen();
    const held = [...this.#live].flatMap(({ secret }) => secret ?? []);
    const ended = new Set(held.length > 0 ? await this.#options.ended(held) : []);
    for (const { secret, revoked } of this.#live) {
      // A request from before the first token has none; it ends once the service is no longer open.
      if (secret === undefined ? !this.#open : ended.has(secret)) revoked.abort(REVOKED);
    }
  }

  /**
   * Counts a request until its connection closes.
   * @returns a signal, aborted when the client leaves, the answer is sent, or the token ends
   * @throws Refusal TOO_MANY_STREAMS, TOO_MANY_WAITS
   */
  enter(kind: Kind, request: FastifyRequest, reply: FastifyReply): AbortSignal {
    const { caller } = request;
    const key = `${kind} ${caller.id}${caller.grant ? '' : ` ${addressOf(request)}`}`;
    const count = this.#counts.get(key) ?? 0;
    const limit = this.#options.limits[kind];
    if (count >= limit) throw new Refusal(CODES[kind], `A caller may have ${limit} ${kind}s at once; end one first.`);
    this.#counts.set(key, count + 1);
    const live = { secret: caller.grant, revoked: new AbortController() };
    this.#live.add(live);
    const connected = whileConnected(reply);
    const leave = () => {
      this.#live.delete(live);
      const left = (this.#counts.get(key) ?? 1) - 1;
      if (left === 0) this.#counts.delete(key);
      else this.#counts.set(key, left);
    };
    if (connected.aborted) leave();
    else connected.addEventListener('abort', leave, { once: true });
    return AbortSignal.any([connected, live.revoked.signal]);
  }

  /** Runs a wait; withholds its answer if the token ended meanwhile. @throws Refusal UNAUTHORIZED, TOO_MANY_WAITS */
  async wait<T>(request: FastifyRequest, reply: FastifyReply, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const signal = this.enter('wait', request, reply);
    const answer = await work(signal);
    if (signal.reason === REVOKED) {
      reply.headers(CHALLENGE);
      throw REVOKED;
    }
    return answer;
  }
}

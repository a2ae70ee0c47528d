import type { FastifyReply, FastifyRequest } from 'fastify';
import { coalesce } from '../coalesce.ts';
import { Refusal } from '../errors.ts';
import { whileConnected } from '../http/connection.ts';
import type { Logger } from '../logging.ts';
import { CHALLENGE } from './hook.ts';
import type { Access } from './service.ts';

type Kind = 'stream' | 'wait';

interface Options {
  access: Pick<Access, 'ended' | 'isOpen'>;
  /** How many of each a caller may have at once. */
  limits: Record<Kind, number>;
  /** How often it is asked which tokens have ended. Milliseconds. */
  pollIntervalMs: number;
  log: Logger;
}

/** A request that is under way for long, and what ends it when its token does. */
interface Live {
  tokenId: string | undefined;
  revoked: AbortController;
}

const REVOKED = new Refusal('UNAUTHORIZED', 'The token has been revoked or has expired meanwhile.');
const CODES = { stream: 'TOO_MANY_STREAMS', wait: 'TOO_MANY_WAITS' } as const;

/**
 * Keeps an eye on the tokens: whether there are any, without which the service is open to anybody, and whether those are
 * still good under which requests are held for long (streams and waits). Nobody has more of these than may be.
 */
export class LongRequests {
  readonly #options: Options;
  readonly #live = new Set<Live>();
  readonly #counts = new Map<string, number>();
  #open = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  async start(): Promise<void> {
    this.#open = await this.#options.access.isOpen();
    this.#timer = setInterval(() => void this.check(), this.#options.pollIntervalMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Tokens have been made or ended in this process. */
  changed(): void {
    this.#open = false;
    void this.check();
  }

  /** Ends the requests whose tokens have ended, also by other processes. */
  readonly check = coalesce(async () => {
    try {
      await this.#endRevoked();
    } catch (error) {
      // Requests that need the database report louder; the next poll tries again.
      this.#options.log.debug({ err: error }, 'could not check which tokens have ended');
    }
  });

  async #endRevoked(): Promise<void> {
    const { access } = this.#options;
    if (this.#open) this.#open = await access.isOpen();
    const tokenIds = [...new Set([...this.#live].flatMap(({ tokenId }) => tokenId ?? []))];
    const ended = tokenIds.length > 0 ? await access.ended(tokenIds) : [];
    for (const { tokenId, revoked } of this.#live) {
      // Who came in before the first token was made came in without one.
      if (tokenId === undefined ? !this.#open : ended.includes(tokenId)) revoked.abort(REVOKED);
    }
  }

  /**
   * Aborted when the client goes away or has been answered, or when its token ends.
   * @throws Refusal TOO_MANY_STREAMS, TOO_MANY_WAITS
   */
  enter(kind: Kind, request: FastifyRequest, reply: FastifyReply): AbortSignal {
    const { caller } = request;
    const key = `${kind} ${caller.id}${caller.grant ? '' : ` ${request.ip}`}`;
    const count = this.#counts.get(key) ?? 0;
    const limit = this.#options.limits[kind];
    if (count >= limit) throw new Refusal(CODES[kind], `There may be ${limit} at once; end one of them first.`);
    this.#counts.set(key, count + 1);
    const live = { tokenId: caller.grant?.token_id, revoked: new AbortController() };
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

  /** Waits, and refuses the answer if the token has ended meanwhile. @throws Refusal UNAUTHORIZED, TOO_MANY_WAITS */
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

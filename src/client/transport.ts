import { ForumbusError, isPassing, type Problem } from './error.ts';
import { delayMs, sleep } from './retry.ts';

export interface Call {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path with encoded segments, from the root of the service. */
  path: string;
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  idempotency_key?: string;
  headers?: Record<string, string>;
  /** Media type of the answer; JSON if left out. */
  accept?: string;
  /** Seconds that the service may hold the request back. */
  wait?: number;
  /** Not repeated: a repeat would have a second effect. */
  once?: boolean;
  /** Seconds in which something must arrive, if not those of an answer. */
  silence?: number;
}

export interface Limits {
  signal?: AbortSignal | undefined;
  /** Seconds during which the request is repeated. */
  retry_seconds?: number | undefined;
}

interface Answer<T> {
  status: number;
  body: T;
}

/** A 2xx answer whose body may still arrive. */
export interface Connection {
  response: Response;
  /** Tells that something has arrived: the time for the answer begins again. */
  alive(): void;
  close(): void;
  /** The error to throw for one that reading the body threw. */
  failure(error: unknown): unknown;
}

export interface TransportOptions {
  url: string;
  token: string | undefined;
  fetch: typeof fetch;
  retry_seconds: number;
}

/** Time for an answer, beside a wait. Seconds. */
const ANSWER = 15;

/**
 * Sends requests. Each may be repeated, unless it says otherwise. GET, PUT, PATCH and DELETE are so by nature, a POST
 * by its idempotency key or because its effect is the same. So network errors and passing refusals are retried until a
 * deadline, with full jitter and `Retry-After`.
 */
export class Transport {
  readonly #options: TransportOptions;
  readonly #base: string;

  /** @throws TypeError as {@link faultOf} says */
  constructor(options: TransportOptions) {
    // A file with a secret ends with a line break.
    this.#options = { ...options, token: options.token?.trim() };
    const fault = faultOf(this.#options);
    if (fault !== undefined) throw new TypeError(fault);
    this.#base = options.url.replace(/\/+$/, '');
  }

  /**
   * The body of a 2xx answer.
   * @throws ForumbusError; the reason of `signal` if that aborts
   */
  async send<T>(call: Call, limits?: Limits): Promise<T> {
    return (await this.answer<T>(call, limits)).body;
  }

  /** As {@link send}, with the status: 201 says that the request has made something, 200 that it was there. */
  async answer<T>(
    call: Call,
    { signal, retry_seconds = this.#options.retry_seconds }: Limits = {},
  ): Promise<Answer<T>> {
    const deadline = performance.now() + retry_seconds * 1000;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#sendOnce<T>(call, signal);
      } catch (error) {
        if (call.once || !isPassing(error)) throw error;
        const delay = delayMs(attempt, (error as ForumbusError).retry_after);
        if (performance.now() + delay > deadline) throw error;
        await sleep(delay, signal);
      }
    }
  }

  async #sendOnce<T>(call: Call, signal: AbortSignal | undefined): Promise<Answer<T>> {
    const connection = await this.open(call, signal);
    const { response } = connection;
    try {
      const { status } = response;
      return { status, body: status === 204 ? (undefined as T) : ((await response.json()) as T) };
    } catch (error) {
      throw connection.failure(error);
    } finally {
      connection.close();
    }
  }

  /**
   * Sends a request once, for a 2xx answer. The caller closes the connection.
   * @throws ForumbusError; the reason of `signal` if that aborts
   */
  async open(call: Call, signal: AbortSignal | undefined): Promise<Connection> {
    signal?.throwIfAborted();
    const ending = new AbortController();
    const abort = () => ending.abort();
    signal?.addEventListener('abort', abort, { once: true });
    let timer: ReturnType<typeof setTimeout>;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(abort, (call.silence ?? ANSWER + (call.wait ?? 0)) * 1000);
    };
    const close = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      abort();
    };
    const failure = (error: unknown) => {
      if (signal?.aborted) return signal.reason;
      if (error instanceof ForumbusError) return error;
      if (error instanceof SyntaxError) return unexpected(200, 'is not JSON');
      const message = `Forumbus does not answer at ${this.#base} (${reasonOf(error)}).`;
      return new ForumbusError('UNREACHABLE', message, { cause: error });
    };
    alive();
    try {
      const response = await this.#options.fetch(this.#urlOf(call), { ...this.#initOf(call), signal: ending.signal });
      if (!response.ok) throw await toError(response);
      return { response, alive, close, failure };
    } catch (error) {
      close();
      throw failure(error);
    }
  }

  #urlOf({ path, query = {}, wait }: Call): string {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...query, wait: wait === 0 ? undefined : wait })) {
      if (value !== undefined) search.set(name, String(value));
    }
    const text = search.toString();
    return `${this.#base}${path}${text && `?${text}`}`;
  }

  #initOf({ method, body, idempotency_key, headers, accept = 'application/json' }: Call): RequestInit {
    const { token } = this.#options;
    return {
      method,
      // A redirect would turn a POST into a GET.
      redirect: 'error',
      headers: {
        accept,
        ...(token && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(idempotency_key && { 'idempotency-key': idempotency_key }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    };
  }
}

/** Why no request can carry a token or a URL. Their texts are secret, and an error of fetch would show them. */
export function faultOf({ url, token }: Pick<TransportOptions, 'url' | 'token'>): string | undefined {
  if (token && !/^[\x21-\x7e]+$/.test(token)) {
    return 'The token holds white space or other characters that none has; copy it once more.';
  }
  if (!/^([a-z]+:\/\/)?[^/?#]*@/i.test(url)) return undefined;
  return 'The URL of the service holds a name or a password; leave them out, since the token says who calls.';
}

async function toError(response: Response): Promise<ForumbusError> {
  const { status, headers } = response;
  const seconds = Number(headers.get('retry-after') ?? Number.NaN);
  const retry_after = Number.isFinite(seconds) ? seconds : undefined;
  const text = await response.text();
  try {
    const problem: Problem = JSON.parse(text);
    if (String(problem.type).startsWith('urn:forumbus:problem:')) {
      return new ForumbusError(problem.code, problem.detail, { status, problem, retry_after });
    }
  } catch {
    // Not of the service.
  }
  return unexpected(status, `has the status ${status} and no problem document`, retry_after);
}

function unexpected(status: number, what: string, retry_after?: number): ForumbusError {
  const message = `The answer ${what}: check that the URL is that of Forumbus.`;
  return new ForumbusError('UNEXPECTED_ANSWER', message, { status, retry_after });
}

/** Such as ECONNREFUSED: fetch says only that it failed. */
function reasonOf(error: unknown): string {
  const { cause, name, message } = error as Error & { cause?: { code?: string; message?: string } };
  if (name === 'AbortError') return 'timeout';
  return cause?.code ?? cause?.message ?? message;
}

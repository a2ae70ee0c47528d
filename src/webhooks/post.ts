import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { textOf } from '../error-text.ts';
import type { AddressGuard } from './addresses.ts';

/** What came of a request. Without a status, `error` says why there is none. */
export interface PostAnswer {
  status: number | null;
  /** The beginning of the body. */
  head: string | null;
  error: string | null;
  /** What the endpoint asks for. Milliseconds; null if it does not. */
  retryAfterMs: number | null;
}

/** Sends one POST. It throws only if `signal` is aborted. */
export type Post = (
  url: string,
  headers: Record<string, string>,
  body: string | Buffer,
  signal: AbortSignal,
) => Promise<PostAnswer>;

/** Reads the lines of an answer that goes on, until it ends or `signal` is aborted. */
export type Follow = (url: URL, headers: Record<string, string>, signal: AbortSignal) => AsyncIterable<string>;

/** A stream without a byte for so long is lost. Milliseconds. */
const SILENCE_MS = 120_000;
/** From the connection to the end of the answer. Milliseconds. */
export const POST_TIMEOUT_MS = 15_000;
const NO_ANSWER = 'The connection was closed without an answer.';
/** Bytes of an answer that are kept, and that are read. */
const HEAD_BYTES = 1024;
const MOST_BYTES = 65_536;

/** Makes a client that follows no redirects and connects to allowed addresses only. */
export function createPost(guard: AddressGuard): { post: Post; follow: Follow; close: () => void } {
  const agents = { 'http:': new http.Agent({ keepAlive: true }), 'https:': new https.Agent({ keepAlive: true }) };

  function send(
    url: URL,
    headers: Record<string, string>,
    body: string | Buffer,
    signal: AbortSignal,
  ): Promise<PostAnswer> {
    const plain = url.protocol === 'http:';
    const { promise, resolve, reject } = Promise.withResolvers<PostAnswer>();
    const options = { method: 'POST', headers, signal, lookup: guard.lookup(plain) };
    const request = plain
      ? http.request(url, { ...options, agent: agents['http:'] })
      : https.request(url, { ...options, agent: agents['https:'] });
    let isAnswered = false;
    request.on('response', response => {
      isAnswered = true;
      const chunks: Buffer[] = [];
      let length = 0;
      const end = () => {
        const head = Buffer.concat(chunks).subarray(0, HEAD_BYTES).toString().replaceAll('\0', '\uFFFD');
        const retryAfterMs = retryAfter(response.headers['retry-after'], Date.now());
        resolve({ status: response.statusCode as number, head, error: null, retryAfterMs });
      };
      response.on('data', (chunk: Buffer) => {
        if (length < HEAD_BYTES) chunks.push(chunk);
        length += chunk.length;
        if (length > MOST_BYTES) {
          end();
          response.destroy();
        }
      });
      response.on('end', end).on('error', reject);
    });
    // An endpoint that switches protocols gives neither an answer nor an error.
    request.on('close', () => {
      if (!isAnswered) reject(new Error(NO_ANSWER));
    });
    request.on('error', error => {
      // The endpoint has closed a kept connection; a new one may work.
      const isStale = request.reusedSocket && (error as NodeJS.ErrnoException).code === 'ECONNRESET';
      if (isStale) resolve(send(url, headers, body, signal));
      else reject(error);
    });
    request.end(body);
    return promise;
  }

  return {
    async post(url, headers, body, signal) {
      const parsed = new URL(url);
      const failed = (error: string) => ({ status: null, head: null, error, retryAfterMs: null });
      // The settings may have changed since the URL was stored.
      const fault = guard.fault(parsed);
      if (fault !== undefined) return failed(`The URL ${fault}.`);
      const timeout = AbortSignal.timeout(POST_TIMEOUT_MS);
      const length = String(Buffer.byteLength(body));
      try {
        return await send(parsed, { ...headers, 'content-length': length }, body, AbortSignal.any([signal, timeout]));
      } catch (error) {
        signal.throwIfAborted();
        return failed(timeout.aborted ? `No answer within ${POST_TIMEOUT_MS / 1000} s.` : textOf(error));
      }
    },

    async *follow(url, headers, signal) {
      const fault = guard.fault(url);
      if (fault !== undefined) throw new Error(`The URL ${fault}.`);
      const plain = url.protocol === 'http:';
      const options = { headers, signal, lookup: guard.lookup(plain), timeout: SILENCE_MS, agent: false };
      const request = plain ? http.get(url, options) : https.get(url, options);
      request.on('timeout', () => request.destroy(new Error('The stream is silent.')));
      const closed = once(request, 'close').then(() => Promise.reject(new Error(NO_ANSWER)));
      const [response] = (await Promise.race([once(request, 'response'), closed])) as [http.IncomingMessage];
      if (response.statusCode !== 200) {
        response.destroy();
        throw new Error(`The server answered ${response.statusCode}.`);
      }
      let rest = '';
      for await (const chunk of response.setEncoding('utf8')) {
        const lines = `${rest}${chunk}`.split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > MOST_BYTES) throw new Error('A line of the stream is too long.');
        yield* lines.filter(line => line !== '');
      }
    },

    /** Closes the connections that are kept. */
    close() {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}

/** A Retry-After in milliseconds: seconds, or a date (RFC 9110, 10.2.3). */
function retryAfter(header: string | undefined, now: number): number | null {
  if (header === undefined) return null;
  const delay = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(delay) ? Math.max(0, delay) : null;
}

import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import packageJson from '../../package.json' with { type: 'json' };
import { textOf } from '../error-text.ts';
import type { AddressGuard } from './addresses.ts';

/** A request to an endpoint or a channel. */
export interface HttpRequest {
  /** POST if it is left out. */
  method?: string;
  url: string;
  headers: Record<string, string>;
  body: string | Buffer;
}

/** What came of a request. Without a status, `error` says why there is none. */
export interface PostAnswer {
  status: number | null;
  /** The beginning of the body, to be kept. */
  head: string | null;
  /** The body, as far as it was read. */
  text: string | null;
  error: string | null;
  /** What the endpoint asks for. Milliseconds; null if it does not. */
  retryAfterMs: number | null;
}

interface Limits {
  /** From the connection to the end of the answer. Milliseconds. */
  timeoutMs: number;
  /** Bytes of the answer that are read. */
  mostBytes: number;
}

/** Sends one request. It throws only if `signal` is aborted. */
export type Post = (request: HttpRequest, signal: AbortSignal, limits?: Limits) => Promise<PostAnswer>;

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
const LIMITS: Limits = { timeoutMs: POST_TIMEOUT_MS, mostBytes: MOST_BYTES };
/** Discord asks for it, and firewalls refuse requests without one. */
const AGENT = { 'user-agent': `forumbus/${packageJson.version}` };

/** Makes a client that follows no redirects and connects to allowed addresses only. */
export function createPost(guard: AddressGuard): { post: Post; follow: Follow; close: () => void } {
  const agents = { 'http:': new http.Agent({ keepAlive: true }), 'https:': new https.Agent({ keepAlive: true }) };

  function send(url: URL, wanted: HttpRequest, mostBytes: number, signal: AbortSignal): Promise<PostAnswer> {
    const { method = 'POST', body } = wanted;
    const headers = { ...AGENT, ...wanted.headers, 'content-length': String(Buffer.byteLength(body)) };
    const plain = url.protocol === 'http:';
    const { promise, resolve, reject } = Promise.withResolvers<PostAnswer>();
    const options = { method, headers, signal, lookup: guard.lookup(plain) };
    const request = plain
      ? http.request(url, { ...options, agent: agents['http:'] })
      : https.request(url, { ...options, agent: agents['https:'] });
    let isAnswered = false;
    let readBefore = 0;
    request.on('socket', socket => {
      readBefore = socket.bytesRead;
    });
    request.on('response', response => {
      isAnswered = true;
      const chunks: Buffer[] = [];
      let length = 0;
      const end = () => {
        const text = Buffer.concat(chunks).toString();
        const retryAfterMs = retryAfter(response.headers['retry-after'], Date.now());
        resolve({ status: response.statusCode as number, head: headOf(text), text, error: null, retryAfterMs });
      };
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        length += chunk.length;
        if (length > mostBytes) {
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
      const isReset = (error as NodeJS.ErrnoException).code === 'ECONNRESET';
      // The endpoint has closed a kept connection; a new one may work. With a byte of an answer, it has the request.
      if (request.reusedSocket && isReset && request.socket?.bytesRead === readBefore)
        resolve(send(url, wanted, mostBytes, signal));
      else reject(error);
    });
    request.end(body);
    return promise;
  }

  return {
    async post(request, signal, { timeoutMs, mostBytes } = LIMITS) {
      const url = new URL(request.url);
      // The settings may have changed since the URL was stored.
      const fault = guard.fault(url);
      if (fault !== undefined) return failed(`The URL ${fault}.`);
      const timeout = AbortSignal.timeout(timeoutMs);
      try {
        return await send(url, request, mostBytes, AbortSignal.any([signal, timeout]));
      } catch (error) {
        signal.throwIfAborted();
        return failed(timeout.aborted ? `No answer within ${timeoutMs / 1000} s.` : textOf(error));
      }
    },

    async *follow(url, headers, signal) {
      const fault = guard.fault(url);
      if (fault !== undefined) throw new Error(`The URL ${fault}.`);
      const plain = url.protocol === 'http:';
      const wanted = { ...AGENT, ...headers };
      const options = { headers: wanted, signal, lookup: guard.lookup(plain), timeout: SILENCE_MS, agent: false };
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

/** The beginning of an answer: whole characters that can be stored. */
export function headOf(text: string): string {
  const storable = text.slice(0, HEAD_BYTES).replaceAll('\0', '\uFFFD');
  const { read } = new TextEncoder().encodeInto(storable, new Uint8Array(HEAD_BYTES));
  return storable.slice(0, read);
}

/** What came of a request that got no answer. */
export function failed(error: string): PostAnswer {
  return { status: null, head: null, text: null, error, retryAfterMs: null };
}

/** A Retry-After in milliseconds: seconds, or a date (RFC 9110, 10.2.3). */
function retryAfter(header: string | undefined, now: number): number | null {
  if (header === undefined) return null;
  const delay = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(delay) ? Math.max(0, delay) : null;
}

import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

/** What a first look at the inbox shows. */
export type Look = 'unreachable' | 'silent' | 'empty' | 'unknown';

interface Looking {
  /** The inbox of the agent, such as `http://127.0.0.1:4010/control-threads/r/a/inbox`. */
  inbox: string;
  token: string | undefined;
  /** Whether the answer matters; without it, connecting is enough. */
  reads: boolean;
  connectMs: number;
  answerMs: number;
}

/**
 * Connects to the service and reads the inbox, without an HTTP library. Loading one takes longer than a whole hook may
 * last, and nearly always nothing is new. Any answer but a plain empty inbox is `unknown`.
 */
export function look({ inbox, token, reads, connectMs, answerMs }: Looking): Promise<Look> {
  const { hostname, host, port, protocol, pathname } = new URL(inbox);
  const isPlain = protocol === 'http:' && /^[\x21-\x7e]*$/.test(token ?? '');
  return new Promise(resolve => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port) || (protocol === 'https:' ? 443 : 80),
    });
    let found: Look = 'unreachable';
    let answer = '';
    const end = () => {
      socket.destroy();
      if (/^HTTP\/1\.1 200 /.test(answer) && answer.includes('\r\n\r\n{"items":[],')) found = 'empty';
      resolve(found);
    };
    socket.setTimeout(connectMs, () => {
      // A second try would double the time for which a hanging service holds the host up.
      if (found === 'unknown') found = 'silent';
      end();
    });
    socket.once('error', end);
    socket.once('close', end);
    socket.once('connect', () => {
      found = 'unknown';
      if (!reads || !isPlain) return end();
      socket.setTimeout(answerMs);
      const authorization = token === undefined ? '' : `authorization: Bearer ${token}\r\n`;
      socket.write(`GET ${pathname} HTTP/1.1\r\nhost: ${host}\r\n${authorization}connection: close\r\n\r\n`);
    });
    socket.setEncoding('utf8').on('data', (part: string) => {
      answer += part;
    });
  });
}

/**
 * What a hook needs of `fetch`, which takes longer to load.
 * @throws an error with `cause` as fetch does; an AbortError
 */
export const hookFetch = (async (input, init = {}) => {
  const url = new URL(String(input));
  const { method = 'GET', headers, body, signal } = init;
  const { request } = await (url.protocol === 'https:' ? import('node:https') : import('node:http'));
  return new Promise((resolve, reject) => {
    const sent = request(url, {
      method,
      headers: headers as Record<string, string>,
      ...(signal && { signal }),
    });
    sent.once('error', cause => reject(signal?.aborted ? cause : new TypeError('fetch failed', { cause })));
    sent.once('response', response => {
      const status = response.statusCode ?? 0;
      const read = () => text(response);
      resolve({
        ok: status >= 200 && status < 300,
        status,
        headers: { get: (name: string) => response.headers[name.toLowerCase()] ?? null },
        text: read,
        json: async () => JSON.parse(await read()),
      } as unknown as Response);
    });
    sent.end(body as string | undefined);
  });
}) satisfies typeof fetch;

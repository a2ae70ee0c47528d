import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

/** Whether something listens at an address, within `ms`. */
export function connects(url: string, ms: number): Promise<boolean> {
  const { hostname, port, protocol } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  return new Promise(resolve => {
    const socket = connect({ host, port: Number(port) || (protocol === 'https:' ? 443 : 80) });
    const end = (found: boolean) => {
      socket.destroy();
      resolve(found);
    };
    socket.setTimeout(ms, () => end(false));
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}

/**
 * What a hook needs of `fetch`. Node's own takes longer to load than a whole hook may last.
 * @throws an error with `cause` as fetch does; an AbortError
 */
export const hookFetch = (async (input, init = {}) => {
  const url = new URL(String(input));
  const { method = 'GET', headers, body, signal } = init;
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
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

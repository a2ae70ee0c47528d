import type { InjectOptions } from 'fastify';
import type { ProblemCode } from '../../src/errors.ts';
import { signal } from './signals.ts';

/* Requests that are refused before a route sees them, or because there is nothing at their path. */

/** Of every call but `POST /outbox`. Bytes. */
export const BODY_LIMIT = 256 * 1024;
const JSON_TYPE = { 'content-type': 'application/json' };

/** A control signal with exactly this body. */
export const post = (
  payload: string | Buffer | undefined,
  headers: Record<string, string> = JSON_TYPE,
): InjectOptions => ({
  method: 'POST',
  url: '/control-signals',
  headers,
  ...(payload !== undefined && { payload }),
});
const valid = JSON.stringify(signal('completion'));
const invalidUtf8 = Buffer.from(JSON.stringify(signal('completion', { summary: '\u00ff' })), 'latin1');

export const refusedRequests: [name: string, request: InjectOptions, code: ProblemCode][] = [
  ['an unknown path', { url: '/nowhere' }, 'NOT_FOUND'],
  ['the root', { url: '/' }, 'NOT_FOUND'],
  ['a known path with a slash at its end', { url: '/livez/' }, 'NOT_FOUND'],
  ['a method that the path does not have', { method: 'DELETE', url: '/threads' }, 'METHOD_NOT_ALLOWED'],
  ['a file of the documentation that is not there', { url: '/docs/static/nothing.js' }, 'NOT_FOUND'],
  ['a file outside the documentation', { url: '/docs/static/..%2f..%2fpackage.json' }, 'NOT_FOUND'],
  ['a URL that cannot be decoded', { url: '/%zz' }, 'MALFORMED_URL'],
  ['a path parameter that cannot be decoded', { url: '/threads/%zz' }, 'MALFORMED_URL'],
  ['a path parameter that is not UTF-8', { url: '/threads/%ff' }, 'MALFORMED_URL'],
  ['an encoded surrogate', { url: '/questions/%ED%A0%80' }, 'MALFORMED_URL'],
  ['a path parameter longer than any name', { url: `/threads/${'x'.repeat(5000)}` }, 'URI_TOO_LONG'],
  ['a path parameter of 201 characters', { url: `/threads/${'x'.repeat(201)}` }, 'VALIDATION_FAILED'],
  ['a path parameter with NUL', { url: '/threads/%00' }, 'VALIDATION_FAILED'],
  ['a blank name in the path', { url: '/control-threads/%20/builder' }, 'VALIDATION_FAILED'],
  ['an unknown thread', { url: '/threads/nowhere' }, 'THREAD_NOT_FOUND'],
  ['the posts of an unknown thread', { url: '/threads/nowhere/posts' }, 'THREAD_NOT_FOUND'],
  ['an unknown question', { url: '/questions/q_0' }, 'QUESTION_NOT_FOUND'],
  ['an unknown signal', { url: '/control-signals/sig_0' }, 'SIGNAL_NOT_FOUND'],
  ['an unknown agent', { url: '/control-threads/run-0/nobody' }, 'CONTROL_THREAD_NOT_FOUND'],
  ['an unknown message', { url: '/outbox/msg_0' }, 'MESSAGE_NOT_FOUND'],
  ['JSON that breaks off', post('{"schema_version":1'), 'MALFORMED_JSON'],
  ['JSON with a comma too many', post('{"a":1,}'), 'MALFORMED_JSON'],
  ['text that is no JSON', post('hello'), 'MALFORMED_JSON'],
  ['two JSON values', post('{}{}'), 'MALFORMED_JSON'],
  ['JSON that would change a prototype', post('{"__proto__":{"admin":true}}'), 'VALIDATION_FAILED'],
  ['JSON that would change a constructor', post('{"constructor":{"prototype":{"admin":true}}}'), 'VALIDATION_FAILED'],
  ['an empty body that is said to be JSON', post(''), 'MALFORMED_JSON'],
  // Stored as it came or refused, but not stored with replacement characters in the place of what was sent.
  ['JSON that is not UTF-8', post(invalidUtf8), 'MALFORMED_JSON'],
  ['a body without a content type', post(valid, {}), 'UNSUPPORTED_MEDIA_TYPE'],
  ['a body of plain text', post(valid, { 'content-type': 'text/plain' }), 'UNSUPPORTED_MEDIA_TYPE'],
  ['a form', post('run_id=run-1', { 'content-type': 'application/x-www-form-urlencoded' }), 'UNSUPPORTED_MEDIA_TYPE'],
  ['a content type that is none', post(valid, { 'content-type': 'json' }), 'UNSUPPORTED_MEDIA_TYPE'],
  ['another kind of JSON', post(valid, { 'content-type': 'application/merge-patch+json' }), 'UNSUPPORTED_MEDIA_TYPE'],
  ['a type that only begins with JSON', post(valid, { 'content-type': 'application/jsonx' }), 'UNSUPPORTED_MEDIA_TYPE'],
  ['a body over the limit', post(JSON.stringify({ text: 'x'.repeat(BODY_LIMIT) })), 'PAYLOAD_TOO_LARGE'],
  ['a body shorter than it says', post(valid, { ...JSON_TYPE, 'content-length': '4000' }), 'MALFORMED_REQUEST'],
  ['no body where one is needed', { method: 'POST', url: '/control-signals' }, 'VALIDATION_FAILED'],
];

/** The end of a request's head. */
export const REST = 'Host: localhost\r\nConnection: close\r\n\r\n';
/** Bytes for a bare socket, which no HTTP client sends. */
export const refusedBytes: [name: string, bytes: string | Uint8Array, code: ProblemCode][] = [
  ['bytes that are no text', Uint8Array.from([0, 1, 2, 255, 254, 13, 10, 13, 10]), 'MALFORMED_REQUEST'],
  ['a TLS greeting', Uint8Array.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]), 'MALFORMED_REQUEST'],
  ['a line that is no request', 'hello\r\n\r\n', 'MALFORMED_REQUEST'],
  ['a method that nobody knows', `TEAPOT / HTTP/1.1\r\n${REST}`, 'MALFORMED_REQUEST'],
  ['a path without its slash', `GET livez HTTP/1.1\r\n${REST}`, 'MALFORMED_REQUEST'],
  ['a header without a colon', `GET /livez HTTP/1.1\r\nnonsense\r\n${REST}`, 'MALFORMED_REQUEST'],
  ['a request without a host', 'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n', 'MALFORMED_REQUEST'],
  [
    'two lengths of one body',
    `POST /threads HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n${REST}{}`,
    'MALFORMED_REQUEST',
  ],
  [
    'a chunk without a length',
    `POST /threads HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n${REST}zz\r\n`,
    'MALFORMED_REQUEST',
  ],
  [
    'headers that are too large',
    `GET /livez HTTP/1.1\r\nX-Large: ${'x'.repeat(20_000)}\r\n${REST}`,
    'HEADERS_TOO_LARGE',
  ],
  [
    'a URL that is larger than all headers may be',
    `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n${REST}`,
    'HEADERS_TOO_LARGE',
  ],
  ['a URL that cannot be decoded', `GET /%zz HTTP/1.1\r\n${REST}`, 'MALFORMED_URL'],
  ['an unusual method', `PROPFIND /threads HTTP/1.1\r\n${REST}`, 'METHOD_NOT_ALLOWED'],
  ['an unusual method on an unknown path', `PROPFIND /nowhere HTTP/1.1\r\n${REST}`, 'NOT_FOUND'],
  ['a path outside the server', `GET /../../etc/passwd HTTP/1.1\r\n${REST}`, 'NOT_FOUND'],
  ['the asterisk', `OPTIONS * HTTP/1.1\r\n${REST}`, 'NOT_FOUND'],
  [
    'a length over the limit, before the body has come',
    `POST /threads HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ${BODY_LIMIT + 1}\r\n${REST}{`,
    'PAYLOAD_TOO_LARGE',
  ],
];

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Transport } from '../../src/client/transport.ts';
import { freePort } from '../helpers/ports.ts';

type Step = (response: ServerResponse, request: IncomingMessage) => void;

/** A server that answers each request with the next step, and the last one from then on. */
async function serve(...steps: [Step, ...Step[]]) {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    const step = steps[Math.min(requests.length, steps.length) - 1] as Step;
    request.resume().on('end', () => step(response, request));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { requests, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const transportTo = (url: string, retry_seconds = 5, token?: string) =>
  new Transport({ url, token, retry_seconds, fetch });
const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Step =>
  response =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
const problem = (status: number, code: string, headers = {}) =>
  json(status, { type: 'urn:forumbus:problem:x', code, detail: `It says ${code}.` }, headers);
const hangUp: Step = response => response.destroy();
const fine = json(200, { fine: true });
const get = { method: 'GET', path: '/x' } as const;

describe('a request is repeated', () => {
  it('when the connection is lost, and while the service or a proxy cannot answer', async () => {
    const late = problem(408, 'REQUEST_TIMEOUT');
    const steps: [Step, ...Step[]] = [hangUp, problem(503, 'SERVICE_UNAVAILABLE'), json(502, {}), late, hangUp, fine];
    const { url, requests } = await serve(...steps);
    expect(await transportTo(url, 20).send(get)).toEqual({ fine: true });
    expect(requests).toHaveLength(steps.length);
  });

  it('with the same key and body', async () => {
    const { url, requests } = await serve(hangUp, fine);
    await transportTo(url).send({ method: 'POST', path: '/x', body: { a: 1 }, idempotency_key: 'k' });
    expect(requests.map(({ headers }) => headers['idempotency-key'])).toEqual(['k', 'k']);
  });

  it('not before Retry-After', async () => {
    const { url } = await serve(problem(429, 'RATE_LIMITED', { 'retry-after': '1' }), fine);
    const began = performance.now();
    await transportTo(url).send(get);
    expect(performance.now() - began).toBeGreaterThanOrEqual(1000);
  });

  it('until the deadline', async () => {
    const { url, requests } = await serve(problem(503, 'SERVICE_UNAVAILABLE', { 'retry-after': '2' }));
    await expect(transportTo(url, 1).send(get)).rejects.toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
      status: 503,
      retry_after: 2,
    });
    expect(requests).toHaveLength(1);
    const nobody = transportTo(`http://127.0.0.1:${await freePort()}`, 0.5).send(get);
    await expect(nobody).rejects.toMatchObject({
      code: 'UNREACHABLE',
      status: 0,
      message: expect.stringMatching(/^Forumbus does not answer at http:.* \(ECONNREFUSED\)\.$/),
    });
  });

  it('but not after a refusal', async () => {
    const { url, requests } = await serve(problem(409, 'ALREADY_ANSWERED'), fine);
    await expect(transportTo(url).send(get)).rejects.toMatchObject({
      code: 'ALREADY_ANSWERED',
      message: 'It says ALREADY_ANSWERED.',
    });
    expect(requests).toHaveLength(1);
  });
});

describe('an answer that is none of Forumbus', () => {
  const strangers: [string, Step, number][] = [
    ['a page', response => response.writeHead(200, { 'content-type': 'text/html' }).end('<p>'), 200],
    ['an error of a proxy', response => response.writeHead(404).end('no'), 404],
    ['an error in JSON without a code', json(403, { error: 'no' }), 403],
    ['a problem of another program', json(404, { code: 'NoRoute' }), 404],
  ];
  it.each(strangers)('%s', async (_name, step, status) => {
    const { url } = await serve(step);
    await expect(transportTo(url).send(get)).rejects.toMatchObject({ code: 'UNEXPECTED_ANSWER', status });
  });

  it('a redirect is not followed: the token would go along', async () => {
    const { url, requests } = await serve(response => response.writeHead(302, { location: '/y' }).end());
    await expect(transportTo(url, 0, 'fbt_secret').send(get)).rejects.toMatchObject({ code: 'UNREACHABLE' });
    expect(requests).toHaveLength(1);
  });
});

it('takes no token and no URL that no request could carry, and does not repeat their text', () => {
  const wrong: [string, string][] = [
    ['http://127.0.0.1:1', 'fbt_secret\nfbt_other'],
    ['http://ana:secret@127.0.0.1:1', 'fbt_x'],
  ];
  for (const [url, token] of wrong) {
    const fault = expect.objectContaining({ name: 'TypeError', message: expect.not.stringContaining('secret') });
    expect(() => transportTo(url, 0, token)).toThrow(fault);
  }
});

it('keeps the path of the URL and encodes parameters', async () => {
  const { url, requests } = await serve(fine);
  await transportTo(`${url}/bus/`, 5, 'fbt_x').send({ ...get, query: { run_id: 'a b/ü', limit: undefined }, wait: 3 });
  expect(requests[0]?.url).toBe('/bus/x?run_id=a+b%2F%C3%BC&wait=3');
  expect(requests[0]?.headers.authorization).toBe('Bearer fbt_x');
});

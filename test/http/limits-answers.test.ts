import { once } from 'node:events';
import { connect } from 'node:net';
import { fastify } from 'fastify';
import { expect, it, onTestFinished } from 'vitest';
import type { Refusal } from '../../src/errors.ts';
import { useAnswerBudget } from '../../src/http/limits.ts';

const ANSWER_BYTES = 16_777_216;

it('answers that a caller does not take are limited in bytes, until it has taken them', async () => {
  const app = fastify({ forceCloseConnections: true });
  onTestFinished(() => app.close());
  app.setErrorHandler((error: Refusal, _request, reply) => reply.code(429).send({ code: error.code }));
  useAnswerBudget(app, 1.5 * ANSWER_BYTES);
  app.get('/large', async () => 'x'.repeat(ANSWER_BYTES));
  app.get('/small', async () => 'x');
  app.post('/write', async () => 'x'.repeat(ANSWER_BYTES));
  const origin = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
  const get = async (path: string, method = 'GET') => {
    const answer = await fetch(new URL(path, origin), { method });
    return { status: answer.status, body: await answer.text() };
  };

  const slow = connect(Number(origin.port), origin.hostname);
  slow.write('GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  await once(slow, 'readable');
  expect(await get('/large')).toEqual({ status: 429, body: '{"code":"RATE_LIMITED"}' });
  expect((await get('/small')).status).toBe(200);
  // What a write has done is said in any case.
  expect((await get('/write', 'POST')).status).toBe(200);
  slow.resume();
  await once(slow, 'close');
  expect((await get('/large')).status).toBe(200);
});

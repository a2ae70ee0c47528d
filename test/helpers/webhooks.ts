import { Webhook } from 'standardwebhooks';
import { expect, onTestFinished, vi } from 'vitest';
import { verifyWebhook } from '../../src/client/index.ts';
import type { Engine } from '../../src/db/engine.ts';
import { startApp, type TestApp } from './app.ts';
import { type Received, toLoopback } from './receiver.ts';
import { signal } from './signals.ts';

/** For what a worker does on its own. A machine that is busy with something else may take long; the limit of a test is longer. */
export const soon = { timeout: 120_000, interval: 20 };

/** A service that sends webhooks to loopback, for one test. */
export async function startSending(engine: Engine, overrides = {}): Promise<TestApp> {
  const service = await startApp(engine, { config: toLoopback, overrides });
  onTestFinished(() => service.close());
  return service;
}

/** Creates a webhook, `chat` by default, and answers it with its secret. */
export async function createWebhook(service: TestApp, url: string, fields: object = {}) {
  const wanted = { name: 'chat', url, event_types: ['forum.question.*'], ...fields };
  const { status, body } = await service.send('POST', '/webhooks', wanted);
  expect(status, JSON.stringify(body)).toBe(201);
  return body;
}

/** Asks a question, and answers its id. */
export async function ask(service: TestApp, fields: object = {}): Promise<string> {
  const { status, body } = await service.send('POST', '/control-signals', signal('guidance_request', fields));
  expect(status, JSON.stringify(body)).toBe(201);
  return body.question.question_id;
}

export async function answer(service: TestApp, questionId: string): Promise<void> {
  const given = { answer: 'Yes.', actor: { type: 'operator', name: 'ana' } };
  expect((await service.send('PUT', `/questions/${questionId}/answer`, given)).status).toBe(200);
}

/** Waits until what a webhook got, newest first, is as expected. */
export async function logOf(service: TestApp, expected: object[], name = 'chat'): Promise<void> {
  await vi.waitFor(async () => {
    expect((await service.send('GET', `/webhooks/${name}/deliveries`)).body.items).toMatchObject(expected);
  }, soon);
}

/** Whether our client and the library of Standard Webhooks accept the bytes with this secret; they agree. */
export async function accepted({ headers, body }: Received, secret: string): Promise<boolean> {
  const ours = await verifyWebhook(headers, body, secret).then(
    () => true,
    () => false,
  );
  let theirs = true;
  try {
    new Webhook(secret).verify(body, headers as Record<string, string>);
  } catch {
    theirs = false;
  }
  expect(ours).toBe(theirs);
  return ours;
}

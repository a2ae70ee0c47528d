import { Webhook } from 'standardwebhooks';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { verifyWebhook } from '../../src/client/index.ts';
import type { Engine } from '../../src/db/engine.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { type Received, startReceiver, toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';

const soon = { timeout: 20_000, interval: 20 };

async function start(engine: Engine, overrides = {}): Promise<TestApp> {
  const service = await startApp(engine, { config: toLoopback, overrides });
  onTestFinished(() => service.close());
  return service;
}

async function create(service: TestApp, url: string, fields: object = {}) {
  const wanted = { name: 'chat', url, event_types: ['forum.question.*'], ...fields };
  const { status, body } = await service.send('POST', '/webhooks', wanted);
  expect(status, JSON.stringify(body)).toBe(201);
  return body;
}

async function ask(service: TestApp, fields: object = {}): Promise<string> {
  const { status, body } = await service.send('POST', '/control-signals', signal('guidance_request', fields));
  expect(status, JSON.stringify(body)).toBe(201);
  return body.question.question_id;
}

async function answer(service: TestApp, questionId: string): Promise<void> {
  const given = { answer: 'Yes.', actor: { type: 'operator', name: 'ana' } };
  expect((await service.send('PUT', `/questions/${questionId}/answer`, given)).status).toBe(200);
}

/** What the webhook got, newest first, once that is as expected. */
async function logOf(service: TestApp, expected: object[], name = 'chat'): Promise<void> {
  await vi.waitFor(async () => {
    expect((await service.send('GET', `/webhooks/${name}/deliveries`)).body.items).toMatchObject(expected);
  }, soon);
}

/** Both accept the bytes with this secret, or neither. */
async function accepted({ headers, body }: Received, secret: string): Promise<boolean> {
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

describe.each(engines)('a webhook on %s', engine => {
  it('gets the events that it wants, in order, as signed CloudEvents', async () => {
    const [service, receiver] = [await start(engine), await startReceiver()];
    const { secret } = await create(service, receiver.url);
    const id = await ask(service);
    await vi.waitFor(() => expect(receiver.received).toHaveLength(1), soon);
    await answer(service, id);
    await vi.waitFor(() => expect(receiver.received).toHaveLength(2), soon);
    expect(receiver.events().map(event => event.event_type)).toEqual([
      'forum.question.opened',
      'forum.question.answered',
    ]);
    const [first] = receiver.received as [Received];
    const { data, ...envelope } = JSON.parse(first.body);
    expect(envelope).toMatchObject({
      specversion: '1.0',
      id: data.event_id,
      type: data.event_type,
      subject: data.thread_id,
    });
    expect(first.headers).toMatchObject({
      'content-type': 'application/cloudevents+json; charset=utf-8',
      'webhook-id': data.event_id.replace('evt_', 'msg_'),
    });
    expect(await accepted(first, secret)).toBe(true);
    await logOf(service, [
      { event_type: 'forum.question.answered', status: 'sent', attempts: [{ status: 204, error: null }] },
      { event_type: 'forum.question.opened', status: 'sent' },
    ]);
  });

  it('signs with the old and the new secret while one is rotated, and with the new one afterwards', async () => {
    const [service, receiver] = [await start(engine), await startReceiver()];
    const { secret: old } = await create(service, receiver.url);
    const next = async () => {
      const count = receiver.received.length;
      await ask(service, { question: `Question ${count}?` });
      await vi.waitFor(() => expect(receiver.received).toHaveLength(count + 1), soon);
      return receiver.received[count] as Received;
    };
    const before = await next();
    const during = await service.send('POST', '/webhooks/chat/rotate-secret', { grace_seconds: 3600 });
    expect(during.body.secrets).toMatchObject([{ expires_at: null }, { expires_at: expect.any(String) }]);
    const { secret: fresh } = during.body;
    const both = await next();
    const own = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    const ended = await service.send('POST', '/webhooks/chat/rotate-secret', { grace_seconds: 0, secret: own });
    expect(ended.body).toMatchObject({ secret: own, secrets: [{ expires_at: null }] });
    const after = await next();
    const verdicts = async (one: Received) => [
      await accepted(one, old),
      await accepted(one, fresh),
      await accepted(one, own),
    ];
    expect(await verdicts(before)).toEqual([true, false, false]);
    expect(await verdicts(both)).toEqual([true, true, false]);
    expect(await verdicts(after)).toEqual([false, false, true]);
  });

  it('gets only what its filter lets through', async () => {
    const [service, receiver] = [await start(engine), await startReceiver()];
    await create(service, receiver.url, {
      filter: { run_id: 'run-a', agent_name: 'builder', priority_at_least: 'high' },
    });
    await ask(service, { run_id: 'run-b', priority: 'urgent' });
    await ask(service, { run_id: 'run-a', agent_name: 'tester', priority: 'urgent' });
    await ask(service, { run_id: 'run-a', agent_name: 'builder', priority: 'normal' });
    await ask(service, { run_id: 'run-a', agent_name: 'builder', priority: 'high', question: 'Which?' });
    await vi.waitFor(() => expect(receiver.received).toHaveLength(1), soon);
    expect(receiver.events()[0].payload.question).toBe('Which?');
    await logOf(service, [
      { status: 'sent' },
      { status: 'discarded', reason: 'Dropped: it is less urgent than high.', attempts: [] },
    ]);
  });

  it('gets links at which a person can answer, if it is to have them', async () => {
    const config = { ...toLoopback, PUBLIC_URL: 'https://forum.example' };
    const service = await startApp(engine, { config });
    onTestFinished(() => service.close());
    const [plain, linked] = [await startReceiver(), await startReceiver()];
    await create(service, plain.url, { name: 'plain' });
    await create(service, linked.url, { name: 'linked', answer_links: true });
    await ask(service);
    await vi.waitFor(() => expect([plain.received.length, linked.received.length]).toEqual([1, 1]), soon);
    expect(JSON.parse(plain.received[0]?.body ?? '')).not.toHaveProperty('answerurl');
    const { answerurl } = JSON.parse(linked.received[0]?.body ?? '');
    expect(answerurl).toMatch(/^https:\/\/forum\.example\/a\/[\w-]+\.[\w-]{43}$/);
    const page = await service.app.inject({ method: 'GET', url: answerurl.slice('https://forum.example'.length) });
    expect(page.body).toContain('Which region?');
  });

  it('is tried again, and then gets what comes later in its thread', async () => {
    const service = await start(engine);
    const receiver = await startReceiver((response, _request, number) => {
      response.writeHead(number === 1 ? 503 : 200, { 'retry-after': '0' }).end(number === 1 ? 'busy' : 'fine');
    });
    await create(service, receiver.url, { event_types: ['forum.control.signal', 'forum.question.answered'] });
    await answer(service, await ask(service));
    await vi.waitFor(async () => expect(receiver.received.length).toBeGreaterThanOrEqual(3), soon);
    const types = receiver.events().map(event => event.event_type);
    expect(types.slice(0, 2)).toEqual(['forum.control.signal', 'forum.control.signal']);
    const busy = {
      status: 503,
      error: 'The endpoint answered 503.',
      response_head: 'busy',
      next_at: expect.any(String),
    };
    const fine = { status: 200, error: null, response_head: 'fine', next_at: null };
    const first = { event_type: 'forum.control.signal', status: 'sent', attempts: [busy, fine] };
    await logOf(service, [{ event_type: 'forum.question.answered' }, { event_type: 'forum.control.signal' }, first]);
  });

  it('is not told late that a question waits which has closed meanwhile', async () => {
    const service = await start(engine);
    const receiver = await startReceiver(
      (response, _request, number) => void response.writeHead(number === 1 ? 500 : 204).end(),
    );
    await create(service, receiver.url);
    const id = await ask(service);
    await logOf(service, [{ status: 'failed' }]);
    await answer(service, id);
    await vi.waitFor(() => expect(receiver.received).toHaveLength(2), soon);
    expect(receiver.events()[1].event_type).toBe('forum.question.answered');
    await logOf(service, [{ status: 'sent' }, { status: 'discarded', reason: 'Dropped: the question is answered.' }]);
  });

  it('is disabled by a 410, which an event tells another one; what waits for it is discarded', async () => {
    const [service, other] = [await start(engine), await startReceiver()];
    const gone = await startReceiver(response => void response.writeHead(410).end());
    await create(service, gone.url, { name: 'gone' });
    await create(service, other.url, { event_types: ['forum.webhook.*'] });
    await ask(service);
    await vi.waitFor(() => expect(other.received).toHaveLength(1), soon);
    expect(other.events()[0]).toMatchObject({
      event_type: 'forum.webhook.disabled',
      payload: { name: 'gone', reason: 'gone' },
    });
    const reasons = async () => (await service.send('GET', '/bus/health')).body.reasons;
    const reason = { code: 'WEBHOOK_DISABLED', detail: expect.stringContaining('gone') };
    await vi.waitFor(async () => expect(await reasons()).toContainEqual(reason), soon);
    await ask(service, { question: 'Unheard?' });
    expect(gone.received).toHaveLength(1);
    const enabled = await service.send('PATCH', '/webhooks/gone', { enabled: true, url: other.url });
    expect(enabled.body).toMatchObject({ enabled: true, disabled_reason: null, failures: 0 });
    await vi.waitFor(async () => expect(await reasons()).not.toContainEqual(reason), soon);
  });
});

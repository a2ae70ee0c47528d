import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { type Received, startReceiver, toLoopback } from '../helpers/receiver.ts';
import { accepted, answer, ask, createWebhook, logOf, soon, startSending } from '../helpers/webhooks.ts';

describe.each(engines)('a webhook on %s', engine => {
  it('gets the events that it wants, in order, as signed CloudEvents', async () => {
    const [service, receiver] = [await startSending(engine), await startReceiver()];
    const { secret } = await createWebhook(service, receiver.url);
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

  it('gets only what its filter lets through', async () => {
    const [service, receiver] = [await startSending(engine), await startReceiver()];
    await createWebhook(service, receiver.url, {
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
    await createWebhook(service, plain.url, { name: 'plain' });
    await createWebhook(service, linked.url, { name: 'linked', answer_links: true });
    await ask(service);
    await vi.waitFor(() => expect([plain.received.length, linked.received.length]).toEqual([1, 1]), soon);
    expect(JSON.parse(plain.received[0]?.body ?? '')).not.toHaveProperty('answerurl');
    const { answerurl } = JSON.parse(linked.received[0]?.body ?? '');
    expect(answerurl).toMatch(/^https:\/\/forum\.example\/a\/[\w-]+\.[\w-]{43}$/);
    const page = await service.app.inject({ method: 'GET', url: answerurl.slice('https://forum.example'.length) });
    expect(page.body).toContain('Which region?');
  });

  it('is tried again, and then gets what comes later in its thread', async () => {
    const service = await startSending(engine);
    const receiver = await startReceiver((response, _request, number) => {
      response.writeHead(number === 1 ? 503 : 200, { 'retry-after': '0' }).end(number === 1 ? 'busy' : 'fine');
    });
    await createWebhook(service, receiver.url, { event_types: ['forum.control.signal', 'forum.question.answered'] });
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
    const service = await startSending(engine);
    const receiver = await startReceiver(
      (response, _request, number) => void response.writeHead(number === 1 ? 500 : 204).end(),
    );
    await createWebhook(service, receiver.url);
    const id = await ask(service);
    await logOf(service, [{ status: 'failed' }]);
    await answer(service, id);
    await vi.waitFor(() => expect(receiver.received).toHaveLength(2), soon);
    expect(receiver.events()[1].event_type).toBe('forum.question.answered');
    await logOf(service, [{ status: 'sent' }, { status: 'discarded', reason: 'Dropped: the question is answered.' }]);
  });

  it('is disabled by a 410, which an event tells another one; what waits for it is discarded', async () => {
    const [service, other] = [await startSending(engine), await startReceiver()];
    const gone = await startReceiver(response => void response.writeHead(410).end());
    await createWebhook(service, gone.url, { name: 'gone' });
    await createWebhook(service, other.url, { event_types: ['forum.webhook.*'] });
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

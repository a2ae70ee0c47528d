import type { ServerResponse } from 'node:http';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { startReceiver, toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';
import { answer, ask, createWebhook, logOf, soon, startSending } from '../helpers/webhooks.ts';

const event_types = ['forum.control.signal'];

async function report(service: TestApp, number: number, fields: object = {}): Promise<void> {
  const body = signal('completion', { summary: `Report ${number}`, ...fields });
  expect((await service.send('POST', '/control-signals', body)).status).toBe(201);
}

async function change(service: TestApp, body: object): Promise<void> {
  const changed = await service.send('PATCH', '/webhooks/chat', body);
  expect(changed.status, JSON.stringify(changed.body)).toBe(200);
}

/** An endpoint that answers when it is told to. */
async function startHolding() {
  const held: ServerResponse[] = [];
  const receiver = await startReceiver(response => void held.push(response));
  return {
    ...receiver,
    reports: () => receiver.events().map(event => event.payload.summary),
    answer: (status: number) => {
      for (const response of held.splice(0)) response.writeHead(status).end();
    },
  };
}

describe.each(engines)('a webhook that changes while a request is under way on %s', engine => {
  it.each([500, 410])('takes a %s of its old URL for no failure of the new one, which gets the event', async status => {
    const service = await startSending(engine, { clock: new ManualClock() });
    const [old, fresh] = [await startHolding(), await startReceiver()];
    await createWebhook(service, old.url, { event_types });
    for (let n = 0; n < 6; n += 1) await report(service, n, { agent_name: `agent-${n}` });
    await vi.waitFor(() => expect(old.received).toHaveLength(6), soon);
    await change(service, { url: fresh.url });
    old.answer(status);
    await logOf(
      service,
      Array.from({ length: 6 }, () => ({ status: 'sent', attempts: [{ status }, { status: 204 }] })),
    );
    expect((await service.send('GET', '/webhooks/chat')).body).toMatchObject({
      enabled: true,
      failures: 0,
      next_probe_at: null,
    });
    expect(fresh.received).toHaveLength(6);
    expect(old.received).toHaveLength(6);
  });

  it('sends at once to another URL what the old one had put off', async () => {
    const service = await startSending(engine, { clock: new ManualClock() });
    const old = await startReceiver(response => void response.writeHead(503, { 'retry-after': '86400' }).end());
    const fresh = await startReceiver();
    await createWebhook(service, old.url, { event_types });
    await ask(service);
    await logOf(service, [{ status: 'failed', attempts: [{ status: 503 }] }]);
    await ask(service, { question: 'And then?' });
    await change(service, { url: fresh.url });
    const sent = { status: 'sent', attempts: [{ status: 204 }] };
    await logOf(service, [sent, { status: 'sent', attempts: [{ status: 503 }, { status: 204 }] }]);
    expect(fresh.received).toHaveLength(2);
  });

  it.each([204, 500])('is forgotten when it is deleted, also if the answer is a %s; its name is free', async status => {
    const service = await startSending(engine);
    const [old, fresh] = [await startHolding(), await startReceiver()];
    await createWebhook(service, old.url, { event_types });
    await report(service, 0);
    await report(service, 1);
    await vi.waitFor(() => expect(old.received).toHaveLength(1), soon);
    expect((await service.send('DELETE', '/webhooks/chat')).status).toBe(200);
    await createWebhook(service, fresh.url, { event_types });
    old.answer(status);
    await report(service, 2);
    await vi.waitFor(() => expect(fresh.received).toHaveLength(1), soon);
    expect(fresh.events()[0].payload.summary).toBe('Report 2');
    await logOf(service, [{ status: 'sent' }]);
    expect((await service.send('GET', '/webhooks/chat')).body).toMatchObject({ failures: 0, enabled: true });
    const waiting = async () => {
      const states = ['pending', 'processing', 'failed'].map(state => service.send('GET', `/outbox?status=${state}`));
      return (await Promise.all(states)).flatMap(({ body }) => body.items);
    };
    await vi.waitFor(async () => expect(await waiting()).toEqual([]), soon);
    expect(old.received).toHaveLength(1);
  });

  it('loses what waits when it is disabled, and gets it by a replay of what it missed, in order', async () => {
    const service = await startSending(engine);
    const endpoint = await startHolding();
    await createWebhook(service, endpoint.url, { event_types });
    for (let n = 0; n < 4; n += 1) await report(service, n);
    await vi.waitFor(() => expect(endpoint.received).toHaveLength(1), soon);
    // What has no delivery yet is missed, and not discarded.
    const waiting = async () => (await service.send('GET', '/webhooks/chat/deliveries')).body.items;
    await vi.waitFor(async () => expect(await waiting()).toHaveLength(4), soon);
    await change(service, { enabled: false });
    await report(service, 4);
    await logOf(
      service,
      Array.from({ length: 4 }, () => ({ status: 'discarded' })),
    );
    endpoint.answer(204);
    await change(service, { enabled: true });
    await report(service, 5);
    await vi.waitFor(() => expect(endpoint.received).toHaveLength(2), soon);
    expect(endpoint.reports()[1]).toBe('Report 5');
    endpoint.answer(204);
    const replay = { missing_since: '2020-01-01T00:00:00.000Z' };
    expect((await service.send('POST', '/webhooks/chat/replay', replay)).status).toBe(200);
    for (let count = 3; count <= 7; count += 1) {
      await vi.waitFor(() => expect(endpoint.received).toHaveLength(count), soon);
      endpoint.answer(204);
    }
    expect(endpoint.reports().slice(2)).toEqual([0, 1, 2, 3, 4].map(n => `Report ${n}`));
  });

  it('starts with new events when it is enabled again, however soon', async () => {
    const service = await startApp(engine, { config: { ...toLoopback, POLL_INTERVAL_MS: '60000' } });
    onTestFinished(() => service.close());
    const endpoint = await startHolding();
    await createWebhook(service, endpoint.url, { event_types });
    for (let n = 0; n < 4; n += 1) await report(service, n);
    await vi.waitFor(() => expect(endpoint.received).toHaveLength(1), soon);
    await change(service, { enabled: false });
    await change(service, { enabled: true });
    endpoint.answer(500);
    await report(service, 4);
    await vi.waitFor(() => expect(endpoint.received).toHaveLength(2), soon);
    expect(endpoint.reports()).toEqual(['Report 0', 'Report 4']);
    endpoint.answer(204);
    await vi.waitFor(async () => {
      const { items } = (await service.send('GET', '/webhooks/chat/deliveries')).body;
      expect(items[0].status).toBe('sent');
      expect(new Set(items.slice(1).map(({ status }: { status: string }) => status))).toEqual(new Set(['discarded']));
    }, soon);
  });

  it('ends up with each event sent or discarded when it is disabled and enabled again at once', async () => {
    const service = await startSending(engine);
    const endpoint = await startReceiver();
    await createWebhook(service, endpoint.url, { event_types });
    for (let n = 0; n < 30; n += 1) {
      await report(service, n, { agent_name: `agent-${n % 3}` });
      if (n % 5 === 0) for (const enabled of [false, true]) await change(service, { enabled });
    }
    await vi.waitFor(async () => {
      const { items } = (await service.send('GET', '/webhooks/chat/deliveries?limit=200')).body;
      expect(items.filter(({ status }: { status: string }) => !['sent', 'discarded'].includes(status))).toEqual([]);
    }, soon);
    const sequences = endpoint.events().map(({ thread_id, sequence }) => ({ thread_id, sequence }));
    for (const lane of Map.groupBy(sequences, ({ thread_id }) => thread_id).values()) {
      expect(lane).toEqual(lane.toSorted((a, b) => a.sequence - b.sequence));
    }
    expect(new Set(sequences.map(({ sequence }) => sequence)).size).toBe(sequences.length);
  });
});

describe.each(engines)('a webhook whose worker is behind on %s', engine => {
  /** A service without a worker, and one with it on the same database, once it is wanted. */
  async function start() {
    const database = await scratchDatabase(engine);
    onTestFinished(() => database.drop());
    const config = { ...toLoopback, ROLE: 'http' } as const;
    let service = await startApp(engine, { database, config });
    onTestFinished(() => service.close());
    const endpoint = await startReceiver();
    return {
      endpoint,
      send: (...args: Parameters<TestApp['send']>) => service.send(...args),
      get service() {
        return service;
      },
      async work() {
        await service.close();
        service = await startApp(engine, { database, config: toLoopback });
      },
      reports: () => endpoint.events().map(event => event.payload.summary),
    };
  }

  it('gets what it was to get before its filter changed, and what it is to get since', async () => {
    const started = await start();
    const { endpoint, reports } = started;
    await createWebhook(started.service, endpoint.url, { event_types, filter: { run_id: 'run-a' } });
    await report(started.service, 0, { run_id: 'run-b' });
    await report(started.service, 1, { run_id: 'run-a' });
    await change(started.service, { description: 'Mine' });
    await change(started.service, { filter: { agent_name: 'builder' }, event_types: ['forum.control.*'] });
    await report(started.service, 2, { run_id: 'run-b' });
    await started.work();
    await vi.waitFor(() => expect(endpoint.received).toHaveLength(2), soon);
    await report(started.service, 3, { run_id: 'run-b' });
    // There is no order between runs.
    await vi.waitFor(() => expect(reports().toSorted()).toEqual(['Report 1', 'Report 2', 'Report 3']), soon);
  });

  it('gets nothing twice by a replay of what it has not got yet', async () => {
    const started = await start();
    const { endpoint, reports } = started;
    await report(started.service, 0);
    await createWebhook(started.service, endpoint.url, { event_types });
    for (let n = 1; n < 5; n += 1) await report(started.service, n);
    for (let time = 0; time < 2; time += 1) {
      const body = { missing_since: '2020-01-01T00:00:00.000Z' };
      expect((await started.send('POST', '/webhooks/chat/replay', body)).status).toBe(200);
    }
    await started.work();
    await vi.waitFor(() => expect(new Set(reports()).size).toBe(5), soon);
    await report(started.service, 5);
    await vi.waitFor(() => expect(reports()).toContain('Report 5'), soon);
    expect(reports().toSorted()).toEqual([0, 1, 2, 3, 4, 5].map(n => `Report ${n}`));
  });
});

describe.each(engines)('a channel of people on %s', engine => {
  it('is paged once for a question, again only at its escalation, and not after it has closed', async () => {
    const clock = new ManualClock();
    const service = await startSending(engine, { clock });
    const people = await startReceiver();
    await createWebhook(service, people.url, { format: 'discord', event_types: ['forum.question.*'] });
    const messages = () =>
      people.received.map(({ body }) => JSON.parse(body).content.split('\n')[0].replaceAll('*', ''));
    const id = await ask(service, { remind_after_seconds: 60 });
    await logOf(service, [{ status: 'sent' }]);
    expect(messages()).toEqual(['builder in run-1 asks']);
    clock.advance(61_000);
    await vi.waitFor(() => expect(messages()).toHaveLength(2), soon);
    expect(messages()[1]).toBe('builder in run-1 still waits');
    const closed = await ask(service, { agent_name: 'tester', remind_after_seconds: 60 });
    await vi.waitFor(() => expect(messages()).toHaveLength(3), soon);
    await answer(service, closed);
    const sent = { status: 'sent' };
    await logOf(service, [sent, sent, sent, sent]);
    clock.advance(600_000);
    await answer(service, id);
    await vi.waitFor(() => expect(messages()).toHaveLength(5), soon);
    expect(messages().slice(2)).toEqual([
      'tester in run-1 asks',
      'tester in run-1 has an answer',
      'builder in run-1 has an answer',
    ]);
  });
});

import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { startReceiver, toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';

const soon = { timeout: 120_000, interval: 20 };

describe.each(engines)('a replay on %s', engine => {
  async function start() {
    const service = await startApp(engine, { config: toLoopback });
    onTestFinished(() => service.close());
    const receiver = await startReceiver();
    const report = async (number: number) => {
      const body = signal('completion', { agent_name: `agent-${number % 50}`, summary: `Report ${number}` });
      expect((await service.send('POST', '/control-signals', body)).status).toBe(201);
    };
    const create = async () => {
      const wanted = { name: 'chat', url: receiver.url, event_types: ['forum.control.signal'] };
      expect((await service.send('POST', '/webhooks', wanted)).status).toBe(201);
    };
    const replay = async (body: object) => {
      const answer = await service.send('POST', '/webhooks/chat/replay', body);
      expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    };
    const reports = () => receiver.events().map(event => event.payload.summary);
    const reach = (count: number) => vi.waitFor(() => expect(receiver.received).toHaveLength(count), soon);
    return { service, create, report, replay, reports, reach };
  }

  it('sends what happened before the webhook, and while it was disabled, and nothing twice', async () => {
    const { service, create, report, replay, reports, reach } = await start();
    for (let number = 0; number < 220; number += 1) await report(number);
    await create();
    await report(220);
    await reach(1);
    expect((await service.send('PATCH', '/webhooks/chat', { enabled: false })).status).toBe(200);
    await report(221);
    expect((await service.send('PATCH', '/webhooks/chat', { enabled: true })).status).toBe(200);
    await replay({ missing_since: '2020-01-01T00:00:00.000Z' });
    await reach(222);
    expect(new Set(reports()).size).toBe(222);
    await replay({ missing_since: '2020-01-01T00:00:00.000Z' });
    await report(222);
    await reach(223);
    expect(reports().at(-1)).toBe('Report 222');
  });

  it('sends a time again, or one delivery', async () => {
    const { service, create, report, replay, reports, reach } = await start();
    await create();
    await report(0);
    await reach(1);
    const between = new Date().toISOString();
    await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(Date.parse(between)));
    await report(1);
    await reach(2);
    const items = async () => (await service.send('GET', '/webhooks/chat/deliveries?status=sent')).body.items;
    await vi.waitFor(async () => expect(await items()).toHaveLength(2), soon);
    await replay({ since: between });
    await reach(3);
    expect(reports()[2]).toBe('Report 1');
    await vi.waitFor(async () => expect(await items()).toHaveLength(2), soon);
    const [, first] = await items();
    await replay({ delivery_id: first.delivery_id });
    await reach(4);
    expect(reports()[3]).toBe('Report 0');
  });
});

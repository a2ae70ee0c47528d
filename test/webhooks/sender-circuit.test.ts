import type { ServerResponse } from 'node:http';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { startReceiver } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';
import { ask, createWebhook, soon, startSending } from '../helpers/webhooks.ts';

const SECOND = 1000;
const HOUR = 3_600_000;
const broken = (response: ServerResponse) => void response.writeHead(500).end();

describe.each(engines)('a webhook that fails on %s', engine => {
  /** A failing webhook `bad`, and another one that gets the same and hears of it. */
  async function start(on: Engine) {
    const clock = new ManualClock();
    const service = await startSending(on, { clock, random: () => 0.5 });
    const [bad, witness] = [await startReceiver(broken), await startReceiver()];
    const event_types = ['forum.control.signal'];
    await createWebhook(service, bad.url, { name: 'bad', event_types });
    await createWebhook(service, witness.url, { name: 'witness', event_types: [...event_types, 'forum.webhook.*'] });
    let reports = 0;
    /** Agents report, each in a thread of its own. */
    const report = async (count: number) => {
      for (let n = 0; n < count; n += 1) {
        const body = signal('completion', { agent_name: `agent-${reports++}` });
        expect((await service.send('POST', '/control-signals', body)).status).toBe(201);
      }
    };
    const told = (type: string) => witness.events().filter(event => event.event_type === type);
    /** The other webhook has got one report more: a claim has passed in which `bad` had its turn. */
    const passed = async () => {
      await report(1);
      await vi.waitFor(() => expect(told('forum.control.signal')).toHaveLength(reports), soon);
    };
    /** Nothing is under a lease, which would run out when the clock is moved. */
    const settled = () =>
      vi.waitFor(async () => {
        for (const name of ['bad', 'witness']) {
          expect((await service.send('GET', `/webhooks/${name}/deliveries?status=processing`)).body.items).toEqual([]);
        }
      }, soon);
    const advance = async (milliseconds: number) => {
      await settled();
      clock.advance(milliseconds);
    };
    const state = async () => (await service.send('GET', '/webhooks/bad')).body;
    /** `bad` has got so many requests, and its circuit has counted them. */
    const failed = async (count: number) => {
      await vi.waitFor(() => expect(bad.received).toHaveLength(count), soon);
      await vi.waitFor(async () => expect((await state()).failures).toBe(count), soon);
    };
    return { clock, service, bad, report, told, passed, state, failed, advance };
  }

  it('gets one probe per step once five attempts have failed, and all that waits once one succeeds', async () => {
    const { clock, bad, report, told, passed, state, failed, advance } = await start(engine);
    await report(5);
    await failed(5);
    let count = 5;
    for (const step of [5 * SECOND, 30 * SECOND, 120 * SECOND, 600 * SECOND]) {
      expect((await state()).next_probe_at).toBe(new Date(clock.now() + step).toISOString());
      await passed();
      await advance(step - 1);
      await passed();
      expect(bad.received).toHaveLength(count);
      await advance(1);
      count += 1;
      await failed(count);
    }
    bad.answer = response => void response.writeHead(204).end();
    await advance(1800 * SECOND);
    await vi.waitFor(() => expect(told('forum.webhook.recovered')).toHaveLength(1), soon);
    expect(told('forum.webhook.recovered')[0].payload).toEqual({ name: 'bad' });
    expect(await state()).toMatchObject({ enabled: true, failures: 0, failing_since: null, next_probe_at: null });
    const reports = told('forum.control.signal').length;
    await vi.waitFor(() => {
      expect(new Set(bad.received.slice(count).map(({ headers }) => headers['webhook-id'])).size).toBe(reports);
    }, soon);
    expect(bad.received).toHaveLength(count + reports);
  });

  it('is left alone for as long as it asks, also by probes', async () => {
    const { clock, service, bad, report, passed, state, failed, advance } = await start(engine);
    bad.answer = response => void response.writeHead(429, { 'retry-after': '3600' }).end();
    await report(5);
    await failed(5);
    const then = new Date(clock.now() + HOUR).toISOString();
    expect((await state()).next_probe_at).toBe(then);
    // An outcome is stored a little later than the circuit.
    await vi.waitFor(async () => {
      const { items } = (await service.send('GET', '/webhooks/bad/deliveries')).body;
      expect(items.map((item: { next_at: string }) => item.next_at)).toEqual(Array.from({ length: 5 }, () => then));
    }, soon);
    await advance(HOUR - 1);
    await passed();
    expect(bad.received).toHaveLength(5);
    await advance(1);
    await failed(6);
  });

  it('is disabled after five days of failures only, which is told; a success in between starts anew', async () => {
    const { service, bad, report, told, passed, state, failed, advance } = await start(engine);
    await report(5);
    await failed(5);
    bad.answer = response => void response.writeHead(204).end();
    await advance(119 * HOUR);
    await vi.waitFor(() => expect(told('forum.webhook.recovered')).toHaveLength(1), soon);
    await vi.waitFor(() => expect(bad.received).toHaveLength(10), soon);

    bad.answer = response => void response.writeHead(500, { 'retry-after': '86400' }).end();
    bad.received.splice(0);
    await report(5);
    await failed(5);
    for (let day = 1; day < 5; day += 1) {
      await advance(24 * HOUR);
      await failed(5 + day);
    }
    expect(await state()).toMatchObject({ enabled: true });
    await advance(24 * HOUR);
    await vi.waitFor(() => expect(told('forum.webhook.disabled')).toHaveLength(1), soon);
    expect(told('forum.webhook.disabled')[0].payload).toEqual({ name: 'bad', reason: 'failing' });
    expect(await state()).toMatchObject({ enabled: false, disabled_reason: 'failing', next_probe_at: null });
    const reason = { code: 'WEBHOOK_DISABLED', detail: expect.stringContaining('bad') };
    const reasons = async () => (await service.send('GET', '/bus/health')).body.reasons;
    await vi.waitFor(async () => expect(await reasons()).toContainEqual(reason), soon);
    const asked = bad.received.length;
    await passed();
    expect(bad.received).toHaveLength(asked);
    // What waited is discarded.
    await vi.waitFor(async () => {
      const { items } = (await service.send('GET', '/webhooks/bad/deliveries?status=pending')).body;
      expect(items).toEqual([]);
    }, soon);
  });

  it('is given up for no time in which nothing was tried, such as that of a service that was off', async () => {
    const { report, failed, state, advance } = await start(engine);
    await report(5);
    await failed(5);
    await advance(144 * HOUR);
    await failed(6);
    await advance(30 * SECOND);
    await failed(7);
    expect(await state()).toMatchObject({ enabled: true, disabled_reason: null });
  });

  it('is probed in time when somebody sets the wall clock back', async () => {
    const service = await startSending(engine);
    const receiver = await startReceiver(broken);
    await createWebhook(service, receiver.url, { name: 'bad' });
    for (let n = 0; n < 5; n += 1) await ask(service, { agent_name: `agent-${n}` });
    const state = async () => (await service.send('GET', '/webhooks/bad')).body;
    await vi.waitFor(async () => expect((await state()).failures).toBe(5), soon);
    const { now } = Date;
    const wall = vi.spyOn(Date, 'now').mockImplementation(() => now() - HOUR);
    onTestFinished(() => wall.mockRestore());
    receiver.answer = response => void response.writeHead(204).end();
    await vi.waitFor(async () => expect((await state()).failures).toBe(0), { timeout: 20_000, interval: 100 });
  });

  it('tells people through another channel that it is disabled', async () => {
    const { service, bad, report } = await start(engine);
    const people = await startReceiver();
    await createWebhook(service, people.url, {
      name: 'people',
      format: 'slack',
      event_types: ['forum.webhook.disabled'],
    });
    bad.answer = response => void response.writeHead(410).end();
    await report(1);
    await vi.waitFor(() => expect(people.received).toHaveLength(1), soon);
    expect(people.received[0]?.body).toContain('The webhook bad is disabled (gone)');
  });
});

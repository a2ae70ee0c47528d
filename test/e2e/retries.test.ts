import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { scratchDatabase } from '../helpers/engines.ts';
import { allItems } from '../helpers/pages.ts';
import { freePort } from '../helpers/ports.ts';
import { forThisTest, type ServiceProcess, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { seeded } from '../verify/random.ts';

const CLIENTS = 200;
const TIMES = 3;
const AGENTS = 20;
/** How long a client may wait before it sends its signal, each time. */
const SPREAD_MS = 5000;
const seed = Number(process.env.TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));

it(`${CLIENTS} clients that send a signal ${TIMES} times each make ${CLIENTS} signals, whichever process is killed meanwhile`, {
  timeout: 240_000,
}, async () => {
  process.stdout.write(`retries: TEST_SEED=${seed}\n`);
  const random = seeded(seed);
  const { url: DATABASE_URL } = await forThisTest(scratchDatabase('postgres'));
  const ports = await Promise.all([freePort(), freePort()]);
  const start = (port: number) => startService({ DATABASE_URL, PORT: String(port) });
  const services = await Promise.all(ports.map(start));

  let unanswered = 0;
  /** Sends the signal until there is an answer: a killed process owes one, and a starting one does not listen yet. */
  async function answered(client: number) {
    const body = JSON.stringify(
      signal('completion', { agent_name: `agent-${client % AGENTS}`, summary: `client ${client}` }),
    );
    for (;;) {
      const headers = { 'content-type': 'application/json', 'idempotency-key': `key-${client}` };
      const url = `http://127.0.0.1:${random.pick(ports)}/control-signals`;
      try {
        const response = await fetch(url, { method: 'POST', headers, body });
        const text = await response.text();
        const { location, etag } = Object.fromEntries(response.headers);
        return { status: response.status, location, etag, text };
      } catch {
        unanswered += 1;
        await delay(random.below(50));
      }
    }
  }
  // The last time comes after two kills, however long a start takes.
  const killedTwice = Promise.withResolvers<void>();
  const sending = Array.from({ length: CLIENTS }, (_, client) =>
    Promise.all(
      Array.from({ length: TIMES }, async (_, time) => {
        if (time === TIMES - 1) await killedTwice.promise;
        await delay(random.below(SPREAD_MS));
        return answered(client);
      }),
    ),
  );
  let over = false;
  const all = Promise.all(sending).finally(() => {
    over = true;
  });
  // One of them at a time, so that the clients always find somebody.
  let kills = 0;
  for (; !over; kills++) {
    const victim = kills % 2;
    await delay(random.below(300));
    services[victim]?.kill('SIGKILL');
    expect(await services[victim]?.exited).toEqual({ code: null, signal: 'SIGKILL' });
    services[victim] = await start(ports[victim] as number);
    if (kills === 1) killedTwice.resolve();
  }
  const answers = await all;
  expect(kills).toBeGreaterThan(1);
  expect(unanswered).toBeGreaterThan(0);

  for (const [client, own] of answers.entries()) {
    expect(own[0]).toMatchObject({ status: 201, text: expect.stringContaining(`"client ${client}"`) });
    for (const again of own.slice(1)) expect(again).toEqual(own[0]);
  }
  const [service] = services as [ServiceProcess, ServiceProcess];
  const events = await allItems(path => service.send('GET', path), '/events?event_type=forum.control.signal');
  const stored = new Map(events.map(({ payload }) => [payload.summary, payload.signal_id]));
  expect(events).toHaveLength(CLIENTS);
  for (const [client, [answer]] of answers.entries()) {
    expect(JSON.parse(answer?.text ?? '').signal.signal_id).toBe(stored.get(`client ${client}`));
  }
});

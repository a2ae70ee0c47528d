import { get } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { signal } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { longestTurn } from '../helpers/turns.ts';

/*
 * SQLite reads in the event loop. However much an answer holds, and however fast its reader is, others have their turn.
 */

const LIMIT_MS = 100;
/** With their events, 90 times as much as a page. */
const QUESTIONS = 160;

let service: TestApp;
let port: number;
beforeAll(async () => {
  service = await startApp('sqlite', { config: { RATE_LIMIT_PER_MINUTE: '0' } });
  port = await listen(service.app);
  for (let number = 0; number < QUESTIONS; number += 1) {
    const context = `bigword ${number} ${'間'.repeat(65_000)}`;
    const asked = signal('guidance_request', { run_id: 'large', agent_name: `agent-${number % 4}`, context });
    expect((await service.send('POST', '/control-signals', asked)).status).toBe(201);
  }
});
afterAll(() => service.close());

/** Reads an answer to its end, or up to the text that it is to contain. @returns its bytes, and the longest turn meanwhile */
const read = (path: string, end = 'nothing') =>
  longestTurn(
    () =>
      new Promise<number>((resolve, reject) => {
        let bytes = 0;
        const request = get({ port, path }, response => {
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.length;
            if (chunk.includes(end)) request.destroy();
          });
          response.on('close', () => resolve(bytes));
        }).on('error', reject);
      }),
  );

it.each([
  ['an export', '/runs/large/export'],
  ['a stream from its start', `/events/stream?after=0&run_id=large`],
  ['a search for a word of all', '/questions?q=bigword&limit=200'],
])('%s of 20 million characters leaves others their turn', async (_what, path) => {
  // The first of its kind compiles what the service needs.
  await read('/runs/nobody/export');
  const [latest] = (await service.send('GET', '/events?order=newest&limit=1')).body.items;
  const { value: bytes, took } = await read(path, `id: ${latest.sequence}\n`);
  expect(bytes).toBeGreaterThan(900_000);
  expect(took).toBeLessThan(LIMIT_MS);
});

import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { scratchDatabase } from '../helpers/engines.ts';
import { allItems } from '../helpers/pages.ts';
import { forThisTest, send, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { openStream } from '../helpers/stream.ts';
import { seeded } from '../verify/random.ts';

const PROCESSES = 4;
const EVENTS = 700;
const RESUMPTIONS = 200;
const CLIENTS = 16;
const seed = Number(process.env.TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));

it(`a reader who is cut off ${RESUMPTIONS} times, and comes back to any of ${PROCESSES} processes, sees each event once`, {
  timeout: 240_000,
}, async () => {
  process.stdout.write(`streams: TEST_SEED=${seed}\n`);
  const random = seeded(seed);
  const { url: DATABASE_URL } = await forThisTest(scratchDatabase('postgres'));
  const services = await Promise.all(Array.from({ length: PROCESSES }, () => startService({ DATABASE_URL })));
  const origins = await Promise.all(services.map(service => service.listening()));

  const posted: number[] = [];
  let left = EVENTS;
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    while (left > 0) {
      left -= 1;
      const body = signal('completion', { agent_name: `agent-${client}` });
      const answer = await send(random.pick(origins), 'POST', '/control-signals', body);
      expect(answer.status).toBe(201);
      posted.push(answer.body.signal.sequence);
    }
  });

  /** After how many events the reader is cut off. */
  const cuts = new Set<number>();
  while (cuts.size < RESUMPTIONS) cuts.add(random.below(EVENTS));
  const seen: number[] = [];
  const reading = (async () => {
    let lastId: string | undefined;
    for (const cut of [...[...cuts].toSorted((a, b) => a - b), EVENTS + CLIENTS]) {
      const stream = await openStream(random.pick(origins), '', lastId);
      while (seen.length < cut) seen.push((await stream.event()).sequence);
      // Sometimes there is more on its way, sometimes nothing.
      if (random.next() < 0.5) await delay(random.below(20));
      stream.leave();
      lastId = stream.lastId ?? lastId;
    }
  })();
  await Promise.all([reading, ...clients]);

  const events = await allItems(path => send(origins[0] as string, 'GET', path), '/events?');
  const all = events.map(event => event.sequence);
  // Each signal, and the opening of each client's thread.
  expect(all).toHaveLength(EVENTS + CLIENTS);
  expect(seen).toEqual(all);
  expect(posted.filter(sequence => !new Set(all).has(sequence))).toEqual([]);
});

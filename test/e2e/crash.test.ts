import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import type { Answer } from '../helpers/app.ts';
import { emptyDatabase, engines } from '../helpers/engines.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import { allItems } from '../helpers/pages.ts';
import { forThisTest, type ServiceProcess, send, spawnService, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';

const KILLS = 6;
const CLIENTS = 6;
const AGENTS_PER_CLIENT = 4;
const seed = Number(process.env.TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));

/** Notes down, in a file that outlives the process, what it was given, and takes a moment as a real handler does. */
const noting = `
  import { appendFileSync } from 'node:fs';
  import { setTimeout as delay } from 'node:timers/promises';
  export const topic = 'forum.events.control.signal';
  export async function handle({ message_key, payload }) {
    appendFileSync(process.env.NOTES, message_key + ' ' + payload.sequence + '\\n');
    await delay(Math.random() * 5);
  }`;

interface Stored {
  signal_id: string;
  sequence: number;
  thread_id: string;
}

describe('kill -9 under load', () => {
  // Both engines at once: most of the time goes into starting, which keeps one core busy. A machine that is busy with
  // something else as well may take several times the usual half a minute.
  it(`loses nothing in ${KILLS} kills`, { timeout: 150_000 }, async () => {
    process.stdout.write(`kill -9 under load: TEST_SEED=${seed}\n`);
    await Promise.all(engines.map(killAgainAndAgain));
  });

  async function killAgainAndAgain(engine: Engine): Promise<void> {
    const random = seeded(seed);
    const { path } = await forThisTest(scratchFolder());
    const env = {
      DATABASE_URL: (await forThisTest(emptyDatabase(engine))).url,
      HANDLERS_DIR: await handlersFolder({ 'noting.mjs': noting }),
      NOTES: join(path, 'notes'),
      // On SQLite the successor takes the rows back at once; nothing there may have to wait for a lease to run out.
      LEASE_MS: engine === 'sqlite' ? '30000' : '1000',
      POLL_INTERVAL_MS: '100',
    };
    const load = startLoad();
    for (let kill = 0; kill < KILLS; kill++) {
      const service = spawnService(env);
      if (kill % 3 === 2) {
        // Dies while it starts, which is when it migrates and takes back what its predecessor left.
        await delay(random() * 1000);
      } else {
        await load.aim(await service.listening());
        await delay(random() * 250);
        load.hold();
      }
      service.kill('SIGKILL');
      expect(await service.exited, `${engine}: ${service.output}`).toEqual({ code: null, signal: 'SIGKILL' });
    }
    const { accepted, refused } = await load.end();
    expect(refused).toEqual([]);
    expect(accepted.length).toBeGreaterThan(KILLS);

    const service = await startService(env);
    await vi.waitFor(
      async () => {
        const { by_status } = (await service.send('GET', '/outbox/stats')).body;
        expect(by_status).toMatchObject({ pending: 0, processing: 0, failed: 0, dead: 0, discarded: 0 });
      },
      { timeout: 20_000, interval: 100 },
    );
    await verify(service, accepted, (await readFile(env.NOTES, 'utf8')).trim().split('\n'));
  }
});

/** Clients that post one signal after the other to whatever they are aimed at, each for several agents in turn. */
function startLoad() {
  const accepted: Stored[] = [];
  const refused: Answer[] = [];
  let target = Promise.withResolvers<string | undefined>();
  let warm = Promise.withResolvers<void>();
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    for (let count = 0; ; count++) {
      const origin = await target.promise;
      if (origin === undefined) return;
      const agent_name = `agent-${client}-${count % AGENTS_PER_CLIENT}`;
      // No answer: the service was killed in between, and nothing is known of the signal.
      const answer = await send(origin, 'POST', '/control-signals', signal('completion', { agent_name })).catch(
        () => {},
      );
      if (answer?.status === 201) accepted.push(answer.body.signal);
      else if (answer) refused.push(answer);
      if (answer) warm.resolve();
    }
  });
  return {
    /** Answers when the first signal has been answered: a fresh process takes its time for that one. */
    aim(origin: string) {
      warm = Promise.withResolvers();
      target.resolve(origin);
      return warm.promise;
    },
    hold() {
      target = Promise.withResolvers();
    },
    async end() {
      target.resolve(undefined);
      await Promise.all(clients);
      return { accepted, refused };
    },
  };
}

async function verify(service: ServiceProcess, accepted: Stored[], notes: string[]): Promise<void> {
  const remaining = [...accepted];
  const read = async () => {
    for (let one = remaining.pop(); one; one = remaining.pop()) {
      expect((await service.send('GET', `/control-signals/${one.signal_id}`)).body).toEqual(one);
    }
  };
  await Promise.all(Array.from({ length: 8 }, read));

  const get = (path: string) => service.send('GET', path);
  const events = await allItems(get, '/events?event_type=forum.control.signal');
  const messages = await allItems(get, '/outbox?topic=forum.events.control.signal');
  const logged = new Map(events.map(event => [event.payload.signal_id, event]));
  expect(accepted.filter(({ signal_id, sequence }) => logged.get(signal_id)?.sequence !== sequence)).toEqual([]);
  // One message per event, those included that were committed and never answered.
  expect(messages.map(message => message.payload)).toEqual(events);
  expect(messages.filter(message => message.status !== 'sent')).toEqual([]);

  const handled = new Map<string, number[]>();
  for (const [lane = '', sequence] of notes.map(note => note.split(' '))) {
    handled.set(lane, [...(handled.get(lane) ?? []), Number(sequence)]);
  }
  const sequences = new Set([...handled.values()].flat());
  expect(events.filter(event => !sequences.has(event.sequence))).toEqual([]);
  // A killed handler's message comes again, but never after a later one of its lane.
  for (const lane of handled.values()) expect(lane).toEqual(lane.toSorted((a, b) => a - b));
}

/** Numbers from [0, 1) that are the same for the same seed (mulberry32). */
function seeded(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { emptyDatabase } from '../helpers/engines.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import { forThisTest, type ServiceProcess, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { openStream } from '../helpers/stream.ts';

/*
 * Processes that write different runs to one PostgreSQL commit side by side. Whoever follows the log, by whatever way and in
 * whatever process, gets all of it once and in order, also while writers are killed, cut off or stopped in the middle.
 */

const CLIENTS_PER_PROCESS = 3;
const SIGNALS = 20;
const NOTING = `
  import { appendFileSync } from 'node:fs';
  export const topic = 'forum.events.**';
  export function handle({ message_key, payload }) {
    appendFileSync(process.env.NOTES, JSON.stringify({ lane: message_key, sequence: payload.sequence }) + '\\n');
  }`;
const within = { timeout: 60_000, interval: 100 };

interface Note {
  lane: string;
  sequence: number;
}

async function startFleet(processes: number) {
  const { path } = await forThisTest(scratchFolder());
  const NOTES = join(path, 'notes');
  const { url } = await forThisTest(emptyDatabase('postgres'));
  const HANDLERS_DIR = await handlersFolder({ 'noting.mjs': NOTING });
  const settings = { DATABASE_URL: url, NOTES, HANDLERS_DIR, LEASE_MS: '3000', RATE_LIMIT_PER_MINUTE: '0' };
  const start = () => startService(settings);
  const services = [await start()];
  while (services.length < processes) services.push(await start());
  const notes = async (): Promise<Note[]> => {
    const lines = (await readFile(NOTES, 'utf8').catch(() => '')).split('\n');
    return lines.filter(line => line !== '').map(line => JSON.parse(line));
  };
  return { url, services, start, notes };
}

type Fleet = Awaited<ReturnType<typeof startFleet>>;

/** Sends, through every break, asks and answers of an agent; each waits in another process. */
async function talk({ services }: Fleet, client: number, waited: string[]): Promise<void> {
  const name = { run_id: `run-${client}`, agent_name: 'builder' };
  const sent = async (at: number, method: string, path: string, body: object, key: string) => {
    for (;;) {
      const service = services[at % services.length] as ServiceProcess;
      const answer = await service.send(method, path, body, { 'idempotency-key': key }).catch(() => undefined);
      if (answer && answer.status < 500) return answer;
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  };
  for (let n = 0; n < SIGNALS; n += 2) {
    const key = `${client}-${n}`;
    const asked = await sent(client, 'POST', '/control-signals', signal('guidance_request', name), key);
    expect(asked.status, JSON.stringify(asked.body)).toBe(201);
    const { question_id } = asked.body.question;
    const wait = sent(client + 1, 'GET', `/questions/${question_id}?wait=20`, undefined as never, '');
    const given = { ...name, in_reply_to: question_id };
    const answered = await sent(
      client + 2,
      'POST',
      '/control-signals',
      signal('guidance_answer', given),
      `${key}-answer`,
    );
    expect(answered.status, JSON.stringify(answered.body)).toBeLessThan(300);
    waited.push((await wait).body.state);
  }
}

/** Goes on after the last event that it saw, as long as the test lasts. */
function followList(service: ServiceProcess): number[] {
  const seen: number[] = [];
  let isOver = false;
  const follow = async () => {
    while (!isOver) {
      const { body } = await service.send('GET', `/events?limit=200&after=${seen.at(-1) ?? 0}`);
      seen.push(...body.items.map((event: { sequence: number }) => event.sequence));
    }
  };
  const following = follow().catch(() => {});
  onTestFinished(() => {
    isOver = true;
    return following;
  });
  return seen;
}

async function followStream(service: ServiceProcess): Promise<number[]> {
  const stream = await openStream(await service.listening(), '?after=0');
  const seen: number[] = [];
  const follow = async () => {
    for (;;) seen.push((await stream.event()).sequence);
  };
  follow().catch(() => {});
  return seen;
}

/** Writes with all clients while all readers follow, and expects of each reader the whole log. */
async function expectAllFollowed(fleet: Fleet, disturb: () => Promise<void>): Promise<void> {
  const [first] = fleet.services as [ServiceProcess];
  const readers = [followList(first), await followStream(first)];
  const waited: string[] = [];
  const clients = Array.from({ length: fleet.services.length * CLIENTS_PER_PROCESS }, (_, n) => talk(fleet, n, waited));
  await Promise.all([...clients, disturb()]);
  const events = await sqlBeside(fleet.url, 'select sequence from events order by sequence');
  const all = events.map(event => Number(event.sequence));
  for (const seen of readers) await expect.poll(() => seen.at(-1), within).toBe(all.at(-1));
  for (const seen of readers) expect(seen).toEqual(all);
  expect(new Set(waited)).toEqual(new Set(['answered']));
  await expect
    .poll(async () => new Set((await fleet.notes()).map(({ sequence }) => sequence)).size, within)
    .toBe(all.length);
  const deliveries = await sqlBeside(fleet.url, 'select event_sequence from deliveries order by event_sequence');
  expect(deliveries.map(row => Number(row.event_sequence))).toEqual(all);
  for (const lane of Map.groupBy(await fleet.notes(), note => note.lane).values()) {
    // A delivery that was under way in a process that was killed comes again, before the next one.
    const given = [...new Set(lane.map(({ sequence }) => sequence))];
    expect(given).toEqual(given.toSorted((a, b) => a - b));
  }
}

describe('processes that write different runs', () => {
  it.each([2, 4])('hide no event from whoever follows, when there are %i', { timeout: 120_000 }, async processes => {
    const fleet = await startFleet(processes);
    await expectAllFollowed(fleet, async () => {});
    const sequences = (await fleet.notes()).map(({ sequence }) => sequence);
    expect(new Set(sequences).size).toBe(sequences.length);
  });

  it('hide none while writers are killed, cut off and stopped in the middle', { timeout: 180_000 }, async () => {
    const fleet = await startFleet(3);
    const written = async () => Number((await sqlBeside(fleet.url, 'select count(*) from events'))[0]?.count);
    const until = async (count: number, patienceMs = 60_000) => {
      const last = performance.now() + patienceMs;
      while ((await written()) < count && performance.now() < last)
        await new Promise(resolve => setTimeout(resolve, 10));
    };
    await expectAllFollowed(fleet, async () => {
      for (const count of [60, 240]) {
        await until(count);
        // Whatever writes now loses its connection.
        await sqlBeside(
          fleet.url,
          `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objsubid = 2
             and database = (select oid from pg_database where datname = current_database())`,
        );
        const stopped = fleet.services[1] as ServiceProcess;
        stopped.kill('SIGSTOP');
        const before = await written();
        // All clients may wait for the stopped process before there are so many.
        await until(before + 12, 8000);
        stopped.kill('SIGCONT');
        const victim = fleet.services[2] as ServiceProcess;
        victim.kill('SIGKILL');
        await victim.exited;
        fleet.services[2] = await fleet.start();
      }
    });
  });
});

import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import BetterSqlite from 'better-sqlite3';
import { describe, expect, it, onTestFinished } from 'vitest';
import { emptyDatabase, engines, scratchDatabase } from '../helpers/engines.ts';
import { forThisTest, type ServiceProcess, send, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';

const CONNECTIONS = 64;
const PAIRS = 3;
const HELD_MS = 1000;

describe.each(engines)('first signals of a new pair, all at once, on %s', engine => {
  it('open one control thread and are all stored', async () => {
    const { url: DATABASE_URL } = await forThisTest(emptyDatabase(engine));
    // Processes that start together on an empty PostgreSQL also have to agree on who migrates it.
    const services = await Promise.all(
      Array.from({ length: engine === 'postgres' ? 2 : 1 }, () => startService({ DATABASE_URL })),
    );
    const [service] = services as [ServiceProcess];
    const origins = await Promise.all(services.map(each => each.listening()));
    const connections = Array.from({ length: CONNECTIONS }, (_, index) =>
      connection(origins[index % origins.length] as string),
    );
    for (let pair = 0; pair < PAIRS; pair++) {
      const run_id = `run-${pair}`;
      // Opens each connection, or finds it open: the signals must not be spread out by it.
      await Promise.all(connections.map(({ call }) => call('GET', '/livez')));
      const answers = await Promise.all(
        connections.map(({ call }, index) =>
          call('POST', '/control-signals', signal('completion', { run_id, summary: `${index}` })),
        ),
      );
      expect(answers.filter(({ status }) => status !== 201)).toEqual([]);
      // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came back
      const signals: any[] = answers.map(({ body }) => body.signal);
      expect(new Set(signals.map(each => each.sequence)).size).toBe(CONNECTIONS);
      expect(new Set(signals.map(each => each.summary)).size).toBe(CONNECTIONS);
      expect(new Set(signals.map(each => each.thread_id)).size).toBe(1);

      const { items } = (await service.send('GET', `/events?run_id=${run_id}&limit=200`)).body;
      const ofType = (type: string) => items.filter((event: { event_type: string }) => event.event_type === type);
      expect(ofType('forum.thread.opened')).toHaveLength(1);
      expect(
        ofType('forum.control.signal').map((event: { payload: { signal_id: string } }) => event.payload.signal_id),
      ).toEqual(signals.toSorted((a, b) => a.sequence - b.sequence).map(each => each.signal_id));
      expect((await service.send('GET', `/control-threads?run_id=${run_id}`)).body.items).toHaveLength(1);
    }
    expect(new Set(connections.map(({ ends }) => [...ends].join())).size).toBe(CONNECTIONS);
    expect(connections.filter(({ ends }) => ends.size !== 1)).toEqual([]);
  });
});

describe('another program that holds a write transaction on the SQLite file', () => {
  it('costs writes the wait and nothing else, and reads not even that', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase('sqlite'));
    const service = await startService({ DATABASE_URL });
    const origin = await service.listening();
    const first = await service.send('POST', '/control-signals', signal('completion'));
    const { signal_id, run_id, agent_name } = first.body.signal;

    const other = new BetterSqlite(DATABASE_URL.slice('sqlite:'.length));
    onTestFinished(() => {
      other.close();
    });
    other.exec('create table elsewhere (note text)');
    other.exec(`begin immediate; insert into elsewhere values ('written beside the service')`);
    let held = true;
    const writes = Array.from({ length: 20 }, async (_, index) => {
      const answer = await send(origin, 'POST', '/control-signals', signal('completion', { summary: `${index}` }));
      return { held, ...answer };
    });
    const reading = readWhile(() => held, origin, [
      '/livez',
      `/control-signals/${signal_id}`,
      `/control-threads/${run_id}/${agent_name}`,
      '/events?limit=10',
    ]);
    await delay(HELD_MS);
    held = false;
    other.exec('commit');

    const answers = await Promise.all(writes);
    expect(answers.filter(answer => answer.status !== 201 || answer.held)).toEqual([]);
    const reads = await reading;
    expect(reads.length).toBeGreaterThan(HELD_MS / 50);
    expect(reads.filter(({ status }) => status !== 200)).toEqual([]);
    // A service that waits inside the library answers nothing at all until the other program is done.
    expect(Math.max(...reads.map(({ took }) => took))).toBeLessThan(HELD_MS / 2);

    const { items } = (await service.send('GET', `/events?run_id=${run_id}&event_type=forum.control.signal`)).body;
    const stored = items.map((event: { payload: { signal_id: string } }) => event.payload.signal_id);
    expect(new Set(stored)).toEqual(new Set([signal_id, ...answers.map(answer => answer.body.signal.signal_id)]));
    expect(other.prepare('select note from elsewhere').all()).toEqual([{ note: 'written beside the service' }]);
    expect(service.logs.filter(line => line.level >= 50)).toEqual([]);
  });
});

/** Reads these paths again and again, one after the other. */
async function readWhile(going: () => boolean, origin: string, paths: string[]) {
  const reads: { path: string; status: number; took: number }[] = [];
  while (going()) {
    for (const path of paths) {
      const started = performance.now();
      const { status } = await send(origin, 'GET', path);
      reads.push({ path, status, took: performance.now() - started });
    }
  }
  return reads;
}

/** One kept connection, and its ends so far: more than one means that it was opened anew. */
function connection(origin: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const ends = new Set<string>();
  return {
    ends,
    async call(method: string, path: string, body?: unknown) {
      const headers = body === undefined ? {} : { 'content-type': 'application/json' };
      const sending = request(origin + path, { method, agent, headers });
      sending.end(body === undefined ? undefined : JSON.stringify(body));
      const [response] = await once(sending, 'response');
      // Two connections may share a local port, if they lead to different processes.
      ends.add(`${response.socket.localPort} ${origin}`);
      // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came back
      return { status: response.statusCode, body: (await json(response)) as any };
    },
  };
}

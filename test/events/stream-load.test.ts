import type { Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Event } from '../../src/events/schemas.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { allItems } from '../helpers/pages.ts';
import { signal, textOfSize } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { openStream, type StreamReader } from '../helpers/stream.ts';

const READERS = 100;
const SLOW_READERS = 3;
const SMALL = 5000;
const MANY = 2000;
/** What the kernel takes for a connection whose reader reads nothing, and then some. */
const ON_THE_WAY = 8_000_000;

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

describe.each(engines)('event streams on %s', engine => {
  let service: TestApp;
  let origin: string;
  let sockets: Socket[];
  beforeEach(async () => {
    service = await startApp(engine);
    sockets = [];
    service.app.server.on('connection', socket => sockets.push(socket));
    origin = `http://127.0.0.1:${await listen(service.app)}`;
    return () => service.close();
  });

  /** Posts signals with text of this size, each with a number. */
  async function post(count: number, size: number): Promise<void> {
    let made = 0;
    const client = async () => {
      while (made < count) {
        made++;
        const { status } = await service.send('POST', '/control-signals', signal('completion', textOfSize(size)));
        expect(status).toBe(201);
      }
    };
    await Promise.all(Array.from({ length: 8 }, client));
  }

  let written = 0;

  /** Writes events with text of this size in one statement beside the service: as many requests would take minutes. */
  async function write(count: number, size: number): Promise<void> {
    const text = '.'.repeat(size);
    await sqlBeside(
      service.url,
      `with recursive made(number) as (select ${written + 1} union all select number + 1 from made where number < ${written + count})
       insert into events (event_id, event_type, event_version, occurred_at, actor, correlation_id, payload)
       select 'evt_' || number, 'forum.post.added', 1, number, 'human:ana', 'none', '{"body":"${text}"}' from made`,
    );
    written += count;
  }

  const logged = (): Promise<Event[]> => allItems(path => service.send('GET', path), '/events?');
  const sequencesOf = (events: Event[]) => events.map(event => event.sequence);

  it('carry events of any size that the service takes', async () => {
    const live = await openStream(origin);
    const sizes = [16_384, 65_000, 65_536, 66_000, 200_000, 10, 260_000, 260_000];
    for (const size of sizes) await post(1, size);
    // Two bytes each, so that they are cut in the middle somewhere on their way.
    await service.send('POST', '/control-signals', signal('completion', textOfSize(120_000, 'ü')));
    const all = await logged();
    expect(JSON.stringify(all.at(-2)).length).toBeGreaterThan(260_000);
    for (const stream of [live, await openStream(origin)]) {
      for (const event of all) expect(await stream.event()).toEqual(event);
    }
  });

  it(`carry ${SMALL} small events to one who follows and to one who comes later`, { timeout: 90_000 }, async () => {
    await post(1, 1);
    const live = await openStream(origin);
    await live.sequences(2);
    await write(SMALL, 0);
    const all = sequencesOf(await logged());
    expect(all).toHaveLength(SMALL + 2);
    expect(await live.sequences(SMALL)).toEqual(all.slice(2));
    expect(await (await openStream(origin)).sequences(all.length)).toEqual(all);
  });

  it('cost bounded memory while nobody reads them, and then bring everything', { timeout: 120_000 }, async () => {
    const slow = await Promise.all(Array.from({ length: SLOW_READERS }, () => openStream(origin)));
    expect(sockets).toHaveLength(SLOW_READERS);
    // Statements, compiled code and the window that all readers share are there before anything is measured.
    await post(10, 10_000);
    await write(MANY / 5, 10_000);
    await post(1, 1);
    const before = heapUsed();
    await write(MANY, 10_000);
    // Wakes the feed.
    await post(1, 1);
    expect(heapUsed() - before).toBeLessThan(10_000_000);
    for (const socket of sockets) {
      expect(socket.writableLength).toBeLessThan(1_000_000);
      expect(socket.bytesWritten).toBeLessThan(ON_THE_WAY);
    }
    const all = sequencesOf(await logged());
    expect(all.length * 10_000).toBeGreaterThan(2 * ON_THE_WAY);
    expect(await Promise.all(slow.map(stream => stream.sequences(all.length)))).toEqual(slow.map(() => all));
    // Having caught up they hear at once of what is new.
    await post(1, 1);
    const next = (await logged()).at(-1);
    expect(await Promise.all(slow.map(stream => stream.event()))).toEqual(slow.map(() => next));
  });

  it(`bring everything to ${READERS} readers at once`, { timeout: 90_000 }, async () => {
    await post(100, 500);
    const readers = await Promise.all(Array.from({ length: READERS }, () => openStream(origin)));
    const everyone = (count: number) => Promise.all(readers.map((reader: StreamReader) => reader.sequences(count)));
    const [seen] = await Promise.all([everyone(301), post(200, 500)]);
    const all = sequencesOf(await logged());
    expect(all).toHaveLength(301);
    expect(seen.filter(each => each.join() !== all.join())).toEqual([]);
  });
});

function heapUsed(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

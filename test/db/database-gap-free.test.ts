import { setImmediate as nextTurn } from 'node:timers/promises';
import pg from 'pg';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readConfig } from '../../src/config.ts';
import type { Tx } from '../../src/db/database.ts';
import type { Event } from '../../src/events/schemas.ts';
import { createServices, type Services } from '../../src/services.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { gate } from '../helpers/handling.ts';
import { forThisTest } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

/*
 * Who goes on after the last sequence it saw must not miss an event that gets its sequence first and is committed last.
 * A sequence is given out when a row is written, not when it is committed, so PostgreSQL alone does not promise that.
 */

const WRITERS = 16;
const SIGNALS_PER_WRITER = 12;
const seen = (events: Event[]) => events.map(event => event.sequence);

async function started(...[engine, setup]: Parameters<typeof startApp>): Promise<TestApp> {
  const service = await startApp(engine, setup);
  onTestFinished(() => service.close());
  return service;
}

/** Goes on after the last event it saw, as GET /events?after= is meant to be used. */
function readerOf({ send }: TestApp) {
  const all: Event[] = [];
  return {
    all,
    /** Whatever there is now, to the end. */
    async readOn(): Promise<Event[]> {
      const from = all.length;
      for (;;) {
        const { body } = await send('GET', `/events?limit=50&after=${all.at(-1)?.sequence ?? 0}`);
        all.push(...body.items);
        if (body.items.length === 0) return all.slice(from);
      }
    },
  };
}

describe('two writers on PostgreSQL that commit in the other order', () => {
  it('hide an event from a reader, if they write without the lock of the service', async () => {
    const { url } = await forThisTest(scratchDatabase('postgres'));
    const service = await started('postgres', { database: { url, drop: async () => {} } });
    const reader = readerOf(service);
    const [first, second] = [await begun(url), await begun(url)];
    const [early, late] = [await append(first, 'early'), await append(second, 'late')];
    expect(late).toBe(early + 1);
    await second.query('commit');
    expect(seen(await reader.readOn())).toEqual([late]);
    await first.query('commit');
    // It is in the log now, and this reader will never be told.
    expect(seen((await service.send('GET', '/events')).body.items)).toEqual([early, late]);
    expect(await reader.readOn()).toEqual([]);
  });

  it('cannot come to it through the service: the second gets no sequence before the first has ended', async () => {
    const { url } = await forThisTest(scratchDatabase('postgres'));
    const reader = readerOf(await started('postgres', { database: { url, drop: async () => {} } }));
    const [first, second] = [await servicesOn(url), await servicesOn(url)];
    for (const ending of ['commit', 'roll back', 'commit'] as const) {
      const [held, given] = [gate(), gate()];
      // Or a test that fails half-way would hold the write for ever.
      onTestFinished(held.open);
      const order: string[] = [];
      const writing = first.db.write(async tx => {
        await appendEvent(first, tx);
        order.push('first has its sequence');
        given.open();
        await held.passed;
        order.push('first ends');
        if (ending === 'roll back') throw new Error('the first write fails');
      });
      writing.catch(() => {});
      await given.passed;
      const other = second.db.write(async tx => {
        await appendEvent(second, tx);
        order.push('second has its sequence');
      });
      await expect.poll(() => waitingForLocks(url)).toBe(1);
      expect(await reader.readOn()).toEqual([]);
      held.open();
      if (ending === 'roll back') await expect(writing).rejects.toThrow('the first write fails');
      else await writing;
      await other;
      expect(order).toEqual(['first has its sequence', 'first ends', 'second has its sequence']);
      expect(await reader.readOn()).toHaveLength(ending === 'commit' ? 2 : 1);
    }
    expect(seen(reader.all)).toEqual(seen(reader.all).toSorted((a, b) => a - b));
    expect(reader.all).toHaveLength(5);
  });
});

describe.each(engines)('a reader beside many writers on %s', engine => {
  it('sees each event once, in order, and none appears behind it', { timeout: 90_000 }, async () => {
    const database = await forThisTest(scratchDatabase(engine));
    // As many processes as may share it.
    const services = [await started(engine, { database })];
    if (engine === 'postgres') services.push(await started(engine, { database }));
    const readers = services.map(readerOf);
    let writing = true;
    const reading = readers.map(async reader => {
      while (writing) {
        await reader.readOn();
        // An injected request to SQLite needs no I/O, so it would leave the others no turn.
        await nextTurn();
      }
      await reader.readOn();
    });
    const writers = Array.from({ length: WRITERS }, async (_, writer) => {
      const { send } = services[writer % services.length] as TestApp;
      for (let count = 0; count < SIGNALS_PER_WRITER; count++) {
        const body = signal('guidance_request', { agent_name: `agent-${writer}`, question: `${count}?` });
        expect((await send('POST', '/control-signals', body)).status).toBe(201);
        const text = { body: `${count}`, actor: { type: 'human', name: 'ana' } };
        expect((await send('POST', '/threads', { title: 'A thread', ...text })).status).toBe(201);
      }
    });
    await Promise.all(writers).finally(() => {
      writing = false;
      return Promise.all(reading);
    });
    const all = await sqlBeside(database.url, 'select event_id from events order by sequence');
    expect(all.length).toBeGreaterThan(WRITERS * SIGNALS_PER_WRITER * 3);
    for (const reader of readers) expect(reader.all.map(event => event.event_id)).toEqual(all.map(row => row.event_id));
  });
});

async function begun(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  onTestFinished(() => client.end());
  await client.query('begin');
  return client;
}

/** Writes an event as the service does, but under no lock. */
async function append(client: pg.Client, id: string): Promise<number> {
  const { rows } = await client.query(
    `insert into events (event_id, event_type, event_version, occurred_at, actor, correlation_id, payload)
     values ($1, 'forum.post.added', 1, 0, 'human:ana', 'none', '{}') returning sequence`,
    [id],
  );
  return Number(rows[0].sequence);
}

async function servicesOn(DATABASE_URL: string): Promise<Services> {
  const services = await createServices(readConfig({ DATABASE_URL }), pino({ level: 'silent' }));
  onTestFinished(() => services.close());
  return services;
}

async function appendEvent({ forum: { events } }: Services, tx: Tx): Promise<void> {
  const nowhere = { thread_id: null, run_id: 'run-1', agent_name: null, ticket: null };
  await events.append(tx, [events.draft(nowhere, { type: 'human', name: 'ana' }, 'forum.run.briefed', {})]);
}

async function waitingForLocks(url: string): Promise<number> {
  const waiting = `select count(*)::int as count from pg_locks
    where locktype = 'advisory' and not granted
      and database = (select oid from pg_database where datname = current_database())`;
  return (await sqlBeside(url, waiting))[0]?.count as number;
}

import { once } from 'node:events';
import BetterSqlite from 'better-sqlite3';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { Scrape } from '../helpers/openmetrics.ts';
import { forThisTest } from '../helpers/process.ts';
import { LOOK_MS, scrapeOf } from '../helpers/scrape.ts';
import { signal } from '../helpers/signals.ts';
import { listen, openExchange } from '../helpers/socket.ts';
import { sqlBeside } from '../helpers/sql.ts';

const statusOf = (metrics: Scrape) =>
  ['ok', 'degraded', 'down'].filter(status => metrics.value('forumbus_health_status', { status }) === 1);

const clock = new ManualClock();
const start = async (engine: Engine): Promise<TestApp> => {
  const database = await forThisTest(scratchDatabase(engine));
  const service = await startApp(engine, { database, overrides: { clock } });
  onTestFinished(() => service.close());
  return service;
};

describe.each(engines)('on a bad day, a scrape on %s', engine => {
  it('is answered while the service shuts down', async () => {
    const service = await start(engine);
    const body = JSON.stringify(signal('completion'));
    // A request in flight keeps its connection; what comes on it after the shutdown has begun is answered, too.
    const head = `POST /control-signals HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-type: application/json\r\n`;
    const { socket, answer } = openExchange(await listen(service.app), `${head}content-length: ${body.length}\r\n\r\n`);
    await once(socket, 'data');
    const closing = service.app.close();
    await expect.poll(() => service.app.server.listening).toBe(false);
    socket.write(`${body}GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n`);
    const [, scraped = ''] = (await answer).body.split('content-type: application/openmetrics-text');
    await closing;
    const metrics = new Scrape(scraped.slice(scraped.indexOf('\r\n\r\n') + 4));
    expect(metrics.value('forumbus_draining')).toBe(1);
    expect(statusOf(metrics)).toEqual(['down']);
  });

  it('is answered when the database is gone', async () => {
    const service = await start(engine);
    await service.send('POST', '/outbox', { topic: 'a', payload: 1 });
    const before = await scrapeOf(service);
    expect(before.value('forumbus_outbox_messages', { topic: 'other', status: 'failed' })).toBe(1);
    expect(before.value('forumbus_subscription_servers', { subscription: 'forumbus' })).toBe(0);
    if (engine === 'sqlite') await sqlBeside(service.url, 'alter table deliveries rename to gone');
    else await dropBeneath(service.url);
    clock.advance(LOOK_MS);
    const after = await scrapeOf(service);
    expect(statusOf(after)).toEqual(['down']);
    // What is not known is not said.
    const outbox = ['messages', 'oldest_pending_age_seconds', 'blocked_lanes', 'topics_without_handler'];
    const subscription = ['deliveries', 'lag_seconds', 'servers'];
    for (const [room, names] of Object.entries({ outbox, subscription })) {
      for (const name of names) {
        expect(after.value(`forumbus_${room}_${name}`)).toBeUndefined();
        expect(after.families.has(`forumbus_${room}_${name}`)).toBe(true);
      }
    }
    expect(after.value('forumbus_rejections_total')).toBe(0);
  });
});

it('a scrape takes no writer, and believes the health check that there is none', async () => {
  const service = await start('sqlite');
  const holder = new BetterSqlite(service.url.slice('sqlite:'.length));
  onTestFinished(() => void holder.close());
  holder.exec('begin immediate');
  const metrics = await scrapeOf(service);
  expect(statusOf(metrics)).toEqual(['ok']);
  // The one with which the service registered its handlers.
  expect(metrics.value('forumbus_db_write_wait_seconds_count')).toBe(1);
  expect((await service.send('GET', '/bus/health')).status).toBe(503);
  expect(statusOf(await scrapeOf(service))).toEqual(['down']);
  // For a while.
  clock.advance(60_000);
  expect(statusOf(await scrapeOf(service))).toEqual(['ok']);
});

/** Drops a database whatever is connected to it. */
async function dropBeneath(url: string): Promise<void> {
  const server = new URL(url);
  const name = server.pathname.slice(1);
  server.pathname = '/postgres';
  await sqlBeside(server.href, `drop database ${name} with (force)`);
}

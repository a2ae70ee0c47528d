import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import type { Database } from '../../src/db/database.ts';
import { openDatabase } from '../../src/db/open.ts';
import { startApp } from '../helpers/app.ts';
import { scratchDatabase } from '../helpers/engines.ts';
import { gate, handler } from '../helpers/handling.ts';
import { forThisTest } from '../helpers/process.ts';
import { sqlBeside } from '../helpers/sql.ts';

const STANDING = `application_name = 'forumbus standing'`;
const cut = (url: string, which: string) =>
  sqlBeside(
    url,
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and application_name like 'forumbus%' and ${which}`,
  );

async function opened(url: string, name: string): Promise<Database> {
  const db = await openDatabase(url, pino({ level: 'silent' }));
  onTestFinished(() => db.close());
  await db.presence.register(name);
  // A connection of the pool that has been used since.
  await db.probe();
  return db;
}

it('calls nobody dead who may only not be back yet, after a break that has hit everybody', async () => {
  const { url } = await forThisTest(scratchDatabase('postgres'));
  const db = await opened(url, 'one');
  expect(await db.presence.deadAmong(['one', 'other'])).toEqual(['other']);

  // A new connection listens first of all to what was said meanwhile.
  const back = new Promise<void>(resolve => db.onRemoteCommit(resolve));
  await cut(url, STANDING);
  await back;
  await delay(0);
  expect(await db.presence.deadAmong(['one', 'other'])).toEqual([]);
});

it('calls nobody dead whose standing connection alone is gone, however long', async () => {
  const { url } = await forThisTest(scratchDatabase('postgres'));
  const observer = await opened(url, 'observer');
  const before = await sqlBeside(
    url,
    `select pid from pg_stat_activity where ${STANDING} and datname = current_database()`,
  );
  await opened(url, 'other');
  const own = before.map(({ pid }) => pid).join();
  // It comes back, and is gone again.
  let over = false;
  const cutting = (async () => {
    while (!over) await cut(url, `${STANDING} and pid not in (${own})`);
  })();
  for (let look = 0; look < 3; look += 1) {
    expect(await observer.presence.deadAmong(['other', 'nobody'])).toEqual(['nobody']);
  }
  over = true;
  await cutting;
});

it('gives those who lost all connections the time to come back, also to a process that has only just started', async () => {
  const { url } = await forThisTest(scratchDatabase('postgres'));
  await opened(url, 'old');
  for (const name of ['new', 'newer', 'newest']) {
    await cut(url, 'true');
    const db = await openDatabase(url, pino({ level: 'silent' }));
    onTestFinished(() => db.close());
    await db.presence.register(name);
    expect(await db.presence.deadAmong(['old', 'nobody'])).toEqual(['nobody']);
  }
});

it('burns no attempt of a process that has lost its connections again and again', async () => {
  const { url } = await forThisTest(scratchDatabase('postgres'));
  const { open, passed } = gate();
  let attempts = 0;
  const slow = handler('forum.integration.slow', () => {
    attempts += 1;
    return passed;
  });
  const start = async () => {
    const config = { ROLE: 'all', POLL_INTERVAL_MS: '50', SHUTDOWN_GRACE_MS: '0' };
    const database = { url, drop: async () => {} };
    const app = await startApp('postgres', { database, config, overrides: { handlers: [slow] } });
    onTestFinished(app.close);
    return app;
  };
  onTestFinished(open);
  const app = await start();
  for (let key = 0; key < 5; key += 1) {
    const message = { topic: 'forum.integration.slow', payload: {}, message_key: `k${key}`, message_id: `m${key}` };
    expect((await app.send('POST', '/outbox', message)).status).toBe(201);
  }
  await expect.poll(() => attempts).toBe(5);
  await start();
  for (let time = 0; time < 10; time += 1) {
    await cut(url, STANDING);
    await delay(150);
  }
  await start();
  await delay(500);
  const { body } = await app.send('GET', '/outbox?topic=forum.integration.slow');
  expect(body.items.map((message: { attempts: number }) => message.attempts)).toEqual([1, 1, 1, 1, 1]);
  expect(attempts).toBe(5);
});

import { join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import { expect, it, onTestFinished } from 'vitest';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { allDispatched, sendAll } from './closed-loop.ts';
import { Connection } from './connection.ts';
import { ensureHistory } from './history.ts';
import { newLoad } from './load.ts';
import { Processes } from './processes.ts';

it('a service goes on with a history of copies: its counts are right, and nothing of it waits', async () => {
  const { path } = await forThisTest(scratchFolder());
  const file = join(path, 'history.db');
  await ensureHistory(file, 0.003);
  const db = new BetterSqlite(file, { readonly: true });
  const rows = (what: string) => db.prepare(`select count(*) from ${what}`).pluck().get() as number;
  const threads = rows('threads');
  expect([threads, rows('deliveries') - rows('events')]).toEqual([400, 0]);
  expect(rows("deliveries where status <> 'sent'")).toBe(0);
  db.close();

  const processes = new Processes(path, 'warn');
  onTestFinished(() => processes.close());
  const service = await processes.service({ name: 'history', databaseUrl: `sqlite:${file}` });
  const [next] = newLoad(1, 'mixed') as [() => string];
  await sendAll(service.port, 1, [next()]);
  const connection = await Connection.open(service.port);
  await allDispatched(connection);
  const stats = await connection.get<{ threads: { total: number } }>('/stats');
  expect(stats.threads.total).toBe(threads + 1);
  connection.close();
});

import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { diagnose } from '../../src/doctor/diagnose.ts';
import { emptyDatabase, engines } from '../helpers/engines.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { allDispatched, sendAll } from './closed-loop.ts';
import { Connection } from './connection.ts';
import { ensureHistory, seedHistory } from './history.ts';
import { newLoad } from './load.ts';
import { Processes } from './processes.ts';

/** A history of a hundred agents and three copies of it. */
const SHARE = 0.003;
const THREADS = 400;

describe.each(engines)('a history of copies, on %s', engine => {
  it('is one that a service goes on with: lists and counts are right, and nothing of it waits', async () => {
    const { url } = await forThisTest(emptyDatabase(engine));
    if (engine === 'sqlite') await ensureHistory(url.slice('sqlite:'.length), SHARE);
    else await seedHistory(url, SHARE);
    const rows = async (what: string) =>
      Number((await sqlBeside(url, `select count(*) as count from ${what}`))[0]?.count);
    expect([await rows('threads'), (await rows('deliveries')) - (await rows('events'))]).toEqual([THREADS, 0]);
    expect(await rows("deliveries where status <> 'sent'")).toBe(0);
    expect(await rows('subscriptions where position < (select max(sequence) from events)')).toBe(0);

    const { path } = await forThisTest(scratchFolder());
    const processes = new Processes(path, 'warn');
    onTestFinished(() => processes.close());
    const service = await processes.service({ name: 'history', databaseUrl: url });
    const [next] = newLoad(1, 'mixed') as [() => string];
    await sendAll(service.port, 1, [next()]);
    const connection = await Connection.open(service.port);
    await allDispatched(connection);
    const stats = await connection.get<{ threads: { total: number } }>('/stats');
    expect(stats.threads.total).toBe(THREADS + 1);
    expect(await walk(connection, '/threads?')).toBe(THREADS + 1);
    // A word of each validation, which is a reply.
    expect(await walk(connection, '/threads?q=green&')).toBe(THREADS);
    connection.close();
    const findings = await diagnose({ DATABASE_URL: url }, pino({ level: 'silent' }));
    expect(findings.filter(({ level }) => level !== 'ok')).toEqual([]);
  });
});

/** How many different items a list has. */
async function walk(connection: Connection, list: string): Promise<number> {
  const ids = new Set<string>();
  for (let cursor = ''; ; ) {
    const page = await connection.get<{ items: { thread_id: string }[]; next_cursor: string | null }>(
      `${list}limit=100${cursor}`,
    );
    for (const { thread_id } of page.items) ids.add(thread_id);
    if (page.next_cursor === null) return ids.size;
    cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`;
  }
}

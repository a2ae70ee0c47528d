import { describe, expect, it } from 'vitest';
import { scratchDatabase } from '../helpers/engines.ts';
import { forThisTest, send, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

const CUTS = 150;
const WAITERS = 40;

/** Two connections of the pool, not all at once: the one that breaks and the one that does not meet in one wait. */
const CUT = `select pg_terminate_backend(pid) from (
  select pid from pg_stat_activity
  where datname = current_database() and application_name = 'forumbus' order by random() limit 2
) as two`;

describe('database connections that break while many wait', () => {
  it('cost some of them a 503, and never the process', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase('postgres'));
    const service = await startService({ DATABASE_URL, ROLE: 'http', POLL_INTERVAL_MS: '20' });
    const origin = await service.listening();
    await service.send('POST', '/control-signals', signal('completion'));
    let going = true;
    void service.exited.then(() => {
      going = false;
    });
    const statuses = new Set<number>();
    const repeat = async (method: string, path: string, body?: object) => {
      while (going) {
        const answer = await send(origin, method, path, body).catch(() => undefined);
        if (answer) statuses.add(answer.status);
      }
    };
    const clients = [
      ...Array.from({ length: WAITERS }, () => repeat('GET', '/runs/run-1?wait=1')),
      repeat('POST', '/control-signals', signal('completion')),
    ];
    for (let cut = 0; cut < CUTS && going; cut += 1) await sqlBeside(DATABASE_URL, CUT);
    going = false;
    await Promise.all(clients);
    // Only what nobody caught ends the process, and it says so.
    expect(service.logs.filter(({ level }) => level >= 60)).toEqual([]);
    expect([...statuses].filter(status => ![200, 201, 503].includes(status))).toEqual([]);

    const told = send(origin, 'GET', '/runs/run-1?wait=30');
    await service.send('POST', '/control-signals', signal('validation'));
    expect((await told).body.gate.ready).toBe(true);
  });
});

import { existsSync, readFileSync, statSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { dump } from '../helpers/database.ts';
import { emptyDatabase, engines, type Scratch } from '../helpers/engines.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import { loadPreviousRelease, previousRelease } from '../helpers/previous-release.ts';
import { runCommand, type ServiceProcess, spawnService } from '../helpers/process.ts';
import { sqlBeside } from '../helpers/sql.ts';

/** How often the published messages are there; about 30,000 rows, which the migration moves in several batches. */
const COPIES = 190;
/** What the migration's transaction has written to the log of a SQLite file when the process is killed. Bytes. */
const WRITTEN = [100_000, 4_000_000];
/** What one start may use more for 30,000 rows than for 290; they would take as much again as an array of rows. */
const MEMORY_BOUND = 60 * 1024 * 1024;
/** Far above the second that it takes, and far below what a scan of the table for each row would take. */
const TIME_BOUND_MS = 30_000;

describe.each(engines)('a large upgrade on %s', engine => {
  it('begins again after a process that is killed in the middle of the migration', async () => {
    const [killed, whole] = [await largeDatabase(engine), await largeDatabase(engine)];
    const moved = `select count(*) as count from outbox where not (event_sequence is not null and status = 'sent')`;
    const [before] = await sqlBeside(whole.url, moved);
    for (const written of WRITTEN) {
      const process = spawnService({ DATABASE_URL: killed.url }, { file: 'commands/migrate.ts' });
      // On a busy machine, too, this one looks more than once while that one moves the messages.
      setPriority(process.pid, constants.priority.PRIORITY_LOW);
      await migrating(engine, killed.url, written, process);
      process.kill('SIGKILL');
      expect((await process.exited).signal).toBe('SIGKILL');
      await sessionsEnded(engine, killed.url);
      const names = await sqlBeside(killed.url, 'select name from kysely_migration order by name');
      expect(names.at(-1)?.name).toBe('010-trust');
      const [left] = await sqlBeside(killed.url, 'select count(*) as count from outbox');
      expect(Number(left?.count)).toBeGreaterThan(29_000);
    }
    for (const { url } of [killed, whole]) {
      const { code, output } = await runCommand('migrate', [], { DATABASE_URL: url });
      expect(code, output).toBe(0);
    }
    const [after] = await sqlBeside(whole.url, 'select count(*) as count from deliveries');
    expect(after).toEqual(before);
    expect(await rowsOf(killed.url)).toEqual(await rowsOf(whole.url));
  });

  it.runIf(existsSync('/proc/self/status'))('takes memory and time in proportion to a batch', async () => {
    const small = await emptyDatabase(engine);
    onTestFinished(small.drop);
    await loadPreviousRelease(small.url);
    const large = await largeDatabase(engine);
    const folder = await handlersFolder({
      'chat.ts': `export const topic = 'forum.integration.chat';\nexport const handle = () => new Promise(() => {});\n`,
    });
    const peaks: number[] = [];
    for (const { url } of [small, large]) {
      // Nothing is dispatched: it is the upgrade that is measured, and the routing of what waits.
      const started = performance.now();
      const service = spawnService({ DATABASE_URL: url, HANDLERS_DIR: folder, ROLE: 'http' });
      await service.listening();
      expect(performance.now() - started).toBeLessThan(TIME_BOUND_MS);
      peaks.push(peakMemory(service.pid));
      service.kill('SIGTERM');
      expect((await service.exited).code).toBe(0);
    }
    const [few = 0, many = 0] = peaks;
    expect(many - few).toBeLessThan(MEMORY_BOUND);
  });
});

/** A database of the previous release that has its published messages many times, each time under other ids and keys. */
async function largeDatabase(engine: Engine): Promise<Scratch> {
  const database = await emptyDatabase(engine);
  onTestFinished(database.drop);
  await loadPreviousRelease(database.url);
  const named = (column: string) => `${column} || '#' || number`;
  const changed: Record<string, string> = {
    message_id: named('message_id'),
    origin_id: named('origin_id'),
    message_key: named('message_key'),
    lane: named('lane'),
    lease_token: named('lease_token'),
  };
  const columns = Object.keys(previousRelease.outbox[0] as object).filter(name => name !== 'position');
  await sqlBeside(
    database.url,
    `insert into outbox (${columns.join(', ')})
      with recursive numbers(number) as (select 1 union all select number + 1 from numbers where number < ${COPIES})
      select ${columns.map(name => changed[name] ?? name).join(', ')} from numbers, outbox
      where payload is not null order by number, position`,
  );
  return database;
}

/** Resolves while the process moves the messages; rejects if it ends before that is seen. */
async function migrating(engine: Engine, url: string, written: number, process: ServiceProcess): Promise<void> {
  const log = `${url.slice('sqlite:'.length)}-wal`;
  const isMoving = async () => {
    if (engine === 'sqlite') return existsSync(log) && statSync(log).size > written;
    const rows = await sqlBeside(
      url,
      `select 1 from pg_stat_activity where datname = current_database() and query like 'insert into deliveries%'
        and state = 'active' and clock_timestamp() - xact_start > interval '${written / 100_000} ms'`,
    );
    return rows.length > 0;
  };
  let ended = false;
  void process.exited.then(() => {
    ended = true;
  });
  while (!(await isMoving())) {
    if (ended) throw new Error(`The migration was over before it was killed: ${process.output}`);
    await delay(1);
  }
}

/** The server notices that a client has gone when it answers it. */
async function sessionsEnded(engine: Engine, url: string): Promise<void> {
  if (engine === 'sqlite') return;
  const others = `select count(*) as count from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`;
  await expect.poll(async () => Number((await sqlBeside(url, others))[0]?.count), { timeout: 30_000 }).toBe(0);
}

/** All rows, without the times of the migration itself. */
async function rowsOf(url: string): Promise<Record<string, string[]>> {
  const tables = await dump(url);
  const timeless = (rows: string[] = []) => rows.map(row => row.replace(/"(created_at|last_seen_at)":"?\d+"?/g, ''));
  // Each database has keys and secrets of its own.
  const own = { kysely_migration: [], push_keys: [], link_secrets: [] };
  return { ...tables, subscriptions: timeless(tables.subscriptions), ...own };
}

/** The most memory that a process has had. Bytes. */
function peakMemory(pid: number): number {
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

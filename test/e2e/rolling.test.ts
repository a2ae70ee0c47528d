import pg from 'pg';
import { expect, it, onTestFinished, vi } from 'vitest';
import { scratchDatabase } from '../helpers/engines.ts';
import { forThisTest, type ServiceProcess, send, spawnService, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';

/* Processes of two versions on one PostgreSQL, as during a deployment. */

const file = '../test/helpers/newer-process.ts';
const FATAL = 60;
const within = { timeout: 20_000, interval: 20 };
/** The lock for which the newer process waits in its migration. */
const NEWER_WAITS = 999;

/** A database, and how processes of both versions start on it. */
async function deployment(NEWER_MIGRATION: string) {
  const { url } = await forThisTest(scratchDatabase('postgres'));
  const env = { DATABASE_URL: url, POLL_INTERVAL_MS: '100' };
  return {
    url,
    old: () => startService(env),
    newer: () => startService({ ...env, NEWER_MIGRATION }, { file }),
    /** Starts one that must not, and answers why it has ended. */
    refused: async (setup: 'old' | 'newer') => {
      const process = spawnService({ ...env, NEWER_MIGRATION }, setup === 'newer' ? { file } : {});
      expect((await process.exited).code, process.output).toBe(1);
      return process.logs.find(({ level }) => level === FATAL)?.msg;
    },
  };
}

async function stop(process: ServiceProcess): Promise<void> {
  process.kill('SIGTERM');
  expect((await process.exited).code, process.output).toBe(0);
}

/** Asks at one process, answers at the other, and reads the answer at the first. */
async function askBetween(asking: ServiceProcess, answering: ServiceProcess, run_id: string): Promise<void> {
  const asked = asking.send('POST', '/control-signals?wait=50', signal('guidance_request', { run_id }));
  const open = async () => (await answering.send('GET', `/questions?run_id=${run_id}&wait=20`)).body.items;
  const [{ question_id }] = await open();
  expect((await answering.send('PUT', `/questions/${question_id}/answer`, { answer: 'Europe.' })).status).toBe(200);
  expect(await asked).toMatchObject({ status: 201, body: { question: { state: 'answered', answer: 'Europe.' } } });
}

/** A connection beside those of the processes. */
async function connection(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

/** The connections of the processes that run now. */
async function connectionsOf(client: pg.Client): Promise<number[]> {
  const { rows } = await client.query(
    `select pid from pg_stat_activity where datname = current_database() and application_name like 'forumbus%'`,
  );
  return rows.map(({ pid }) => pid);
}

const cut = (client: pg.Client, pids: number[]) =>
  client.query('select pg_terminate_backend(pid, 5000) from unnest($1::int[]) as pid', [pids]);

/** Whether somebody waits for an advisory lock in this mode. */
async function waitsFor(client: pg.Client, mode: string): Promise<void> {
  const { rowCount } = await client.query(
    `select from pg_locks where locktype = 'advisory' and not granted and mode = $1
       and database = (select oid from pg_database where datname = current_database())`,
    [mode],
  );
  expect(rowCount).toBeGreaterThan(0);
}

it('an additive migration lets processes of the version before go on, and start again, until all are new', async () => {
  const { old, newer } = await deployment('999-more-additive');
  const first = await old();
  const second = await newer();
  expect(await second.line('database migrated')).toMatchObject({ migrations: ['999-more-additive'] });
  await askBetween(first, second, 'at-old');
  await askBetween(second, first, 'at-new');
  expect((await first.send('GET', '/readyz')).body).toEqual({ status: 'ok' });

  // One that dies during the deployment comes back as it was.
  first.kill('SIGKILL');
  await first.exited;
  const again = await old();
  await askBetween(again, second, 'again');
  await stop(again);
  const { items } = (await second.send('GET', '/events?event_type=forum.question.answered')).body;
  expect(items.map(({ run_id }: { run_id: string }) => run_id)).toEqual(['at-old', 'at-new', 'again']);
}, 300_000);

it('an additive migration that takes long keeps no older process from its database', async () => {
  const { url, old, newer } = await deployment('999-more-additive');
  const first = await old();
  const beside = await connection(url);
  const before = await connectionsOf(beside);
  await beside.query(`select pg_advisory_lock(${NEWER_WAITS})`);
  const newest = newer();
  await vi.waitFor(() => waitsFor(beside, 'ExclusiveLock'), within);
  await cut(beside, before);
  // It is back when the connection that proves its life has done all that it does first.
  const standing = `select from pg_stat_activity where application_name = 'forumbus standing' and pid <> all ($1::int[])
    and datname = current_database() and state = 'idle' and query in ('select name from kysely_migration', 'select 1')`;
  await expect.poll(async () => (await beside.query(standing, [before])).rowCount, within).toBe(1);
  await askBetween(first, first, 'meanwhile');
  await waitsFor(beside, 'ExclusiveLock');
  await beside.query(`select pg_advisory_unlock(${NEWER_WAITS})`);
  await newest;
}, 300_000);

it('any other migration waits until no process of the version before is left, and then lets none start', async () => {
  const { old, newer, refused } = await deployment('999-other');
  const first = await old();
  expect(await refused('newer')).toBe(
    'Other processes use the database (1), and are too old for its new schema (999-other). Stop all of them first.',
  );
  // Nothing has been changed.
  expect((await first.send('GET', '/readyz')).body).toEqual({ status: 'ok' });
  await stop(first);

  const second = await newer();
  expect(await second.line('database migrated')).toMatchObject({ migrations: ['999-other'] });
  expect(await refused('old')).toBe("The database's schema is newer than this version of Forumbus (it has 999-other).");
}, 300_000);

it('a process that a newer version has overtaken while it was cut off writes nothing more, and ends', async () => {
  const { url, old, newer } = await deployment('999-other');
  const first = await old();
  const origin = await first.listening();
  // It is stopped, and its connections break: so it cannot be known to live.
  first.kill('SIGSTOP');
  const beside = await connection(url);
  await cut(beside, await connectionsOf(beside));
  await beside.query(`select pg_advisory_lock(${NEWER_WAITS})`);
  const newest = newer();
  await vi.waitFor(() => waitsFor(beside, 'ExclusiveLock'), within);
  // In the middle of the migration, of which nothing is to be seen yet, it is back.
  const late = send(origin, 'POST', '/control-signals', signal('guidance_request', { run_id: 'late' })).then(
    ({ status }) => status,
    () => 'no answer',
  );
  first.kill('SIGCONT');
  await vi.waitFor(() => waitsFor(beside, 'ShareLock'), within);
  await beside.query(`select pg_advisory_unlock(${NEWER_WAITS})`);
  const second = await newest;
  expect(await second.line('database migrated')).toMatchObject({ migrations: ['999-other'] });
  expect([503, 'no answer']).toContain(await late);
  expect((await first.exited).code, first.output).toBe(1);
  expect(first.logs.filter(({ level }) => level === FATAL).map(({ msg }) => msg)).toEqual([
    'A newer version of Forumbus has migrated the database (999-other), and this one cannot work with it.',
  ]);
  expect((await second.send('GET', '/events')).body.items).toEqual([]);
  await askBetween(second, second, 'at-new');
}, 300_000);

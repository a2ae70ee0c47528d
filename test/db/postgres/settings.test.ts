import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { pino } from 'pino';
import { describe, expect, inject, it, onTestFinished } from 'vitest';
import { migrations } from '../../../migrations/index.ts';
import { openDatabase } from '../../../src/db/open.ts';
import { startApp } from '../../helpers/app.ts';
import { emptyDatabase, engines, scratchDatabase } from '../../helpers/engines.ts';
import { Counter, handler } from '../../helpers/handling.ts';
import { noPgBouncer, startPgBouncer } from '../../helpers/pgbouncer.ts';
import { forThisTest, spawnService, startService } from '../../helpers/process.ts';
import { emptyPostgres } from '../../helpers/scratch.ts';
import { signal } from '../../helpers/signals.ts';
import { sqlBeside } from '../../helpers/sql.ts';
import { migrateTo } from '../../helpers/versions.ts';

const FATAL = 60;
const KEYS = 20;
const ROUNDS = 6;
const SIGNALS = 12;
const silent = pino({ level: 'silent' });

/** What somebody may have set for all of a database's sessions, each of which breaks something. */
const HOSTILE: Record<string, string> = {
  default_transaction_isolation: 'serializable',
  default_transaction_deferrable: 'on',
  lock_timeout: '1ms',
  statement_timeout: '1s',
  idle_in_transaction_session_timeout: '1ms',
  idle_session_timeout: '1s',
  transaction_timeout: '1s',
  search_path: 'pg_catalog, nowhere',
  client_encoding: 'LATIN1',
  standard_conforming_strings: 'off',
  array_nulls: 'off',
  transform_null_equals: 'on',
  DateStyle: 'German, DMY',
  TimeZone: 'Asia/Kathmandu',
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'on',
  enable_indexscan: 'off',
  enable_bitmapscan: 'off',
  exit_on_error: 'on',
  synchronous_commit: 'off',
  bytea_output: 'escape',
  gin_fuzzy_search_limit: '1',
};

/** A database whose sessions begin with these settings. */
async function databaseWith(settings: Record<string, string>, made = emptyDatabase('postgres')): Promise<string> {
  const { url } = await forThisTest(made);
  const name = new URL(url).pathname.slice(1);
  for (const [setting, value] of Object.entries(settings)) {
    await sqlBeside(inject('templates').server, `alter database ${name} set ${setting} = '${value}'`);
  }
  return url;
}

describe('a database whose sessions begin otherwise', () => {
  it.each(['repeatable read', 'serializable'])(
    'lets each lane keep its head while two processes publish, under %s',
    async isolation => {
      const url = await databaseWith({ default_transaction_isolation: isolation }, scratchDatabase('postgres'));
      const counter = new Counter<string>();
      const start = async () => {
        const overrides = { handlers: [handler('forum.integration.x', ({ message_id }) => counter.add(message_id))] };
        const config = { ROLE: 'all', POLL_INTERVAL_MS: '50' };
        const app = await startApp('postgres', { database: { url, drop: async () => {} }, config, overrides });
        onTestFinished(app.close);
        return app;
      };
      const apps = [await start(), await start()];
      for (let round = 0; round < ROUNDS; round += 1) {
        const publish = (key: number) =>
          apps.map(app =>
            app.send('POST', '/outbox', { topic: 'forum.integration.x', payload: {}, message_key: `k${key}` }),
          );
        const answers = await Promise.all(Array.from({ length: KEYS }, (_, key) => publish(key)).flat());
        expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
      }
      await counter.reach(KEYS * ROUNDS * apps.length);
    },
  );

  it('is migrated, written, read and reached as any other', async () => {
    const app = await startService({ DATABASE_URL: await databaseWith(HOSTILE) });
    const asked = await app.send('POST', '/control-signals', signal('guidance_request'));
    expect(asked.status, JSON.stringify(asked.body)).toBe(201);
    // Longer than what sessions and transactions may last.
    await new Promise(resolve => setTimeout(resolve, 1500));
    const { question_id } = asked.body.question;
    expect((await app.send('PUT', `/questions/${question_id}/answer`, { answer: 'Yes, € is fine.' })).status).toBe(200);
    expect((await app.send('GET', `/questions/${question_id}`)).body.answer).toBe('Yes, € is fine.');
    expect((await app.send('GET', '/bus/health')).body.status).toBe('ok');
    expect(app.logs.filter(line => line.level >= 40).map(line => line.msg)).toEqual([
      expect.stringMatching(/^The service has no tokens/),
    ]);
  });

  it('refuses to start on a database that is read-only, in one sentence', async () => {
    const url = await databaseWith({ default_transaction_read_only: 'on' });
    const app = spawnService({ DATABASE_URL: url });
    expect(await app.exited).toEqual({ code: 1, signal: null });
    expect(app.logs.at(-1)?.msg).toMatch(/^The database is read-only/);
  });

  it('keeps its tables where they are when its search path changes', async () => {
    const url = await databaseWith({});
    await sqlBeside(url, 'create schema mine');
    const name = new URL(url).pathname.slice(1);
    await sqlBeside(url, `alter database ${name} set search_path = mine`);
    const tables = () => sqlBeside(url, `select schemaname from pg_tables where tablename = 'events'`);
    for (const path of ['mine', 'public', 'nowhere', "''", 'pg_catalog', 'pg_catalog, public']) {
      await sqlBeside(url, `alter database ${name} set search_path = ${path}`);
      const db = await openDatabase(url, silent);
      await db.migrate();
      await db.probe();
      await db.close();
      expect(await tables()).toEqual([{ schemaname: 'mine' }]);
    }
  });
});

describe.each(engines)('lanes that have lost their heads on %s', engine => {
  it('go on after the upgrade', async () => {
    const { url } = await forThisTest(emptyDatabase(engine));
    const names = Object.keys(migrations);
    await migrateTo(names.indexOf('008-surroundings'), engine, url);
    const rows = [
      ['headless', 'pending', null, null],
      ['headless', 'pending', null, null],
      ['led', 'pending', 5, null],
      ['led', 'pending', null, null],
      ['parked', 'failed', null, 'handler:x'],
      ['parked', 'pending', null, null],
      ['blocked', 'dead', null, null],
      ['blocked', 'pending', null, null],
      ['replayed', 'pending', null, null],
      ['replayed', 'processing', 9, null],
    ].map(([lane, status, claimable, parked], index) => {
      const lease = status === 'processing' ? `'t', 'w'` : 'null, null';
      const text = (value: unknown) => (value === null ? 'null' : `'${value}'`);
      return `('m${index}', 'a', ${text(lane)}, '{}', ${text(status)}, 0, 1, 1, 3, ${claimable}, ${text(lane)}, ${text(parked)}, ${lease}, '[]', 0, 0)`;
    });
    await sqlBeside(
      url,
      `insert into outbox (message_id, topic, message_key, payload, status, attempts, max_attempts, generation, available_at,
         claimable_at, lane, parked, lease_token, leased_by, history, created_at, updated_at) values ${rows.join(',')}`,
    );
    await migrateTo(names.indexOf('008-surroundings') + 1, engine, url);
    const heads = await sqlBeside(
      url,
      'select message_id, claimable_at from outbox where claimable_at is not null order by position',
    );
    expect(heads.map(({ message_id, claimable_at }) => [message_id, Number(claimable_at)])).toEqual([
      ['m0', 3],
      ['m2', 5],
      ['m9', 9],
    ]);
  });
});

describe('a database that is not UTF-8', () => {
  it.each(['LATIN1', 'SQL_ASCII', 'WIN1252'])('is refused: %s', async encoding => {
    const from = `encoding '${encoding}' locale 'C' template template0`;
    const { url } = await forThisTest(emptyPostgres(inject('templates').server, from));
    for (const file of ['main.ts', 'commands/migrate.ts']) {
      const service = spawnService({ DATABASE_URL: url }, { file });
      expect(await service.exited, service.output).toEqual({ code: 1, signal: null });
      const said = service.logs.filter(line => line.level === FATAL).map(line => line.msg);
      expect(said).toEqual([expect.stringContaining(`The encoding of the database is ${encoding}`)]);
    }
  });
});

if (noPgBouncer) process.stdout.write(`Poolers: not tried, since ${noPgBouncer}.\n`);

describe.skipIf(noPgBouncer)('PgBouncer as it comes', () => {
  it('in session mode is as good as none', async () => {
    const { url } = await forThisTest(emptyDatabase('postgres'));
    const pooler = await forThisTest(startPgBouncer(url, 'session'));
    const services = [
      await startService({ DATABASE_URL: pooler.url }),
      await startService({ DATABASE_URL: pooler.url }),
    ];
    for (const service of services) {
      const { status, body } = await service.send('POST', '/control-signals', signal('completion'));
      expect(status, JSON.stringify(body)).toBe(201);
    }
    // One is stopped in a write; the other waits for it no longer than it should.
    const [stopped, other] = services as [(typeof services)[0], (typeof services)[0]];
    const holder = new pg.Client({ connectionString: url });
    await holder.connect();
    await holder.query('begin');
    await holder.query('select pg_advisory_xact_lock(7381244162955441523)');
    const write = stopped.send('POST', '/control-signals', signal('completion', { run_id: 'other' })).catch(() => {});
    const waits = `select count(*)::int as count from pg_locks where locktype = 'advisory' and not granted`;
    while ((await sqlBeside(url, waits))[0]?.count !== 1) await new Promise(resolve => setTimeout(resolve, 10));
    stopped.kill('SIGSTOP');
    await holder.end();
    const begun = performance.now();
    expect((await other.send('POST', '/control-signals', signal('completion', { run_id: randomUUID() }))).status).toBe(
      201,
    );
    expect(performance.now() - begun).toBeLessThan(12_000);
    stopped.kill('SIGCONT');
    await write;
  });

  it.each(['transaction', 'statement'] as const)('in %s mode is named in one sentence', async mode => {
    const { url } = await forThisTest(emptyDatabase('postgres'));
    const pooler = await forThisTest(startPgBouncer(url, mode));
    const service = spawnService({ DATABASE_URL: pooler.url });
    expect(await service.exited, service.output).toEqual({ code: 1, signal: null });
    const said = service.logs.filter(line => line.level === FATAL).map(line => line.msg);
    expect(said).toEqual([expect.stringContaining('a pooler in transaction mode')]);
  });
});

it('PostgreSQL vacuums the deliveries by how many have ended, whatever is kept', async () => {
  const { url } = await forThisTest(scratchDatabase('postgres'));
  const service = await startApp('postgres', { database: { url, drop: async () => {} } });
  await service.close();
  const [row] = await sqlBeside(url, `select reloptions from pg_class where relname = 'deliveries'`);
  expect(row?.reloptions).toEqual([
    'autovacuum_vacuum_threshold=10000',
    'autovacuum_vacuum_scale_factor=0.01',
    'vacuum_index_cleanup=on',
  ]);
});

it('PostgreSQL keeps an agent that sends a signal on its page, and writes no index for it', async () => {
  const { url } = await forThisTest(scratchDatabase('postgres'));
  const service = await startApp('postgres', { database: { url, drop: async () => {} } });
  for (let count = 0; count < SIGNALS; count += 1) {
    expect((await service.send('POST', '/control-signals', signal('completion'))).status).toBe(201);
  }
  // A session counts for all to see at its end.
  await service.close();
  const updates = `select n_tup_upd as all, n_tup_hot_upd as on_page from pg_stat_user_tables where relname = 'control_threads'`;
  await expect
    .poll(() => sqlBeside(url, updates))
    .toEqual([{ all: String(SIGNALS - 1), on_page: String(SIGNALS - 1) }]);
  const [row] = await sqlBeside(url, `select reloptions from pg_class where relname = 'control_threads'`);
  expect(row?.reloptions).toEqual(['fillfactor=70']);
});

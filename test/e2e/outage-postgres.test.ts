import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { expectUnavailable } from '../helpers/load.ts';
import { startOn, survives, until } from '../helpers/outage.ts';
import { type PostgresServer, startPostgres } from '../helpers/postgres-server.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres({ durable: false });
});
afterAll(() => server.remove());

const empty = () =>
  sqlBeside(
    server.url,
    'truncate events, deliveries, messages, threads, control_threads, questions, question_approvals, inbox_items, runs, idempotency_keys',
  );

describe('a PostgreSQL server that goes away under load: nothing is lost, nobody waits for long, and it heals,', () => {
  afterEach(empty);

  it('when it hangs without closing anything', () =>
    survives(
      server.url,
      () => server.signalAll('SIGSTOP'),
      () => server.signalAll('SIGCONT'),
      'DATABASE_UNREACHABLE',
    ));

  it('when it shuts down fast, and is started again', () =>
    survives(
      server.url,
      () => server.shutDown('SIGINT'),
      () => server.start(),
      'DATABASE_UNREACHABLE',
    ));
});

describe('a PostgreSQL server that only lets itself be read', () => {
  it('has writes answered 503, and heals', async () => {
    // Nobody else writes, so its health has to find out by itself.
    const service = await startOn(server.url, 'http');
    const origin = await service.listening();
    const completion = () => service.send('POST', '/control-signals', signal('completion'));
    expect((await completion()).status).toBe(201);
    const makeReadOnly = async (onOrOff: string) => {
      await sqlBeside(server.url, `alter database postgres set default_transaction_read_only = ${onOrOff}`);
      await sqlBeside(
        server.url,
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'forumbus'`,
      );
    };
    await makeReadOnly('on');
    // The first look may find the connections that were just ended.
    const readOnly = { code: 'DATABASE_NOT_WRITABLE', detail: 'The database is read-only.' };
    await vi.waitFor(async () => expect((await until(origin, 'down')).reasons).toContainEqual(readOnly), 10_000);
    expectUnavailable(await completion());
    expect((await service.send('GET', '/runs')).status).toBe(200);
    const url = new URL(server.url);
    url.searchParams.set('options', '-c default_transaction_read_only=off');
    await sqlBeside(url.href, 'alter database postgres reset default_transaction_read_only');
    await sqlBeside(
      server.url,
      `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'forumbus'`,
    );
    // It can be written again; no worker runs here. A job that met the end of its connection runs again within seconds.
    const reasons = async () => (await until(origin, 'degraded')).reasons;
    await vi.waitFor(async () => expect(await reasons()).toMatchObject([{ code: 'NOT_SERVED' }]), 20_000);
    expect((await completion()).status).toBe(201);
  });
});

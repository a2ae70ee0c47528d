import { expect, it, onTestFinished, vi } from 'vitest';
import { survives } from '../helpers/outage.ts';
import { startPostgres, startStandby } from '../helpers/postgres-server.ts';
import { startRelay } from '../helpers/relay.ts';
import { sqlBeside } from '../helpers/sql.ts';

/** Where the same database of another server is, as a program sees it. */
const at = (url: string, port: number) => Object.assign(new URL(url), { port: String(port) }).href;
const portOf = (url: string) => Number(new URL(url).port);

it('a standby takes over from a server that is killed: nothing that was acknowledged is lost', async () => {
  const primary = await startPostgres({ durable: true });
  onTestFinished(primary.remove);
  const standby = await startStandby(primary);
  onTestFinished(standby.remove);
  // As docs/scaling.md has it: a commit waits until the standby has it.
  await sqlBeside(primary.url, `alter system set synchronous_standby_names = '*'`);
  await sqlBeside(primary.url, 'select pg_reload_conf()');
  await vi.waitFor(async () => {
    const [replica] = await sqlBeside(primary.url, 'select sync_state from pg_stat_replication');
    expect(replica).toMatchObject({ sync_state: 'sync' });
  });

  const relay = await startRelay(portOf(primary.url));
  await survives(
    at(primary.url, relay.port),
    () => primary.kill(),
    async () => {
      await standby.promote();
      relay.move(portOf(standby.url));
    },
    'DATABASE_UNREACHABLE',
  );
});

import { describe, expect, it, onTestFinished } from 'vitest';
import { migrations } from '../../migrations/index.ts';
import { emptyDatabase } from '../helpers/engines.ts';
import { firstRelease, hasFirstRelease, registerAsFirstRelease } from '../helpers/first-release.ts';
import { loadPreviousRelease, previousRelease, previousTokens } from '../helpers/previous-release.ts';
import { forThisTest, type ServiceProcess, spawnService, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

/*
 * The upgrade from release 0.1.0 on PostgreSQL while its processes run: the new one is refused, and changes nothing. Once
 * the last old one has gone it upgrades, and no old one starts again.
 */

const FATAL = 60;
const LAST = '010-trust';
const NEW = Object.keys(migrations).filter(name => name > LAST);
/** Beside these, the release could go on; but it does not have what they add to. */
const BREAKING = NEW.filter(name => !name.endsWith('-additive'));
const authorization = `Bearer ${previousTokens.admin}`;

/** A database of the release with its data. */
async function databaseOfRelease() {
  const { url } = await forThisTest(emptyDatabase('postgres'));
  await loadPreviousRelease(url);
  return { url, env: { DATABASE_URL: url, POLL_INTERVAL_MS: '100' } };
}

/** The last word of a process that must not start. */
async function refusal(process: ServiceProcess): Promise<unknown> {
  process.line('listening').then(
    () => process.kill('SIGKILL'),
    () => {},
  );
  expect((await process.exited).code, process.output).toBe(1);
  return process.logs.find(({ level }) => level === FATAL)?.msg;
}

const refused = (count: number) =>
  `Other processes use the database (${count}), and are too old for its new schema (${BREAKING.join(', ')}). Stop all of them first.`;

async function lastMigration(url: string): Promise<unknown> {
  return (await sqlBeside(url, 'select max(name) as name from kysely_migration'))[0]?.name;
}

const eventsOf = (url: string) =>
  sqlBeside(url, 'select sequence, event_id, event_type, thread_id, payload from events order by sequence');

async function stop(process: ServiceProcess): Promise<void> {
  process.kill('SIGTERM');
  expect((await process.exited).code, process.output).toBe(0);
}

describe('an upgrade from the first release on postgres', () => {
  it('waits for a connection that is registered as its processes are, and then keeps all data', async () => {
    const { url, env } = await databaseOfRelease();
    const end = await registerAsFirstRelease(url, onTestFinished);
    const before = await eventsOf(url);
    expect(before.length).toBe(previousRelease.events?.length);
    expect(await refusal(spawnService(env))).toBe(refused(1));
    expect(await lastMigration(url)).toBe(LAST);

    await end();
    const upgraded = await startService(env);
    expect(await upgraded.line('database migrated')).toMatchObject({ migrations: NEW });
    expect((await eventsOf(url)).slice(0, before.length)).toEqual(before);
  });

  const why = hasFirstRelease ? '' : ' (left out: this clone does not have the commit of the release)';
  it.runIf(hasFirstRelease)(
    `is refused while processes of its own code run, which go on, and none starts afterwards${why}`,
    async () => {
      const { url, env } = await databaseOfRelease();
      const spawnOld = await firstRelease();
      const send = (process: ServiceProcess, method: string, path: string, body?: unknown) =>
        process.send(method, path, body, { authorization });
      const old = [spawnOld(env), spawnOld(env)] as const;
      for (const process of old) await process.line('listening');
      expect(await refusal(spawnService(env))).toBe(refused(2));
      await stop(old[0]);
      expect(await refusal(spawnService(env))).toBe(refused(1));
      expect(await lastMigration(url)).toBe(LAST);

      // The refused process has disturbed nothing.
      expect((await send(old[1], 'GET', '/readyz')).body).toEqual({ status: 'ok' });
      const asked = await send(old[1], 'POST', '/control-signals', signal('guidance_request', { run_id: 'rolling' }));
      expect(asked).toMatchObject({ status: 201, body: { question: { state: 'open' } } });
      await stop(old[1]);

      const before = await eventsOf(url);
      const upgraded = await startService(env);
      expect(await upgraded.line('database migrated')).toMatchObject({ migrations: NEW });
      expect((await eventsOf(url)).slice(0, before.length)).toEqual(before);
      const { question_id } = asked.body.question;
      const answered = await send(upgraded, 'PUT', `/questions/${question_id}/answer`, { answer: 'Europe.' });
      expect(answered).toMatchObject({ status: 200, body: { run_id: 'rolling', state: 'answered' } });
      expect((await send(upgraded, 'GET', '/readyz')).body).toEqual({ status: 'ok' });

      expect(await refusal(spawnOld(env))).toMatch(
        /^The database's schema is newer than this version of Forumbus \(it has 011-/,
      );
      expect((await send(upgraded, 'GET', '/readyz')).body).toEqual({ status: 'ok' });
    },
  );
});

import { setImmediate as nextTurn } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { openDatabase } from '../../src/db/open.ts';
import { scratchDatabase } from '../helpers/engines.ts';
import { forThisTest } from '../helpers/process.ts';
import { sqlBeside } from '../helpers/sql.ts';

it('calls nobody dead who may only not be back yet, after a break that has hit everybody', async () => {
  const { url } = await forThisTest(scratchDatabase('postgres'));
  const db = await openDatabase(url, pino({ level: 'silent' }));
  onTestFinished(() => db.close());
  await db.presence.register('one');
  expect(await db.presence.deadAmong(['one', 'other'])).toEqual(['other']);

  // A new connection listens first of all to what was said meanwhile.
  const back = new Promise<void>(resolve => db.onRemoteCommit(resolve));
  await sqlBeside(
    url,
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and application_name = 'forumbus standing'`,
  );
  await back;
  await nextTurn();
  expect(await db.presence.deadAmong(['one', 'other'])).toEqual([]);
});

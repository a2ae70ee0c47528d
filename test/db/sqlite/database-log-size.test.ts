import { statSync } from 'node:fs';
import BetterSqlite from 'better-sqlite3';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { openDatabase } from '../../../src/db/open.ts';
import { sqliteFile } from '../../../src/db/url.ts';
import { scratchDatabase } from '../../helpers/engines.ts';
import { forThisTest } from '../../helpers/process.ts';

/** A little more than the log is at its usual most: 10,000 pages and what the last transaction adds. Bytes. */
const USUAL = 52_000_000;

it('the log of SQLite is small again when a reader has ended that had made it large', async () => {
  const { url } = await forThisTest(scratchDatabase('sqlite'));
  const file = sqliteFile(url) as string;
  const db = await openDatabase(url, pino({ level: 'silent' }));
  onTestFinished(() => db.close());
  const size = () => statSync(`${file}-wal`).size;
  let written = 0;
  const write = () =>
    db.write(async tx => {
      written += 1;
      const message = { message_id: `m${written}`, topic: 'a', payload: 'x'.repeat(4_000_000), created_at: 0 };
      await tx.query.insertInto('messages').values(message).execute();
    });
  const reader = new BetterSqlite(file, { readonly: true });
  reader.exec('begin');
  reader.prepare('select count(*) from messages').get();
  while (written < 20) await write();
  expect(size()).toBeGreaterThan(75_000_000);
  reader.close();
  // The first brings the log into the file, the second begins it anew.
  for (let more = 0; more < 3; more += 1) await write();
  expect(size()).toBeLessThan(USUAL);
});

import BetterSqlite from 'better-sqlite3';
import { sql } from 'kysely';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import { openDatabase } from '../../../src/db/open.ts';
import { scratchDatabase } from '../../helpers/engines.ts';
import { forThisTest } from '../../helpers/process.ts';

/** Whoever prepares a statement looks at each of them, so that it takes far longer than to run it. */
const INDEXES = 300;
const RUNS = 60;
/** Rounds in turns, of which the quickest counts: a busy machine may take a slice of any. */
const ROUNDS = 8;

it('SQLite prepares a statement once, whatever is bound to it', async () => {
  const { url } = await forThisTest(scratchDatabase('sqlite'));
  const file = new BetterSqlite(url.slice('sqlite:'.length));
  file.exec('create table wide (a integer primary key, b text, c integer)');
  for (let n = 0; n < INDEXES; n += 1) file.exec(`create index wide_${n} on wide (b, c, a + ${n})`);
  file.close();
  const database = await openDatabase(url, pino({ level: 'silent' }));
  try {
    const { query } = database.read;
    const texts = [
      () => sql`select a from wide where b = 'x' order by c limit 5`.execute(query),
      () => sql`select a from wide where b = ${'x'} order by c limit ${5}`.execute(query),
    ];
    const least = texts.map(() => Number.POSITIVE_INFINITY);
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [at, run] of texts.entries()) {
        await run();
        const began = performance.now();
        for (let n = 0; n < RUNS; n += 1) await run();
        least[at] = Math.min(least[at] as number, performance.now() - began);
      }
    }
    const [written, bound] = least as [number, number];
    expect(bound / written).toBeLessThan(6);
  } finally {
    await database.close();
  }
});

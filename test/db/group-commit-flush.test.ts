import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../src/db/database.ts';
import { engines } from '../helpers/engines.ts';
import { type Opened, openScratch } from '../helpers/writes.ts';

/** How the engine calls a commit that waits until its log is on the disk, and one that does not. */
const NAMES = {
  sqlite: { setting: 'pragma synchronous', flushed: 2, unflushed: 1 },
  postgres: { setting: 'show synchronous_commit', flushed: 'on', unflushed: 'off' },
};

describe.each(engines)('the commit of a group on %s', engine => {
  const { setting, flushed, unflushed } = NAMES[engine];
  let opened: Opened;

  beforeAll(async () => {
    opened = await openScratch(engine);
  });
  afterAll(() => opened.drop());

  const asks = async (tx: Tx) => {
    const { rows } = await sql<object>`${sql.raw(setting)}`.execute(tx.query);
    return Object.values(rows[0] ?? {})[0];
  };

  it('is flushed, unless all its works do without', async () => {
    const { db } = opened;
    const works = (...flushes: (boolean | undefined)[]) =>
      Promise.all(flushes.map(flush => db.write(asks, flush === undefined ? {} : { flush })));
    expect(await works(undefined)).toEqual([flushed]);
    expect(await works(false, false)).toEqual([unflushed, unflushed]);
    expect(await works(false, true, false)).toEqual([flushed, flushed, flushed]);
    expect(await works(undefined)).toEqual([flushed]);
  });

  it('is flushed after one that failed without', async () => {
    const { db } = opened;
    const failing = db.write(
      async tx => {
        await asks(tx);
        throw new Error('no');
      },
      { flush: false },
    );
    await expect(failing).rejects.toThrow('no');
    expect(await db.write(asks)).toBe(flushed);
  });
});

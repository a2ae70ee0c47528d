import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { untimed } from '../../src/db/database.ts';
import { UnknownOutcome } from '../../src/db/errors.ts';
import { createGroupCommit, type WorkShare } from '../../src/db/group-commit.ts';
import { openDatabase } from '../../src/db/open.ts';
import { smallDisk } from '../helpers/disks.ts';
import { insertKey, keyRow, keysOf } from '../helpers/writes.ts';

const full = Object.assign(new Error('full'), { code: 'SQLITE_FULL' });
const gone = Object.assign(new Error('gone'), { code: 'ECONNREFUSED' });
const share = (): WorkShare<object> => ({
  tx: {},
  hasWritten: true,
  sendsFinished: async () => {},
  deferred: [],
  increments: [],
  hooks: [],
  end() {},
});
const reasons = async (writes: Promise<unknown>[]) =>
  (await Promise.allSettled(writes)).map(end => end.status === 'rejected' && end.reason);

describe('works that share a transaction which cannot be had', () => {
  it.each(['at the commit', 'in one of them'])('fail together, once, when the disk is found full %s', async where => {
    let transactions = 0;
    const write = createGroupCommit<object>(async body => {
      transactions += 1;
      await body(share);
      throw full;
    }, untimed);
    let runs = 0;
    const work = async () => {
      runs += 1;
      if (where === 'in one of them' && runs === 50) throw full;
    };
    expect(await reasons(Array.from({ length: 100 }, () => write(work, { alone: false })))).toEqual(
      Array(100).fill(full),
    );
    expect(transactions).toBe(1);
    expect(runs).toBe(where === 'in one of them' ? 50 : 100);
  });

  it.each([
    ['SQLITE_FULL', 'certain'],
    ['SQLITE_BUSY', 'certain'],
    ['SQLITE_READONLY_DBMOVED', 'certain'],
    ['SQLITE_CONSTRAINT_FOREIGNKEY', 'certain'],
    ['40001', 'certain'],
    ['40P01', 'certain'],
    ['53100', 'certain'],
    ['SQLITE_IOERR_FSYNC', 'unknown'],
    ['ECONNRESET', 'unknown'],
    ['08006', 'unknown'],
    ['57P01', 'unknown'],
    [undefined, 'unknown'],
  ])('know what came of a commit that failed with %s: it is %s', async (code, outcome) => {
    const failure = Object.assign(new Error('the commit failed'), { code });
    const write = createGroupCommit<object>(async body => {
      await body(share);
      throw failure;
    }, untimed);
    const [reason] = await reasons([write(async () => {})]);
    if (outcome === 'certain') return expect(reason).toBe(failure);
    expect(reason).toBeInstanceOf(UnknownOutcome);
    expect(reason).toMatchObject({ message: failure.message, code, cause: failure });
  });

  it('speak for those who have waited behind them, if it took long', async () => {
    let transactions = 0;
    const write = createGroupCommit<object>(async () => {
      transactions += 1;
      await delay(1100);
      throw gone;
    }, untimed);
    const first = write(async () => {}, { alone: false });
    await delay(100);
    expect(
      await reasons([first, ...Array.from({ length: 300 }, () => write(async () => {}, { alone: false }))]),
    ).toEqual(Array(301).fill(gone));
    expect(transactions).toBe(1);
  });

  it('do not if it was quick, nor for what a work has met elsewhere', async () => {
    let transactions = 0;
    const write = createGroupCommit<object>(async body => {
      transactions += 1;
      await body(share);
    }, untimed);
    const quick = write(() => Promise.reject(gone), { alone: true });
    const elsewhere = write(
      async () => {
        await delay(1100);
        throw gone;
      },
      { alone: true },
    );
    const others = Array.from({ length: 3 }, (_, n) => write(async () => n, { alone: false }));
    expect(await reasons([quick, elsewhere])).toEqual([gone, gone]);
    expect(await Promise.all(others)).toEqual([0, 1, 2]);
    expect(transactions).toBe(3);
  });
});

describe('a transaction that SQLite has rolled back by itself', () => {
  it('takes nothing more, whoever has caught the error', async () => {
    const disk = smallDisk(4);
    if (!disk) return;
    const db = await openDatabase(`sqlite:${disk.path}/forumbus.db`, pino({ level: 'silent' }));
    onTestFinished(() => db.close());
    await db.migrate();
    // More than its cache holds, so that it has to be written before the commit.
    const large = keyRow('large', 'key', 'x'.repeat(30_000_000));
    const writing = db.write(async tx => {
      tx.send(insertKey, keyRow('first', 'key'));
      expect(() => tx.send(insertKey, large)).toThrow(/full/);
      expect(() => tx.send(insertKey, keyRow('late', 'key'))).toThrow('accepts no more statements');
      await expect(tx.query.insertInto('topics').values({ topic: 'late' }).execute()).rejects.toThrow(
        'accepts no more statements',
      );
    });
    await expect(writing).rejects.toThrow();
    for (const caller of ['first', 'large', 'late']) expect(await db.read.all(keysOf, { caller })).toEqual([]);
    expect(await db.read.query.selectFrom('topics').selectAll().execute()).toEqual([]);
    await db.write(async tx => tx.send(insertKey, keyRow('after', 'key')));
    expect(await db.read.all(keysOf, { caller: 'after' })).toHaveLength(1);
  });
});

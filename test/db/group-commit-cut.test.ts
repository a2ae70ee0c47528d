import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../src/db/database.ts';
import { isUnavailable } from '../../src/db/errors.ts';
import { gate } from '../helpers/handling.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { insertKey, keyRow, keysOf, type Opened, openScratch } from '../helpers/writes.ts';

describe('a connection to PostgreSQL that is cut in the middle of a group', () => {
  let opened: Opened;

  beforeAll(async () => {
    opened = await openScratch('postgres');
  });
  afterAll(() => opened.drop());

  const backend = sql<number>`pg_backend_pid()`.as('pid');

  async function cut(pid: number): Promise<void> {
    await sqlBeside(opened.url, `select pg_terminate_backend(${pid})`);
    const alive = `select pid from pg_stat_activity where pid = ${pid}`;
    await expect.poll(() => sqlBeside(opened.url, alive)).toEqual([]);
  }

  /** What the work that meets the cut does before and after it. */
  const halves: [name: string, before: Half, after: Half][] = [
    ['between two writes of a work', store('early'), store('late')],
    ['between a write and a read', store('early'), read],
    ['after a work has written', store('early'), nothing],
    ['between two reads', read, read],
    ['before a work writes', nothing, store('late')],
    ['in a work that does nothing', nothing, nothing],
  ];

  it.each(halves)('%s: all are answered, and those that failed have left nothing', async (name, before, after) => {
    const { db, beside } = opened;
    const begun = gate();
    const over = gate();
    let pid = 0;
    const durable: string[] = [];
    const storing = (key: string) =>
      db.write(async tx => {
        tx.afterCommit(() => durable.push(key));
        store(key)(tx, name);
        return key;
      });
    const meeting = db.write(async tx => {
      tx.afterCommit(() => durable.push('c'));
      pid = (await tx.query.selectNoFrom(backend).executeTakeFirstOrThrow()).pid;
      await before(tx, name);
      begun.open();
      await over.passed;
      await after(tx, name);
      store('c')(tx, name);
      return 'c';
    });
    const answers = [storing('a'), storing('b'), meeting, storing('d'), storing('e')];
    const settled = Promise.allSettled(answers);
    await begun.passed;
    await cut(pid);
    over.open();
    const values: string[] = [];
    for (const answer of await settled) {
      if (answer.status === 'fulfilled') values.push(answer.value);
      else expect(answer.reason).toSatisfy(isUnavailable);
    }
    expect(durable).toEqual(values);
    const stored = await beside.keys(name);
    expect(stored.filter(key => key.length === 1)).toEqual(values.toSorted());
    if (!values.includes('c')) expect(stored).toEqual(values.toSorted());
    // More than the pool has connections, so that the dead one would be met.
    for (let count = 0; count < 12; count += 1) await storing(`later ${count}`);
    expect(await Promise.all(['x', 'y', 'z'].map(storing))).toEqual(['x', 'y', 'z']);
  });
});

type Half = (tx: Tx, caller: string) => unknown;

function store(key: string): Half {
  return (tx, caller) => tx.send(insertKey, keyRow(caller, key));
}

function read(tx: Tx, caller: string): Promise<unknown> {
  return tx.all(keysOf, { caller });
}

function nothing(): void {}

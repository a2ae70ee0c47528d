import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Reader, Tx } from '../../src/db/database.ts';
import { engines } from '../helpers/engines.ts';
import { insertKey, keyRow, keysOf, type Opened, openScratch } from '../helpers/writes.ts';

describe.each(engines)('a write by itself on %s', engine => {
  let opened: Opened;

  beforeAll(async () => {
    opened = await openScratch(engine);
  });
  afterAll(() => opened.drop());

  const store = (key: string) => async (tx: Tx) => tx.send(insertKey, keyRow('lone', key));

  it('does not wait for company', async () => {
    const { db, beside } = opened;
    let turns = 0;
    let answered = false;
    const writing = db.write(store('first')).finally(() => {
      answered = true;
    });
    // On SQLite all of it happens in the next turn; the answers of a server take their time.
    while (!answered && turns < 3 && engine === 'sqlite') {
      await nextTurn();
      turns += 1;
    }
    if (engine === 'sqlite') expect(answered).toBe(true);
    await writing;
    expect(await beside.keys('lone')).toContain('first');
  });

  it('does not wait for company that has not come for a while', async () => {
    const { db, beside } = opened;
    for (let number = 0; number < 10; number += 1) await db.write(store(`alone ${number}`));
    let turns = 0;
    let answered = false;
    const writing = db.write(store('at last')).finally(() => {
      answered = true;
    });
    while (!answered && turns < 8 && engine === 'sqlite') {
      await nextTurn();
      turns += 1;
    }
    if (engine === 'sqlite') expect(answered).toBe(true);
    await writing;
    expect(await beside.keys('lone')).toContain('at last');
  });

  it.each([undefined, null, 0, 'text'])('leaves nothing behind if what its work throws is %j', async thrown => {
    const { db, beside } = opened;
    const failing = (key: string) => async (tx: Tx) => {
      await store(key)(tx);
      throw thrown;
    };
    const company = [db.write(failing('thrown')), db.write(failing('thrown')), db.write(store(`beside ${thrown}`))];
    const answers = await Promise.allSettled([...company, db.write(failing('thrown'), { alone: true })]);
    const rejected = { status: 'rejected', reason: thrown };
    expect(answers).toEqual([rejected, rejected, { status: 'fulfilled', value: undefined }, rejected]);
    expect(await beside.keys('lone')).not.toContain('thrown');
    expect(await beside.keys('lone')).toContain(`beside ${thrown}`);
  });

  it('leaves nothing behind if what its work throws cannot even be looked at', async () => {
    const { db, beside } = opened;
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const failing = db.write(
      async tx => {
        await store('revoked')(tx);
        throw proxy;
      },
      { alone: true },
    );
    const [answer] = await Promise.allSettled([failing]);
    expect(answer.status === 'rejected' && answer.reason === proxy).toBe(true);
    await db.write(store('after it'));
    expect(await beside.keys('lone')).not.toContain('revoked');
    expect(await beside.keys('lone')).toContain('after it');
  });

  it('is answered, and so are those behind it, if what is to be done after it fails', async () => {
    const { db } = opened;
    const warned = new Promise<Error>(resolve => process.once('warning', resolve));
    const done: string[] = [];
    const hooked = (hook: () => void) =>
      db.write(async tx => {
        tx.afterCommit(hook);
        tx.afterCommit(() => done.push('the next hook'));
      });
    const failing = () => {
      throw Object.create(null);
    };
    await Promise.all([hooked(failing), hooked(() => done.push('its company'))]);
    await hooked(() => done.push('later'));
    expect(done).toEqual(['the next hook', 'its company', 'the next hook', 'later', 'the next hook']);
    expect((await warned).name).toBe('AfterCommitWarning');
  });

  it('takes nothing more once its work has ended, not even before the transaction has', async () => {
    const { db, beside } = opened;
    const kept: Tx[] = [];
    const ending = db.write(async tx => {
      kept.push(tx);
      store('ended')(tx);
    });
    const next = db.write(async () => usesOf(kept[0] as Tx));
    await ending;
    for (const uses of [await next, usesOf(kept[0] as Tx)]) {
      for (const use of uses) await expect(use).rejects.toThrow('The write is over');
    }
    expect(await beside.keys('lone')).not.toContain('late');
  });

  /** Every way to the database that a transaction offers. */
  function usesOf(tx: Tx): Promise<unknown>[] {
    const row = keyRow('lone', 'late');
    const uses = [
      async () => tx.all(keysOf, row),
      async () => tx.first(keysOf, row),
      async () => tx.run(insertKey, row),
      async () => tx.insert(insertKey, row),
      async () => tx.send(insertKey, row),
      async () => tx.query.selectFrom('threads').select('thread_id').execute(),
      async () => tx.query.insertInto('idempotency_keys').values(row).execute(),
    ];
    const used = uses.map(use => use());
    for (const promise of used) promise.catch(() => {});
    return used;
  }

  it('uses nothing but its own transaction', async () => {
    const { db, beside } = opened;
    const only = 'Inside a write only its transaction may be used';
    const query = ({ query }: Reader) => query.selectFrom('threads').select('thread_id').execute();
    await db.write(async tx => {
      await expect((async () => db.write(store('inner')))()).rejects.toThrow('A write inside a write');
      await expect((async () => db.write(store('inner'), { alone: true }))()).rejects.toThrow('A write inside a write');
      await expect(query(db.read)).rejects.toThrow(only);
      await expect((async () => db.read.all(keysOf, { caller: 'lone' }))()).rejects.toThrow(only);
      await expect((async () => db.read.first(keysOf, { caller: 'lone' }))()).rejects.toThrow(only);
      await expect((async () => db.snapshot(query))()).rejects.toThrow(only);
      await expect((async () => db.snapshot(all => all.all(keysOf, { caller: 'lone' })))()).rejects.toThrow(only);
      await store('outer')(tx);
    });
    expect(await beside.keys('lone')).toContain('outer');
    expect(await beside.keys('lone')).not.toContain('inner');
  });

  it('may begin another write, and read, once it is durable', async () => {
    const { db, beside } = opened;
    const after = Promise.withResolvers<unknown>();
    await db.write(async tx => {
      await store('before')(tx);
      tx.afterCommit(() => {
        after.resolve(Promise.all([db.write(store('after')), db.read.all(keysOf, { caller: 'lone' })]));
      });
    });
    await after.promise;
    expect(await beside.keys('lone')).toEqual(expect.arrayContaining(['before', 'after']));
  });
});

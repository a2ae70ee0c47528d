import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../src/db/database.ts';
import type { Touched } from '../../src/db/group-commit.ts';
import { engines } from '../helpers/engines.ts';
import { gate } from '../helpers/handling.ts';
import { insertKey, keyRow, type Opened, openScratch } from '../helpers/writes.ts';

describe.each(engines)('writes that share transactions on %s', engine => {
  let opened: Opened;
  let callers = 0;

  beforeAll(async () => {
    opened = await openScratch(engine);
  });
  afterAll(() => opened.drop());

  /** Works of a caller of their own that note what becomes of them. */
  function ownWorks() {
    const caller = `caller-${++callers}`;
    const begun: string[] = [];
    const durable: string[] = [];
    const transactions: string[] = [];
    const store =
      (key: string, then: (tx: Tx) => unknown = () => {}) =>
      async (tx: Tx) => {
        begun.push(key);
        tx.afterCommit(() => durable.push(key));
        transactions.push(await opened.beside.transactionOf(tx));
        tx.send(insertKey, keyRow(caller, key));
        await then(tx);
        return key;
      };
    return { caller, begun, durable, transactions, store, stored: () => opened.beside.keys(caller) };
  }

  const numbered = (count: number) => Array.from({ length: count }, (_, index) => String(index).padStart(4, '0'));
  const fails = (message: string) => () => {
    throw new Error(message);
  };

  it('are in one if they come at the same moment, and in their own if one comes after the other', async () => {
    const { db } = opened;
    const [together, apart] = [ownWorks(), ownWorks()];
    await Promise.all(numbered(20).map(key => db.write(together.store(key))));
    expect(together.transactions).toHaveLength(20);
    expect(new Set(together.transactions).size).toBe(1);
    for (const key of numbered(20)) await db.write(apart.store(key));
    expect(new Set(apart.transactions).size).toBe(20);
  });

  it('wait for the one that runs, and share the next', async () => {
    const { db } = opened;
    const { store, transactions, durable } = ownWorks();
    const [held, begun] = [gate(), gate()];
    const first = db.write(
      store('first', () => {
        begun.open();
        return held.passed;
      }),
    );
    await begun.passed;
    const others: Promise<string>[] = [];
    for (const key of ['a', 'b', 'c']) {
      others.push(db.write(store(key)));
      await nextTurn();
    }
    expect(transactions).toHaveLength(1);
    held.open();
    expect(await first).toBe('first');
    expect(await Promise.all(others)).toEqual(['a', 'b', 'c']);
    expect(durable).toEqual(['first', 'a', 'b', 'c']);
    const [own, ...shared] = transactions;
    expect(new Set(shared).size).toBe(1);
    expect(shared).not.toContain(own);
  });

  it('are answered, a thousand at once, in groups of at most 128 and in their order', async () => {
    const { db } = opened;
    const { store, transactions, begun, durable, stored } = ownWorks();
    const keys = numbered(1000);
    expect(await Promise.all(keys.map(key => db.write(store(key))))).toEqual(keys);
    for (const seen of [begun, durable, await stored()]) expect(seen).toEqual(keys);
    const sizes = [...Map.groupBy(transactions, id => id).values()].map(group => group.length);
    // On SQLite, a group begins no work after 50 ms: a busy machine makes more of them.
    expect(Math.max(...sizes)).toBeLessThanOrEqual(128);
    if (engine === 'postgres') expect(sizes).toEqual([128, 128, 128, 128, 128, 128, 128, 104]);
  });

  // On PostgreSQL works wait for the server, and so occupy nothing.
  it.each(engine === 'sqlite' ? ['SQLite'] : [])(
    'that occupy the event loop are spread over several groups on %s',
    async () => {
      const { db } = opened;
      const { store, transactions, durable, stored } = ownWorks();
      const keys = numbered(20);
      const busy = async () => {
        const until = performance.now() + 20;
        while (performance.now() < until);
      };
      let turns = 0;
      const turning = setInterval(() => {
        turns += 1;
      }, 1);
      await Promise.all(keys.map(key => db.write(store(key, busy))));
      clearInterval(turning);
      for (const seen of [durable, await stored()]) expect(seen).toEqual(keys);
      const sizes = [...Map.groupBy(transactions, id => id).values()].map(group => group.length);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(4);
      expect(turns).toBeGreaterThan(4);
    },
  );

  it('run side by side where they touch different things, and are in one transaction', async () => {
    const { db } = opened;
    const { store, transactions, durable, stored } = ownWorks();
    const [one, other] = [gate(), gate()];
    // Each waits for what only the other one does.
    const meets = (mine: ReturnType<typeof gate>, theirs: typeof mine) => async () => {
      mine.open();
      await theirs.passed;
    };
    await Promise.all([
      db.write(store('a', meets(one, other)), { touches: ['run x', 'run y'] }),
      db.write(store('b', meets(other, one)), { touches: ['run z'] }),
    ]);
    expect(new Set(transactions).size).toBe(1);
    expect(durable.toSorted()).toEqual(['a', 'b']);
    expect(await stored()).toEqual(['a', 'b']);
  });

  it.each<[string, Touched[] | undefined, Touched[] | undefined]>([
    ['touch the same thing', ['run x', 'run y'], ['run z', 'run y']],
    ['do not say what they touch', undefined, undefined],
    ['come after one that does not say', undefined, ['run x']],
    ['come before one that does not say', ['run x'], undefined],
  ])('run one after the other if they %s', async (_, first, second) => {
    const { db } = opened;
    const { store } = ownWorks();
    const seen: string[] = [];
    const slow = (name: string) => async (tx: Tx) => {
      seen.push(`${name} begins`);
      for (let turn = 0; turn < 3; turn += 1) await opened.beside.transactionOf(tx);
      seen.push(`${name} ends`);
    };
    await Promise.all([
      db.write(store('a', slow('a')), { touches: first }),
      db.write(store('b', slow('b')), { touches: second }),
      db.write(store('c', slow('c')), { touches: second }),
    ]);
    expect(seen).toEqual(['a', 'b', 'c'].flatMap(name => [`${name} begins`, `${name} ends`]));
  });

  it.each<[string, Touched[] | undefined]>([
    ['the end of the transaction', ['run x']],
    ['one that does not say what it touches', undefined],
  ])('that touch nothing are over before %s', async (_, next) => {
    const { db } = opened;
    const { store, stored } = ownWorks();
    const seen: string[] = [];
    const slow = async (tx: Tx) => {
      for (let turn = 0; turn < 3; turn += 1) await opened.beside.transactionOf(tx);
      for (let turn = 0; turn < 3; turn += 1) await nextTurn();
      await opened.beside.transactionOf(tx);
      seen.push('a ends');
    };
    await Promise.all([
      db.write(store('a', slow), { touches: [] }),
      db.write(
        store('b', () => seen.push('b begins')),
        { touches: next },
      ),
    ]);
    expect(seen.toSorted()).toEqual(['a ends', 'b begins']);
    if (!next) expect(seen).toEqual(['a ends', 'b begins']);
    expect(await stored()).toEqual(['a', 'b']);
  });

  it('all run again if one of those side by side fails, after all of them have ended', async () => {
    const { db } = opened;
    const { store, stored, begun, durable } = ownWorks();
    const failing = gate();
    let ended = 0;
    const late = async (tx: Tx) => {
      await failing.passed;
      for (let turn = 0; turn < 5; turn += 1) await nextTurn();
      // On PostgreSQL the failure has ended the transaction; on SQLite this is still in it.
      await opened.beside.transactionOf(tx).catch(() => {});
      ended += 1;
    };
    const answers = await Promise.allSettled([
      db.write(store('a', late), { touches: ['run a'] }),
      db.write(
        store('b', () => {
          failing.open();
          throw new Error('b fails');
        }),
        { touches: ['run b'] },
      ),
      db.write(store('c'), { touches: ['run b'] }),
    ]);
    expect(answers).toMatchObject([{ value: 'a' }, { reason: { message: 'b fails' } }, { value: 'c' }]);
    expect(ended).toBe(2);
    expect(durable).toEqual(['a', 'c']);
    expect(await stored()).toEqual(['a', 'c']);
    expect(begun).toEqual(['a', 'b', 'a', 'b', 'c']);
  });

  it('store what they count in one order, whatever the order of the works: others change the same rows', async () => {
    const { db } = opened;
    const { store } = ownWorks();
    const stored: string[] = [];
    const counting = (keys: string[]) =>
      store(keys.join(), tx => {
        for (const key of keys) tx.count(key, 1, () => stored.push(key));
      });
    await Promise.all([db.write(counting(['c', 'b'])), db.write(counting(['d', 'a', 'c']))]);
    // On a busy machine, the second work comes into a group of its own.
    expect([
      ['a', 'b', 'c', 'd'],
      ['b', 'c', 'a', 'c', 'd'],
    ]).toContainEqual(stored);
  });

  it('do what they put off at the end, stage by stage and in order, and store once what they count', async () => {
    const { db } = opened;
    const { caller, store, stored } = ownWorks();
    const done: unknown[] = [];
    const work = (places: number[], ...counts: [key: string, by: number][]) =>
      store(`work ${places}`, tx => {
        for (const place of places) tx.beforeCommit(place % 2, place, () => done.push(place));
        for (const [key, by] of counts) {
          tx.count(`${caller} ${key}`, by, (last, sum) => {
            done.push([key, sum]);
            last.send(insertKey, keyRow(caller, `${key}: ${sum}`));
          });
        }
      });
    const refusing = async (tx: Tx) => {
      tx.beforeCommit(0, 0, () => done.push('of one that refuses'));
      tx.count(`${caller} many`, 100, () => done.push('of one that refuses'));
      throw new Error('refused');
    };
    const refused = expect(db.write(refusing)).rejects.toThrow('refused');
    await Promise.all([
      db.write(work([5, 1], ['many', 2], ['none', 1])),
      db.write(work([4], ['many', 3])),
      db.write(work([2, 3], ['many', 5], ['none', -1])),
      refused,
    ]);
    expect(done).toEqual([2, 4, 1, 3, 5, ['many', 10]]);
    expect(await stored()).toEqual(['many: 10', 'work 2,3', 'work 4', 'work 5,1']);
  });

  it('run again if one of them fails after it has written, and leave their effects once', async () => {
    const { db } = opened;
    const { store, stored, begun, durable } = ownWorks();
    const answers = await Promise.allSettled([
      db.write(store('a')),
      db.write(store('b', fails('b fails'))),
      db.write(store('c')),
    ]);
    expect(answers).toMatchObject([{ value: 'a' }, { reason: { message: 'b fails' } }, { value: 'c' }]);
    expect(durable).toEqual(['a', 'c']);
    expect(await stored()).toEqual(['a', 'c']);
    expect(begun.toSorted()).toEqual(['a', 'a', 'b', 'b', 'c']);
  });

  it('run once if the one that fails is alone, as it does itself', async () => {
    const { db } = opened;
    const { store, stored, begun, durable, transactions } = ownWorks();
    const alone = { alone: true };
    const answers = await Promise.allSettled([
      db.write(store('a')),
      db.write(store('b')),
      db.write(store('c', fails('c fails')), alone),
      db.write(store('d'), alone),
      db.write(store('e')),
    ]);
    expect(answers).toMatchObject([
      { value: 'a' },
      { value: 'b' },
      { reason: { message: 'c fails' } },
      { value: 'd' },
      { value: 'e' },
    ]);
    expect(begun).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(durable).toEqual(['a', 'b', 'd', 'e']);
    expect(await stored()).toEqual(['a', 'b', 'd', 'e']);
    const [a, b, ...others] = transactions;
    expect(a).toBe(b);
    // What was rolled back leaves no trace by which SQLite could tell.
    if (engine === 'postgres') expect(new Set([a, ...others]).size).toBe(4);
  });

  it('run once if one that is alone fails before others come', async () => {
    const { db } = opened;
    const { store, stored, begun } = ownWorks();
    const failing = db.write(store('a', fails('a fails')), { alone: true });
    const other = db.write(store('b'));
    await expect(failing).rejects.toThrow('a fails');
    expect(await other).toBe('b');
    expect(begun).toEqual(['a', 'b']);
    expect(await stored()).toEqual(['b']);
  });
});

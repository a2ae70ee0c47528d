import fc from 'fast-check';
import { sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Tx } from '../../../src/db/database.ts';
import type { Row } from '../../../src/db/schema.ts';
import { type StatementBuilder, statement } from '../../../src/db/statement.ts';
import { insertKey, type KeyRow, keyRow, keysOf, type Opened, openScratch } from '../../helpers/writes.ts';

/** Names texts that a list of values could confuse with something else. */
const TEXTS = ['', 'null', 'NULL', '{a,b}', '"quoted"', 'back\\slash', "it's", 'two\nlines', '$1', '€ 😀', ' '];
const RUNS = 60;

type Key = Pick<KeyRow, 'caller' | 'idempotency_key'>;

const changeBody = statement(({ query, value }: StatementBuilder<Key & Pick<KeyRow, 'body' | 'reference'>>) =>
  query
    .updateTable('idempotency_keys')
    .set({ body: value('body'), reference: value('reference') })
    .where('caller', '=', value('caller'))
    .where('idempotency_key', '=', value('idempotency_key')),
);
const insertOnce = statement(({ query, values }: StatementBuilder<Pick<Row<'topics'>, 'topic' | 'sent'>>) =>
  query
    .insertInto('topics')
    .values(values(['topic', 'sent']))
    .onConflict(conflict => conflict.column('topic').doNothing()),
);
const addSent = statement(({ query, values }: StatementBuilder<Pick<Row<'topics'>, 'topic' | 'sent'>>) =>
  query
    .insertInto('topics')
    .values(values(['topic', 'sent']))
    .onConflict(conflict =>
      conflict.column('topic').doUpdateSet(eb => ({ sent: eb('topics.sent', '+', eb.ref('excluded.sent')) })),
    ),
);
const insertFound = statement(({ query, value, values }: StatementBuilder<Key & Pick<Row<'topics'>, 'topic'>>) =>
  query.insertInto('topics').values({
    ...values(['topic']),
    sent: sql<number>`(select status from idempotency_keys
      where caller = ${value('caller')} and idempotency_key = ${value('idempotency_key')})`,
  }),
);
const topicsAmong = statement(({ query, among, textElements }: StatementBuilder<{ topics: string }>) =>
  query
    .selectFrom('topics')
    .selectAll()
    .where(among('topic', textElements('topics'))),
);
const insertReplay = statement(({ query, values, returningKey }: StatementBuilder<Row<'messages'>>) =>
  returningKey(
    query.insertInto('messages').values(values(['message_id', 'topic', 'payload', 'created_at'] as const)),
    'number',
  ),
);

describe('statements that works send in the same turn', () => {
  let opened: Opened;
  let queries: string[];
  let caller: string;
  let callers = 0;

  beforeAll(async () => {
    opened = await openScratch('postgres');
    const query = pg.Client.prototype.query;
    vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...given: unknown[]) {
      const [what] = given as [string | { text: string }];
      queries.push(typeof what === 'string' ? what : what.text);
      return Reflect.apply(query, this, given);
    } as typeof query);
    queries = [];
    // Each is sent together once the server has told the types of its parameters.
    const isKnown = (text: string) => queries.some(query => query.includes('unnest') && query.includes(text));
    const known = ['into "idempotency_keys"', 'update "idempotency_keys"', 'from "idempotency_keys"', 'do nothing'];
    // A busy server may take longer for a connection that asks than for a hundred rounds.
    const end = performance.now() + 60_000;
    for (let round = 0; !known.every(isKnown); round += 1) {
      if (performance.now() > end) throw new Error('The statements are never sent together.');
      caller = `warming ${round}`;
      await together(3, async (tx, index) => {
        const key = { caller, idempotency_key: `key ${index}` };
        tx.send(insertOnce, { topic: caller, sent: 0 });
        await store(tx, key.idempotency_key);
        await Promise.all([tx.all(keysOf, { caller }), tx.run(changeBody, { ...key, body: '', reference: null })]);
      });
    }
  });
  afterAll(async () => {
    vi.restoreAllMocks();
    await opened.drop();
  });
  beforeEach(() => {
    queries = [];
    callers += 1;
    caller = `caller ${callers}`;
  });

  const together = <T>(works: number, work: (tx: Tx, index: number) => Promise<T>) =>
    Promise.all(
      Array.from({ length: works }, (_, index) =>
        opened.db.write(tx => work(tx, index), { touches: [`key ${index}`] }),
      ),
    );
  const store = async (tx: Tx, key: string, body = '') => tx.run(insertKey, keyRow(caller, key, body));
  const about = (text: string) => queries.filter(query => query.includes(text));

  it('reach the server once, and each call has the answer of its own', async () => {
    await together(30, (tx, index) => store(tx, `key ${String(index).padStart(2, '0')}`, `body ${index}`));
    expect(about('idempotency_keys')).toHaveLength(1);

    queries = [];
    const changed = await together(30, (tx, index) =>
      tx.run(changeBody, {
        caller,
        idempotency_key: `key ${String(index * 2).padStart(2, '0')}`,
        body: `changed ${index}`,
        reference: null,
      }),
    );
    expect(about('idempotency_keys')).toHaveLength(1);
    expect(changed).toEqual(Array.from({ length: 30 }, (_, index) => (index < 15 ? 1 : 0)));

    queries = [];
    const found = await together(3, (tx, index) => tx.all(keysOf, { caller: index === 1 ? 'nobody' : caller }));
    expect(about('idempotency_keys')).toHaveLength(1);
    expect(found.map(rows => rows.length)).toEqual([30, 0, 30]);
    const bodies = found[2]?.map(({ body }) => body);
    expect(bodies?.slice(0, 4)).toEqual(['changed 0', 'body 1', 'changed 1', 'body 3']);
  });

  it('look up what they insert in the rows that their works have inserted before', async () => {
    const insert = async (tx: Tx, index: number) => {
      const key = { caller, idempotency_key: `key ${index}` };
      tx.send(insertKey, { ...keyRow(caller, key.idempotency_key), status: index });
      tx.send(insertFound, { ...key, topic: `${caller} ${index}` });
    };
    await vi.waitFor(async () => {
      queries = [];
      callers += 1;
      caller = `caller ${callers}`;
      await together(20, insert);
      expect(about('insert into "topics"')).toHaveLength(1);
    });
    const rows = opened.db.read.query.selectFrom('topics').select(['topic', 'sent']);
    const found = await rows.where('topic', 'like', `${caller} _`).execute();
    expect(found).toHaveLength(10);
    for (const { topic, sent } of found) expect(topic).toBe(`${caller} ${sent}`);
  });

  it('read lists of rows, each call those of its own list', async () => {
    const names = (numbers: number[]) => JSON.stringify(numbers.map(number => `${caller} ${number} "\\`));
    await opened.db.write(async tx => {
      for (const topic of JSON.parse(names([0, 1, 2, 3]))) await tx.run(insertOnce, { topic, sent: 0 });
    });
    const lists = [[0], [], [1, 0, 1], [9], [3, 2, 1, 0]];
    await vi.waitFor(async () => {
      queries = [];
      const found = await together(lists.length, (tx, index) =>
        tx.all(topicsAmong, { topics: names(lists[index] as number[]) }),
      );
      expect(found.map(rows => rows.map(({ topic }) => Number(topic.at(-4))).sort())).toEqual(
        lists.map(list => [...new Set(list)].filter(number => number < 9).sort()),
      );
      expect(about('from "topics"')).toHaveLength(1);
    });
  });

  it('number rows in the order of the calls', async () => {
    const insert = (tx: Tx, index: number) => {
      const row = { message_id: `${caller} ${index}`, topic: 't', payload: '{}', created_at: index };
      return tx.insert(insertReplay, row as unknown as Row<'messages'>);
    };
    await together(2, insert);
    await opened.db.write(tx => tx.query.deleteFrom('messages').execute());
    const numbers = await together(50, insert);
    expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] as number) + index));
    const rows = await opened.db.read.query.selectFrom('messages').selectAll().orderBy('number').execute();
    expect(rows.map(({ created_at }) => created_at)).toEqual(numbers.map((_, index) => index));
  });

  it('change a row as often as they are called', async () => {
    const key = { caller, idempotency_key: 'one' };
    await opened.db.write(tx => store(tx, 'one'));
    const bodies = ['a', 'b', 'c', 'd'];
    await opened.db.write(async tx => {
      for (const body of bodies) tx.send(changeBody, { ...key, body, reference: null });
    });
    expect((await opened.db.read.all(keysOf, { caller }))[0]?.body).toBe('d');
    const topic = caller;
    await together(10, async (tx, index) => tx.send(addSent, { topic, sent: index }));
    const { sent } = (await opened.db.read.query
      .selectFrom('topics')
      .select('sent')
      .where('topic', '=', topic)
      .executeTakeFirst()) as { sent: number };
    expect(sent).toBe(45);
  });

  it('count what each has changed, also where a row may be there already', async () => {
    const counts = await together(4, (tx, index) => tx.run(insertOnce, { topic: `${caller} ${index % 2}`, sent: 0 }));
    expect(counts).toEqual([1, 1, 0, 0]);
  });

  it('run before later queries of their work', async () => {
    const seen = await together(5, async (tx, index) => {
      tx.send(insertKey, keyRow(caller, `key ${index}`));
      const own = tx.query.selectFrom('idempotency_keys').select('body').where('caller', '=', caller);
      return (await own.where('idempotency_key', '=', `key ${index}`).execute()).length;
    });
    expect(seen).toEqual([1, 1, 1, 1, 1]);
  });

  it('do not run once their transaction is rolled back', async () => {
    const refused = opened.db.write(
      async tx => {
        tx.send(insertKey, keyRow(caller, 'key'));
        throw new Error('refused');
      },
      { alone: true },
    );
    await expect(refused).rejects.toThrow('refused');
    const refusedAtTheEnd = opened.db.write(async tx =>
      tx.beforeCommit(0, 0, last => {
        last.send(insertKey, keyRow(caller, 'last'));
        throw new Error('refused');
      }),
    );
    await expect(refusedAtTheEnd).rejects.toThrow('refused');
    await opened.db.write(tx => store(tx, 'other'));
    expect(await opened.beside.keys(caller)).toEqual(['other']);
  });

  it('fail for all, and then each for itself', async () => {
    await opened.db.write(tx => store(tx, 'key 3'));
    const results = await Promise.allSettled(
      Array.from({ length: 6 }, (_, index) =>
        opened.db.write(tx => store(tx, `key ${index}`), { touches: [`key ${index}`] }),
      ),
    );
    expect(results.map(({ status }) => status)).toEqual(
      results.map((_, index) => (index === 3 ? 'rejected' : 'fulfilled')),
    );
  });

  it('leave what they would leave one by one, in whatever order they come', async () => {
    const text = fc.constantFrom(...TEXTS);
    const step = fc.oneof(
      fc.record({ kind: fc.constant('insert' as const), key: fc.nat(3), body: text }),
      fc.record({ kind: fc.constant('change' as const), key: fc.nat(3), body: text, reference: fc.option(text) }),
      fc.record({ kind: fc.constant('read' as const) }),
      fc.record({ kind: fc.constant('query' as const) }),
    );
    const works = fc.array(fc.array(fc.record({ step, waits: fc.boolean() }), { minLength: 1, maxLength: 8 }), {
      minLength: 2,
      maxLength: 24,
    });
    await fc.assert(
      fc.asyncProperty(works, async given => {
        callers += 1;
        const nameOf = (index: number) => `caller ${callers} ${index}`;
        const answers = await together(given.length, async (tx, index) => {
          const name = nameOf(index);
          const known = new Set<number>();
          const answers: Promise<unknown>[] = [];
          for (const { step, waits } of given[index] ?? []) {
            const answer = (async () => {
              if (step.kind === 'read') return bodiesOf(await tx.all(keysOf, { caller: name }));
              if (step.kind === 'query') {
                const rows = tx.query.selectFrom('idempotency_keys').select(sql<string>`count(*)`.as('count'));
                return Number((await rows.where('caller', '=', name).executeTakeFirstOrThrow()).count);
              }
              const key = String(step.key);
              if (step.kind === 'change') {
                return tx.run(changeBody, { caller: name, idempotency_key: key, ...step });
              }
              if (known.has(step.key)) return 'known';
              known.add(step.key);
              return tx.run(insertKey, keyRow(name, key, step.body));
            })();
            answers.push(answer);
            // Kysely sends later than it is called.
            if (waits || step.kind === 'query') await answer;
          }
          return Promise.all(answers);
        });
        for (const [index, steps] of given.entries()) {
          const rows = new Map<string, string>();
          const expected = steps.map(({ step }) => {
            if (step.kind === 'read') return [...rows].sort(byKey).map(([, body]) => body);
            if (step.kind === 'query') return rows.size;
            const key = String(step.key);
            const found = rows.has(key);
            if (step.kind === 'insert' && found) return 'known';
            if (step.kind === 'insert' || found) rows.set(key, step.body);
            return step.kind === 'insert' || found ? 1 : 0;
          });
          expect(answers[index]).toEqual(expected);
          const stored = await opened.db.read.all(keysOf, { caller: nameOf(index) });
          expect(bodiesOf(stored)).toEqual([...rows].sort(byKey).map(([, body]) => body));
        }
      }),
      { numRuns: RUNS },
    );
  });
});

const bodiesOf = (rows: { body: string }[]) => rows.map(({ body }) => body);
const byKey = ([a]: [string, string], [b]: [string, string]) => (a < b ? -1 : 1);

import { sql } from 'kysely';
import { expect } from 'vitest';
import type { Tx } from '../../src/db/database.ts';
import type { Engine } from '../../src/db/engine.ts';
import type { Row } from '../../src/db/schema.ts';
import { type StatementBuilder, statement } from '../../src/db/statement.ts';
import { insertKey, keyRow, keysOf } from './writes.ts';

/** One work, and where it does what it does. */
export interface Planned {
  kind: keyof typeof kinds;
  key: string;
  by: number;
  order: number;
  alone: boolean;
  /** One turn of the event loop later than the others. */
  late: boolean;
  /** Whether it says what it touches. */
  says: boolean;
}

export interface Place extends Planned {
  caller: string;
  index: number;
}

/** What is stored. */
export interface Stored {
  keys: Map<string, 'at once' | 'put off'>;
  count: number;
}

export type Answer = { status: 'fulfilled'; value: unknown } | { status: 'rejected'; reason: object };

export interface Kind {
  act(tx: Tx, place: Place): Promise<unknown> | unknown;
  /** Changes what is stored if the work succeeds. */
  expected(stored: Stored, place: Place, engine: Engine): Answer;
}

const fulfilled = (value?: unknown): Answer => ({ status: 'fulfilled', value });
const rejected = (reason: object): Answer => ({ status: 'rejected', reason });
const ignored = () => {};
const own = ({ index }: Place) => `work ${index} fails`;
const rejectedWithOwn = (_: Stored, place: Place) => rejected({ message: own(place) });

const store = (tx: Tx, { caller, key }: Place) => tx.send(insertKey, keyRow(caller, key, 'at once'));
const storeLast = (tx: Tx, { caller, key }: Place) => tx.send(insertKey, keyRow(caller, key, 'put off'));

/** The answer to a work that stores its key, unless that is there already. */
function storing(how: 'at once' | 'put off', answer: (stored: Stored, place: Place) => Answer): Kind['expected'] {
  return (stored, place, engine) => {
    if (stored.keys.has(place.key)) return rejected(taken(place, engine));
    const would = { ...stored, keys: new Map(stored.keys).set(place.key, how) };
    const given = answer(would, place);
    if (given.status === 'fulfilled') stored.keys = would.keys;
    return given;
  };
}

function taken({ caller, key }: Place, engine: Engine): object {
  if (engine === 'sqlite') return { code: 'SQLITE_CONSTRAINT_PRIMARYKEY' };
  return { code: '23505', detail: expect.stringContaining(`=(${caller}, ${key})`) };
}

function visible({ keys }: Stored): string[] {
  return [...keys]
    .filter(([, how]) => how === 'at once')
    .map(([key]) => key)
    .sort();
}

const addToCount = statement(({ query, values }: StatementBuilder<Row<'counts'>>) =>
  query
    .insertInto('counts')
    .values(values(['subject', 'value', 'part', 'count']))
    .onConflict(conflict =>
      conflict
        .columns(['subject', 'value', 'part'])
        .doUpdateSet(eb => ({ count: eb('counts.count', '+', eb.ref('excluded.count')) })),
    ),
);

function count(tx: Tx, { caller, by }: Place): void {
  tx.count(caller, by, (last, sum) => last.send(addToCount, { subject: caller, value: 'works', part: 0, count: sum }));
}

const malformed = statement(({ query }: StatementBuilder<object>) =>
  query.selectNoFrom(sql`json_array_length('{')`.as('length')),
);

/** What a work may do, each with what it does if it has the database to itself. */
export const kinds = {
  stores: { act: store, expected: storing('at once', () => fulfilled()) },
  'stores and reads back': {
    async act(tx, place) {
      store(tx, place);
      const rows = await tx.all(keysOf, place);
      const built = tx.query.selectFrom('idempotency_keys').select(['idempotency_key', 'body']);
      const again = await built.where('caller', '=', place.caller).orderBy('idempotency_key').execute();
      return [rows, again].map(all => all.filter(row => row.body === 'at once').map(row => row.idempotency_key));
    },
    expected: storing('at once', stored => fulfilled([visible(stored), visible(stored)])),
  },
  refuses: {
    async act(tx, place) {
      await tx.first(keysOf, place);
      count(tx, place);
      tx.beforeCommit(0, place.order, last => storeLast(last, place));
      throw new Error(own(place));
    },
    expected: rejectedWithOwn,
  },
  'stores and throws': {
    act(tx, place) {
      store(tx, place);
      throw new Error(own(place));
    },
    expected: storing('at once', rejectedWithOwn),
  },
  'stores through the builder and throws': {
    async act(tx, place) {
      await tx.query.insertInto('idempotency_keys').values(keyRow(place.caller, place.key)).execute();
      throw new Error(own(place));
    },
    expected: storing('at once', rejectedWithOwn),
  },
  'puts off': {
    act: (tx, place) => tx.beforeCommit(0, place.order, last => storeLast(last, place)),
    expected: storing('put off', () => fulfilled()),
  },
  'puts off a failure': {
    act(tx, place) {
      tx.beforeCommit(0, place.order, () => {
        throw new Error(own(place));
      });
    },
    expected: rejectedWithOwn,
  },
  counts: {
    act: count,
    expected(stored, { by }) {
      stored.count += by;
      return fulfilled();
    },
  },
  'leaves an orphan': {
    async act(tx, { caller, index }) {
      const nothing = { run_id: null, ticket: null, agent_name: null, causation_id: null, payload: '{}' };
      const event = { event_id: `${caller}-${index}`, event_type: 'x', event_version: 1, occurred_at: 0 };
      const names = { thread_id: `none-${index}`, actor: 'human:ana', correlation_id: 'none' };
      await tx.query
        .insertInto('events')
        .values({ ...event, ...names, ...nothing })
        .execute();
    },
    expected: (_, { index }, engine) =>
      rejected(
        engine === 'sqlite'
          ? { code: 'SQLITE_CONSTRAINT_FOREIGNKEY' }
          : { code: '23503', detail: expect.stringContaining(`none-${index}`) },
      ),
  },
  misreads: {
    act: tx => tx.first(malformed, {}),
    expected: () => rejected({ message: expect.stringMatching(/json/i) }),
  },
  'takes no notice of a failure': {
    act: (tx, { caller, key }) => tx.run(insertKey, keyRow(caller, key, 'at once')).then(ignored, ignored),
    expected(stored, place, engine) {
      const answer = storing('at once', () => fulfilled())(stored, place, engine);
      // SQLite undoes the statement that fails, PostgreSQL ends the transaction.
      if (answer.status === 'fulfilled' || engine === 'sqlite') return fulfilled();
      return rejected({ message: expect.stringMatching(/^(A statement of the t|T)ransaction/) });
    },
  },
} satisfies Record<string, Kind>;

/** These leave the works beside them alone, unless two of them want the same key. */
export const harmless = ['stores', 'stores and reads back', 'refuses', 'puts off', 'counts'] as const;

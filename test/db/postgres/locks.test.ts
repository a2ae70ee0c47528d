import fc from 'fast-check';
import { pino } from 'pino';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { Database, Tx } from '../../../src/db/database.ts';
import type { Touched } from '../../../src/db/group-commit.ts';
import { openDatabase } from '../../../src/db/open.ts';
import { addCount } from '../../../src/threads/repository.ts';
import { scratchDatabase } from '../../helpers/engines.ts';
import { gate } from '../../helpers/handling.ts';
import { forThisTest } from '../../helpers/process.ts';
import { sqlBeside } from '../../helpers/sql.ts';
import { insertKey, keyRow, keysOf } from '../../helpers/writes.ts';

let url: string;
/** Two processes, as far as the database can tell. */
let one: Database;
let other: Database;

beforeEach(async () => {
  ({ url } = await forThisTest(scratchDatabase('postgres')));
  [one, other] = [await opened(), await opened()] as [Database, Database];
});

async function opened(): Promise<Database> {
  const db = await openDatabase(url, pino({ level: 'silent' }));
  onTestFinished(() => db.close());
  return db;
}

/** A write that is under way until the test opens its gate. */
async function held(db: Database, touches: readonly Touched[] | undefined) {
  const [begun, going] = [gate(), gate()];
  onTestFinished(going.open);
  const writing = db.write(
    () => {
      begun.open();
      return going.passed;
    },
    { touches },
  );
  await begun.passed;
  return {
    async end() {
      going.open();
      await writing;
    },
  };
}

async function waiting(): Promise<number> {
  const locks = `select count(*)::int as count from pg_locks
    where not granted and database = (select oid from pg_database where datname = current_database())`;
  return (await sqlBeside(url, locks))[0]?.count as number;
}

describe('writes of two processes', () => {
  it.each<[string, Touched[], Touched[]]>([
    ['different runs', ['run a', 'run b'], ['run c']],
    ['nothing, beside one that touches a run', [], ['run a']],
    ['deliveries, beside one that touches a run', ['deliveries'], ['run a', 'key k']],
  ])('do not wait for each other if they touch %s', async (_, first, second) => {
    const early = await held(one, first);
    await other.write(async () => {}, { touches: second });
    await early.end();
  });

  it.each<[string, Touched[] | undefined, Touched[] | undefined]>([
    ['touch the same run', ['run a', 'run b'], ['run c', 'run b']],
    ['touch the same key', ['run a', 'key k'], ['run b', 'key k']],
    ['touch deliveries', ['deliveries'], ['deliveries']],
    ['do not say what they touch', undefined, undefined],
    ['come after one that does not say', undefined, []],
    ['come before one that does not say', [], undefined],
  ])('follow one another if they %s', async (_, first, second) => {
    const early = await held(one, first);
    let isOver = false;
    const late = other
      .write(async () => {}, { touches: second })
      .then(() => {
        isOver = true;
      });
    await expect.poll(waiting).toBe(1);
    expect(isOver).toBe(false);
    await early.end();
    await late;
  });
});

describe('in one process', () => {
  it('runs do not wait for deliveries, nor deliveries for runs', async () => {
    for (const [first, second] of [
      ['deliveries', 'run a'],
      ['run a', 'deliveries'],
    ] as const) {
      const early = await held(one, [first]);
      await one.write(async () => {}, { touches: [second] });
      await early.end();
    }
  });
});

const run = fc.constantFrom<Touched>('run a', 'run b', 'run c', 'run d', 'key a', 'key b', 'deliveries');
const works = fc.array(
  fc.record({
    process: fc.nat(1),
    touches: fc.option(fc.array(run, { maxLength: 4 }), { nil: undefined, freq: 6 }),
    counts: fc.array(fc.constantFrom('x', 'y', 'z', 'w'), { maxLength: 3 }),
    fails: fc.nat(9).map(number => number === 0),
  }),
  { minLength: 2, maxLength: 30 },
);

describe('any writes of two processes', () => {
  it('end, and each sees what those before it have left of what it touches', { timeout: 120_000 }, async () => {
    let batches = 0;
    await fc.assert(
      fc.asyncProperty(works, async all => {
        batches += 1;
        const processes = [one, other];
        /** A counter for each thing, read and then written. */
        const act = async (tx: Tx, touches: readonly Touched[], index: number) => {
          for (const thing of new Set(touches)) {
            const caller = `${batches} ${thing}`;
            const before = (await tx.all(keysOf, { caller })).length;
            tx.send(insertKey, keyRow(caller, String(before).padStart(4, '0'), String(index)));
          }
        };
        const answers = await Promise.allSettled(
          all.map(({ process, touches, counts, fails }, index) =>
            (processes[process] as Database).write(
              async tx => {
                for (const value of counts) {
                  tx.count(value, 1, (last, count) =>
                    addCount(last, { subject: 'thread_ticket', value, part: 0, count }),
                  );
                }
                await act(tx, touches ?? [], index);
                if (fails) throw new Error('fails');
              },
              { touches },
            ),
          ),
        );
        expect(answers.map(({ status }) => status)).toEqual(all.map(({ fails }) => (fails ? 'rejected' : 'fulfilled')));
        for (const thing of ['run a', 'run b', 'run c', 'run d', 'key a', 'key b', 'deliveries'] as const) {
          const expected = all.filter(({ touches, fails }) => !fails && touches?.includes(thing)).length;
          expect(await one.read.all(keysOf, { caller: `${batches} ${thing}` })).toHaveLength(expected);
        }
      }),
      { numRuns: 60, seed: 1 },
    );
    const deadlocks = await sqlBeside(
      url,
      'select deadlocks::int from pg_stat_database where datname = current_database()',
    );
    expect(deadlocks).toEqual([{ deadlocks: 0 }]);
  });
});

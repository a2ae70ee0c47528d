import fc from 'fast-check';
import { sql } from 'kysely';
import { pino } from 'pino';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { readConfig } from '../../../src/config.ts';
import type { Tx } from '../../../src/db/database.ts';
import { createServices, type Services } from '../../../src/services.ts';
import { scratchDatabase } from '../../helpers/engines.ts';
import { forThisTest } from '../../helpers/process.ts';
import { sqlBeside } from '../../helpers/sql.ts';

/*
 * Writers of different runs commit in any order, and a sequence is given out before it is committed. Whoever goes on after
 * the last sequence that it saw must not miss one that becomes visible behind it.
 */

let url: string;
beforeEach(async () => {
  ({ url } = await forThisTest(scratchDatabase('postgres')));
});

async function started(): Promise<Services> {
  const services = await createServices(readConfig({ DATABASE_URL: url, ROLE: 'http' }), pino({ level: 'silent' }));
  onTestFinished(() => services.close());
  return services;
}

/** What a follower of the log sees: each read goes on after the last event that it saw. */
class Follower {
  readonly seen: number[] = [];
  readonly #services: Services;

  constructor(services: Services) {
    this.#services = services;
  }

  async readOn(): Promise<number[]> {
    const { events } = this.#services.forum;
    const { items } = await events.list({ after: this.seen.at(-1) ?? 0, limit: 200 });
    const sequences = items.map(event => event.sequence);
    this.seen.push(...sequences);
    return sequences;
  }
}

const nowhere = { thread_id: null, agent_name: null, ticket: null };

/** A write that appends as the test says, and ends as it says. */
async function begin({ db, forum: { events } }: Services, run_id: string) {
  const begun = Promise.withResolvers<Tx>();
  const end = Promise.withResolvers<void>();
  onTestFinished(() => end.resolve());
  const writing = db.write(
    async tx => {
      begun.resolve(tx);
      await end.promise;
    },
    { touches: [`run ${run_id}`], alone: true },
  );
  const over = writing.catch(error => error);
  writing.catch(error => begun.reject(error));
  const tx = await begun.promise;
  return {
    sequences: [] as number[],
    async append(): Promise<number> {
      const thread = { ...nowhere, run_id };
      const draft = events.draft(thread, { type: 'human', name: 'ana' }, 'forum.run.briefed', {});
      const [sequence] = await events.append(tx, [draft]);
      this.sequences.push(sequence as number);
      return sequence as number;
    },
    async commit(): Promise<void> {
      end.resolve();
      await writing;
    },
    async rollBack(): Promise<void> {
      end.reject(new Error('rolled back'));
      await over;
    },
    /** Ends its connection, as the server does with that of a process that has died. */
    async terminate(): Promise<void> {
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(tx.query);
      const { pid } = rows[0] as { pid: number };
      await sqlBeside(url, `select pg_terminate_backend(${pid})`);
      end.resolve();
      await over;
      while ((await sqlBeside(url, `select from pg_stat_activity where pid = ${pid}`)).length > 0);
    },
  };
}

type Writer = Awaited<ReturnType<typeof begin>>;

describe('a follower of the log on PostgreSQL', () => {
  it.each(['commit', 'rollBack', 'terminate'] as const)(
    'stops before a writer that has drawn a sequence, and goes on after its %s',
    async ending => {
      const [first, second] = [await started(), await started()];
      const follower = new Follower(second);
      const [early, late] = [await begin(first, 'a'), await begin(second, 'b')];
      const before = await early.append();
      const after = await late.append();
      expect(after).toBe(before + 1);
      await late.commit();
      expect(await follower.readOn()).toEqual([]);
      const { events } = second.forum;
      expect(await events.latest(second.db.read)).toBe(0);
      expect(await events.after(0, {}, 10)).toEqual({ items: [], upTo: 0 });
      expect((await events.list({ order: 'newest' })).items).toEqual([]);
      // Its own thread has it already.
      expect(await events.outlines(second.db.read, 0, 10)).toMatchObject([{ sequence: after }]);
      await early[ending]();
      expect(await follower.readOn()).toEqual(ending === 'commit' ? [before, after] : [after]);
    },
  );

  it('is told when a writer ends that has held it back', async () => {
    const [first, second] = [await started(), await started()];
    await Promise.all([first.start(), second.start()]);
    const told: number[] = [];
    const news = Promise.withResolvers<void>();
    await second.waits.feed.subscribe(events => {
      told.push(...events.map(({ event }) => event.sequence));
      if (told.length === 2) news.resolve();
    });
    const [early, late] = [await begin(first, 'a'), await begin(second, 'b')];
    const sequences = [await early.append(), await late.append()];
    await late.commit();
    await early.commit();
    await news.promise;
    expect(told).toEqual(sequences);
  });

  it('sees all of the log when a subscription begins at its head', async () => {
    const [first, second] = [await started(), await started()];
    const writer = await begin(first, 'a');
    await writer.append();
    // Whoever changes who consumes what has everything to itself.
    const registering = second.delivery.outbox.register(
      [{ name: 'late', topics: ['forum.events.**'], policy: { dead: 'pass' } } as never],
      false,
    );
    await expect.poll(() => waitingForLocks()).toBe(1);
    await writer.commit();
    await registering;
    expect(second.delivery.subscriptions.own).toMatchObject([{ name: 'late', position: writer.sequences[0] }]);
  });
});

const acts = fc.array(
  fc.record({
    writer: fc.nat(3),
    act: fc.constantFrom('append', 'append', 'append', 'commit', 'commit', 'rollBack', 'terminate'),
  } as const),
  { minLength: 1, maxLength: 25 },
);

describe('any writers of PostgreSQL that begin, append and end in any order', () => {
  // The low 32 bits of a sequence are all that a bound has.
  it.each([0, 2 ** 31 - 6, 2 ** 32 - 6, 2 ** 40])(
    'show a follower each event once and in order, as soon as no lower one can come; from %i on',
    { timeout: 120_000 },
    async start => {
      const services = await Promise.all([1, 2, 3, 4].map(() => started()));
      await fc.assert(
        fc.asyncProperty(acts, async all => {
          await sqlBeside(url, 'delete from events');
          const restart =
            start === 0 ? `setval('events_sequence_seq', 1, false)` : `setval('events_sequence_seq', ${start})`;
          await sqlBeside(url, `select ${restart}`);
          const follower = new Follower(services[0] as Services);
          const open = new Map<number, Writer & { bound: number }>();
          const committed: number[] = [];
          let drawn = start;
          const expectSeen = async () => {
            await follower.readOn();
            const horizon = Math.min(drawn, ...[...open.values()].map(({ bound }) => bound));
            expect(follower.seen).toEqual(committed.filter(one => one <= horizon).toSorted((a, b) => a - b));
          };
          try {
            for (const { writer, act } of all) {
              const known = open.get(writer);
              if (act === 'append') {
                const one = known ?? { ...(await begin(services[writer] as Services, `run-${writer}`)), bound: drawn };
                open.set(writer, one);
                drawn = await one.append();
              } else if (known) {
                await known[act]();
                open.delete(writer);
                if (act === 'commit') committed.push(...known.sequences);
              }
              await expectSeen();
            }
            for (const [writer, one] of open) {
              await one.commit();
              committed.push(...one.sequences);
              open.delete(writer);
              await expectSeen();
            }
          } finally {
            // What a fault leaves open would keep the next ones waiting.
            for (const one of open.values()) await one.rollBack();
          }
          expect(follower.seen).toHaveLength(committed.length);
        }),
        { numRuns: 40, seed: 1 },
      );
    },
  );
});

async function waitingForLocks(): Promise<number> {
  const waiting = `select count(*)::int as count from pg_locks
    where locktype = 'advisory' and not granted
      and database = (select oid from pg_database where datname = current_database())`;
  return (await sqlBeside(url, waiting))[0]?.count as number;
}

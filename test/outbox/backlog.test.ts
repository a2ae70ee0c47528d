import { monitorEventLoopDelay } from 'node:perf_hooks';
import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommitNotifier } from '../../src/commit-notifier.ts';
import type { Database } from '../../src/db/database.ts';
import { openDatabase } from '../../src/db/open.ts';
import { createOutbox } from '../../src/outbox/service.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { inOwnWrites } from '../helpers/outbox.ts';

const DEAD = 3000;

describe.each(engines)('a large backlog on %s', engine => {
  // A server counts beside the event loop, and takes its time to store so many in one statement.
  const PENDING = engine === 'sqlite' ? 150_000 : 15_000;
  let scratch: Scratch;
  let db: Database;
  const clock = new ManualClock();
  beforeAll(async () => {
    scratch = await scratchDatabase(engine);
    db = await openDatabase(scratch.url, pino({ level: 'silent' }), clock);
    const numbers = (count: number) =>
      engine === 'sqlite'
        ? sql`(with recursive n(i) as (select 1 union all select i + 1 from n where i < ${sql.lit(count)}) select i from n)`
        : sql`(select i from generate_series(1, ${sql.lit(count)}) as i)`;
    await db.write(async tx => {
      for (const [status, count, payload] of [
        ['pending', PENDING, '1'],
        ['dead', DEAD, '1'],
      ] as const) {
        await sql`insert into outbox (message_id, topic, message_key, payload, status, attempts, max_attempts, generation,
            available_at, claimable_at, lane, history, created_at, updated_at)
          select ${sql.lit(status)} || i, case when i % 3 = 0 then 'a' else 'b' end, 'k' || i, ${sql.lit(payload)},
            ${sql.lit(status)}, 0, 3, 1, 5, null, case when ${sql.lit(status)} = 'dead' then null else '=k' || i end, '[]', i, 5
          from ${numbers(count)} as numbers`.execute(tx.query);
      }
    });
    // As autovacuum does within a minute: without statistics the server takes the table for a small one.
    if (engine === 'postgres') await db.write(tx => sql`analyze outbox`.execute(tx.query));
  });
  afterAll(async () => {
    await db.close();
    await scratch.drop();
  });

  const outboxOf = () =>
    createOutbox({
      db,
      clock,
      newUid: () => 'u',
      events: { at: async () => new Map() },
      commits: new CommitNotifier(),
      isSubscribed: () => true,
      maxAttempts: 3,
    });

  /** The longest that the event loop stood still meanwhile. Milliseconds. */
  async function stall(work: () => Promise<unknown>): Promise<number> {
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    await work();
    delay.disable();
    return delay.max / 1e6;
  }

  it('is counted exactly, in parts, and not anew for everybody who asks', async () => {
    const outbox = outboxOf();
    let counts: unknown;
    const held = await stall(async () => {
      counts = await outbox.backlog();
    });
    expect(held).toBeLessThan(100);
    expect(counts).toEqual(
      expect.arrayContaining([
        { topic: 'a', status: 'pending', count: PENDING / 3, oldest: 3 },
        { topic: 'b', status: 'pending', count: (2 * PENDING) / 3, oldest: 1 },
        { topic: 'a', status: 'dead', count: DEAD / 3, oldest: 3 },
        { topic: 'b', status: 'dead', count: (2 * DEAD) / 3, oldest: 1 },
      ]),
    );
    expect((await outbox.stats()).by_status).toMatchObject({ pending: PENDING, dead: DEAD });
  });

  it('is replayed in small transactions, each message once, and others write between them', async () => {
    const outbox = inOwnWrites(db, outboxOf());
    let others = 0;
    let over = false;
    const writing = (async () => {
      while (!over) {
        await db.write(async tx => tx.query.selectFrom('outbox').select('position').limit(1).execute());
        others += 1;
      }
    })();
    let replayed = 0;
    const held = await stall(async () => {
      replayed = await outbox.replayDead('a');
    });
    over = true;
    await writing;
    expect(replayed).toBe(DEAD / 3);
    // The server works beside the event loop, but on the same processors, which delays the loop as well.
    expect(held).toBeLessThan(engine === 'sqlite' ? 100 : 1000);
    expect(others).toBeGreaterThan(DEAD / 200);
    expect(await outbox.replayDead('a')).toBe(0);
    expect(await outbox.replayDead(undefined)).toBe((2 * DEAD) / 3);
    const rows = await db.read.query
      .selectFrom('outbox')
      .select(({ fn }) => [
        fn.countAll<number>().as('count'),
        fn.min('generation').as('least'),
        fn.max('generation').as('most'),
      ])
      .where('message_id', 'like', 'dead%')
      .execute();
    expect(rows).toEqual([{ count: DEAD, least: 2, most: 2 }]);
  });
});

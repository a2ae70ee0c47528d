import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CommitNotifier } from '../../src/commit-notifier.ts';
import type { Database } from '../../src/db/database.ts';
import { openDatabase } from '../../src/db/open.ts';
import { createEvents } from '../../src/events/service.ts';
import { createOutbox } from '../../src/outbox/service.ts';
import { createSubscriptions } from '../../src/subscriptions/service.ts';
import type { SubscriptionState } from '../../src/subscriptions/subscription.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { inOwnWrites } from '../helpers/outbox.ts';
import { longestTurn } from '../helpers/turns.ts';

const DEAD = 3000;
const BRIEFED = 'forum.events.run.briefed';

describe.each(engines)('a large backlog on %s', engine => {
  // A server counts beside the event loop, and takes its time to store so many in one statement.
  const PENDING = engine === 'sqlite' ? 150_000 : 15_000;
  const EVENTS = PENDING / 10;
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
    // Its position is the start of the log, which is empty.
    await outboxOf().register([{ name: 'x', topics: ['a', 'b', BRIEFED], policy: { dead: 'pass' } }], false);
    await db.write(async tx => {
      await sql`insert into messages (message_id, topic, payload, created_at) values ('m', 'a', '1', 1)`.execute(
        tx.query,
      );
      for (const [status, count] of [
        ['pending', PENDING],
        ['dead', DEAD],
      ] as const) {
        await sql`insert into deliveries (subscription_id, message_number, topic, message_key, queued, status, attempts,
            generation, available_at, claimable_at, history, created_at, updated_at)
          select (select subscription_id from subscriptions), (select number from messages), case when i % 3 = 0 then 'a' else 'b' end, 'k' || i,
            ${sql.lit(status === 'dead' ? 0 : 1)}, ${sql.lit(status)}, 0, 1, 5, null, '[]', i, 5
          from ${numbers(count)} as numbers`.execute(tx.query);
      }
      await sql`insert into events (event_id, event_type, event_version, occurred_at, run_id, actor, correlation_id, payload)
        select 'e' || i, case when i % 2 = 0 then 'forum.run.briefed' else 'forum.run.closed' end, 1, i, 'r', 'human:ana',
          'c', '{}'
        from ${numbers(EVENTS)} as numbers`.execute(tx.query);
    });
    // As autovacuum does within a minute: without statistics the server takes the table for a small one.
    if (engine === 'postgres') await db.write(tx => sql`analyze deliveries`.execute(tx.query));
  });
  afterAll(async () => {
    await db.close();
    await scratch.drop();
  });

  const outboxOf = () => {
    const common = { db, clock, newUid: () => 'u', commits: new CommitNotifier() };
    const events = createEvents(common);
    const subscriptions = createSubscriptions({ ...common, events, process: 'w' });
    return createOutbox({ ...common, events, subscriptions, maxAttempts: 3 });
  };

  it('is counted exactly, in parts, and not anew for everybody who asks', async () => {
    const outbox = outboxOf();
    // Into one of the two may fall a collection of all that the tests of this process have left.
    const { took: first } = await longestTurn(() => outboxOf().backlog());
    const { value: counts, took: second } = await longestTurn(() => outbox.backlog());
    expect(Math.min(first, second)).toBeLessThan(100);
    const [{ subscription_id }] = (await db.read.query
      .selectFrom('subscriptions')
      .select('subscription_id')
      .execute()) as [{ subscription_id: number }];
    const expected = [
      { topic: 'a', status: 'pending', count: PENDING / 3, oldest: 3 },
      { topic: 'b', status: 'pending', count: (2 * PENDING) / 3, oldest: 1 },
      { topic: 'a', status: 'dead', count: DEAD / 3, oldest: 3 },
      { topic: 'b', status: 'dead', count: (2 * DEAD) / 3, oldest: 1 },
      // Every other event is one that it wants, and has not been given yet.
      { topic: BRIEFED, status: 'pending', count: EVENTS / 2, oldest: 2 },
    ];
    expect(counts).toHaveLength(expected.length);
    expect(counts).toEqual(expect.arrayContaining(expected.map(count => ({ ...count, subscription_id }))));
    expect((await outbox.stats()).by_status).toMatchObject({ pending: PENDING + EVENTS / 2, dead: DEAD });
    const [{ waiting, dead }] = (await outbox.subscriptions()) as [SubscriptionState];
    expect([waiting, dead]).toEqual([PENDING + EVENTS / 2, DEAD]);
  });

  it('is replayed in small transactions, each message once, and others write between them', async () => {
    const outbox = inOwnWrites(db, outboxOf());
    let others = 0;
    let over = false;
    const writing = (async () => {
      while (!over) {
        await db.write(async tx => tx.query.selectFrom('deliveries').select('position').limit(1).execute());
        others += 1;
      }
    })();
    const { value: replayed, took: held } = await longestTurn(() => outbox.replayDead({ topic: 'a' }));
    over = true;
    await writing;
    expect(replayed).toBe(DEAD / 3);
    expect(held).toBeLessThan(100);
    expect(others).toBeGreaterThan(DEAD / 200);
    expect(await outbox.replayDead({ topic: 'a' })).toBe(0);
    expect(await outbox.replayDead()).toBe((2 * DEAD) / 3);
    const rows = await db.read.query
      .selectFrom('deliveries')
      .select(({ fn }) => [
        fn.countAll<number>().as('count'),
        fn.min('generation').as('least'),
        fn.max('generation').as('most'),
      ])
      .where('generation', '>', 1)
      .execute();
    expect(rows).toEqual([{ count: DEAD, least: 2, most: 2 }]);
  });
});

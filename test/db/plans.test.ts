import BetterSqlite from 'better-sqlite3';
import { type CompiledQuery, Kysely, PostgresDialect, SqliteDialect, sql, type Transaction } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listControlThreads } from '../../src/control/repository.ts';
import type { Engine, Tx } from '../../src/db/database.ts';
import type { Schema } from '../../src/db/schema.ts';
import { listEvents, listPosts } from '../../src/events/repository.ts';
import {
  claimMessages,
  countMessages,
  endLeasesOf,
  leaseHolders,
  listBlocking,
  listMessages,
  oldestPending,
  parkedFor,
  pausedTopics,
  promoteNext,
  unpark,
} from '../../src/outbox/repository.ts';
import { listQuestions } from '../../src/questions/repository.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';

/** The statements of the repositories that must not slow down as tables grow. */
const statements: Record<string, (tx: Tx) => Promise<unknown>> = {
  'the claim': tx => claimMessages(tx, { limit: 16, lease_token: 't', leased_by: 'w', leaseMs: 1000, now: 0 }),
  'the next in a lane': tx => promoteNext(tx, 'lane'),
  'the holders of leases': leaseHolders,
  'the leases of a dead process': tx => endLeasesOf(tx, ['w']),
  'what parked messages wait for': parkedFor,
  'taking messages out of parking': tx => unpark(tx, 'handler:a.b', 100),
  'the oldest pending message': oldestPending,
  'the paused topics': pausedTopics,
  'the blocked lanes': tx => listBlocking(tx, 100),
  'the count of messages': countMessages,
  messages: tx => listMessages(tx, { from: 0 }, 50),
  'messages by status': tx => listMessages(tx, { from: 0, status: 'dead' }, 50),
  'messages by topic': tx => listMessages(tx, { from: 0, topic: 'a.b' }, 50),
  'messages by key': tx => listMessages(tx, { from: 0, message_key: 'k' }, 50),
  events: tx => listEvents(tx, { after: 0 }, 50),
  'events by run': tx => listEvents(tx, { after: 0, run_id: 'r' }, 50),
  'events by thread': tx => listEvents(tx, { after: 0, thread_id: 't' }, 50),
  'events by agent': tx => listEvents(tx, { after: 0, agent_name: 'a' }, 50),
  'events by type': tx => listEvents(tx, { after: 0, event_type: 'x' }, 50),
  posts: tx => listPosts(tx, 't', 0, 50),
  questions: tx => listQuestions(tx, { from: [1, 1] }, 50),
  'open questions': tx => listQuestions(tx, { state: 'open' }, 50),
  'questions by run': tx => listQuestions(tx, { run_id: 'r' }, 50),
  'questions by agent': tx => listQuestions(tx, { agent_name: 'a' }, 50),
  'open questions of one agent': tx => listQuestions(tx, { state: 'open', run_id: 'r', agent_name: 'a' }, 50),
  'control threads': tx => listControlThreads(tx, { from: ['a', 'b'] }, 50),
  'control threads by run': tx => listControlThreads(tx, { run_id: 'r' }, 50),
  'control threads by status': tx => listControlThreads(tx, { status: 'working' }, 50),
};

/** These bring together the rows of a bounded set, which may be sorted for it. */
const grouped = ['the count of messages', 'the holders of leases'];

/** A table read whole, or rows sorted after they were read, would grow with history. `due` and `hop` are sub-queries. */
const growing = /Seq Scan on (?!due|hop)|SCAN (?!due|hop|CONSTANT|.*USING)|TEMP B-TREE FOR ORDER BY|Sort/;

describe.each(engines)('the query plan on %s', engine => {
  let service: TestApp;
  let db: Kysely<Schema>;
  let seen: CompiledQuery[];

  beforeAll(async () => {
    service = await startApp(engine);
    seen = [];
    db = new Kysely<Schema>({ dialect: dialect(engine, service.url), log: event => void seen.push(event.query) });
  });
  afterAll(async () => {
    await db.destroy();
    await service.close();
  });

  it.each(Object.keys(statements))('of %s reads off an index', async name => {
    seen.length = 0;
    await db.transaction().execute(async query => {
      await statements[name]?.(asTx(query));
    });
    const [statement] = seen.filter(query => /^(select|with|update)/.test(query.sql.trim()));
    const plan = await explain(db, engine, statement as CompiledQuery);
    expect(plan).toMatch(/INDEX|Index|PRIMARY KEY/);
    expect(
      plan.split('\n').filter(line => growing.test(line) && !(grouped.includes(name) && /Sort/.test(line))),
    ).toEqual([]);
  });
});

function dialect(engine: Engine, url: string) {
  if (engine === 'sqlite') return new SqliteDialect({ database: new BetterSqlite(url.slice('sqlite:'.length)) });
  // With tables this small the planner would rather read them whole and sort; here it must show what it can do.
  const options = '-c enable_seqscan=off -c enable_sort=off -c enable_bitmapscan=off';
  return new PostgresDialect({ pool: new pg.Pool({ connectionString: url, max: 1, options }) });
}

function asTx(query: Transaction<Schema>): Tx {
  return { query, leaseNow: sql<number>`cast(0 as bigint)`, afterCommit: () => {} };
}

async function explain(db: Kysely<Schema>, engine: Engine, query: CompiledQuery): Promise<string> {
  const prefix = engine === 'sqlite' ? 'explain query plan ' : 'explain (costs off) ';
  const { rows } = await db.executeQuery<Record<string, string>>({ ...query, sql: prefix + query.sql });
  return rows.map(row => row.detail ?? row['QUERY PLAN']).join('\n');
}

import { readFileSync } from 'node:fs';
import { Kysely, sql, type Transaction } from 'kysely';
import { Migrator } from 'kysely/migration';
import { migrations } from '../../migrations/index.ts';
import type { Engine } from '../../src/db/engine.ts';
import { dialect } from './dialect.ts';

/*
 * The data of a database of release 0.1.0, whose latest migration is 010-trust. previous-release.json has all rows of all
 * tables, in an order in which they can be inserted. That release wrote them on SQLite, in five processes one after the
 * other. They had different handlers; the last two were killed with SIGKILL while they held leases. Five sent messages
 * were deleted at the end, as the retention deletes them. The times are those of a manual clock, and the names of the
 * processes are shortened. The rows fit both engines: search tables are left out, and search_progress marks all texts as
 * due for indexing. The file is never changed, since it stands for databases that exist.
 */

/** The latest migration of the release. */
const LAST_MIGRATION = '010-trust';

/** The numbers that the database assigns. */
const IDENTITIES = { events: 'sequence', search_threads: 'number', outbox: 'position' };

type Value = string | number | null;

/** A row of the release's table `outbox`; its first migrations explain the columns. */
export interface OutboxRow {
  position: number;
  message_id: string;
  topic: string;
  message_key: string | null;
  payload: string | null;
  event_sequence: number | null;
  status: 'pending' | 'processing' | 'failed' | 'dead' | 'sent' | 'discarded';
  attempts: number;
  max_attempts: number;
  generation: number;
  available_at: number;
  claimable_at: number | null;
  lane: string | null;
  lease_token: string | null;
  leased_by: string | null;
  parked: string | null;
  consumer: string | null;
  origin_id: string | null;
  last_error: string | null;
  history: string;
  created_at: number;
  updated_at: number;
  sent_at: number | null;
  result: string | null;
  traceparent: string | null;
  token_id: string | null;
}

interface Tables {
  outbox: OutboxRow[];
  topics: { topic: string; sent: number; paused: number }[];
  tokens: { token_id: string; secret_hash: string }[];
}

type Values = Record<string, Value>;

/** All rows by table. */
export const previousRelease: Tables & Record<string, object[]> = JSON.parse(
  readFileSync(new URL('previous-release.json', import.meta.url), 'utf8'),
);

/** The time of the last write. Epoch milliseconds. */
export const leftAt = Math.max(...previousRelease.outbox.map(row => row.updated_at));

/** Tokens of the database, which stores only their hashes. The agent's covers `builder` in runs `harbour*`. */
export const previousTokens = {
  admin: 'fbt_b9c9bc7ab107fd2d_1e9a1cedc07d4a2bfc682e77849482a4870a17d4d67def59464c227a48a1dd50',
  operator: 'fbt_9cd472ed6a33de89_e8a69af8a1d5a86ca329316e38a283f9eec02149ada53b7e20e18a330c09e67c',
  agent: 'fbt_baf8e34a6263e9c0_c230f2502cf5d45604f7c2fb43c82525ac658cec85f5e7e8ec08a365c6d46472',
};

/** Makes an empty database one of the previous release, with its data. */
export async function loadPreviousRelease(url: string): Promise<void> {
  const engine = url.startsWith('sqlite:') ? 'sqlite' : 'postgres';
  const db = new Kysely<unknown>({ dialect: dialect(engine, url) });
  try {
    const steps = Object.entries(migrations).map(
      ([name, step]) => [name, { up: (on: Kysely<unknown>) => step(on, engine) }] as const,
    );
    const provider = { getMigrations: async () => Object.fromEntries(steps) };
    const { error } = await new Migrator({ db, provider }).migrateTo(LAST_MIGRATION);
    if (error) throw error;
    await db.transaction().execute(tx => insertAll(tx, engine));
  } finally {
    await db.destroy();
  }
}

async function insertAll(tx: Transaction<unknown>, engine: Engine): Promise<void> {
  const override = sql.raw(engine === 'postgres' ? 'overriding system value' : '');
  for (const [table, rows] of Object.entries(previousRelease) as [string, Values[]][]) {
    for (const row of rows) {
      const columns = sql.join(Object.keys(row).map(column => sql.ref(column)));
      await sql`insert into ${sql.table(table)} (${columns}) ${override} values (${sql.join(Object.values(row))})`.execute(
        tx,
      );
    }
  }
  // SQLite goes on after the largest number by itself.
  if (engine === 'sqlite') return;
  for (const [table, column] of Object.entries(IDENTITIES)) {
    const largest = sql`(select max(${sql.ref(column)}) from ${sql.table(table)})`;
    await sql`select setval(pg_get_serial_sequence(${table}, ${column}), ${largest})`.execute(tx);
  }
}

/** A message, or the copy of it for one consumer. */
interface Expected {
  /** The id of the published message, also for a copy. */
  message_id: string;
  /** Its handler's name without the extension; null if it has not been routed: it is for every handler of its topic. */
  consumer: string | null;
  /** The attempts so far, oldest first. */
  history: { attempt: number; generation: number; outcome: string; error: string | null; worker: string }[];
  row: OutboxRow;
}

export interface Expectations {
  /** They arrive as soon as it is time and there is a handler, in this order per key; a consumer's own copies first. */
  waiting: Expected[];
  /** They arrive when a topic is resumed: their own, or that of an earlier message of their lane. */
  paused: Expected[];
  /** `blocks`: the messages behind it in its lane wait until it is replayed or discarded. */
  dead: (Expected & { blocks: boolean })[];
  /** They wait behind a dead message, whose id is `behind`. */
  blocked: (Expected & { behind: string })[];
  discarded: Expected[];
  /** Published messages that were sent: publishing one again answers the stored one and delivers nothing. */
  sent: Expected[];
  /** Published messages that were deleted before their copies: publishing one again is refused as MESSAGE_EXISTS. */
  deleted: string[];
}

/** What must become of the messages of the previous release, read from its rows. */
export function expectations({ outbox, topics }: Pick<Tables, 'outbox' | 'topics'> = previousRelease): Expectations {
  const pausedTopics = new Set(topics.filter(({ paused }) => paused === 1).map(({ topic }) => topic));
  const ids = new Set(outbox.map(({ message_id }) => message_id));
  const origins = outbox.map(({ origin_id }) => origin_id).filter(id => id !== null);
  const expected: Expectations = {
    waiting: [],
    paused: [],
    dead: [],
    blocked: [],
    discarded: [],
    sent: [],
    deleted: [...new Set(origins.filter(id => !ids.has(id)))],
  };
  /** The first dead message of each lane, and the lanes in which a message of a paused topic has come. */
  const [blocking, held] = [new Map<string, string>(), new Set<string>()];
  for (const row of outbox.toSorted(inOrder)) {
    const { lane, status } = row;
    const one = expectedOf(row);
    const behind = blocking.get(lane ?? '');
    if (status === 'discarded') expected.discarded.push(one);
    else if (status === 'sent') {
      if (row.payload !== null && row.origin_id === null) expected.sent.push(one);
    } else if (status === 'dead') {
      expected.dead.push({ ...one, blocks: lane !== null });
      if (lane !== null && behind === undefined) blocking.set(lane, one.message_id);
    } else if (behind !== undefined) expected.blocked.push({ ...one, behind });
    else if (pausedTopics.has(row.topic) || held.has(lane ?? '')) {
      expected.paused.push(one);
      if (lane !== null) held.add(lane);
    } else expected.waiting.push(one);
  }
  return expected;
}

function expectedOf(row: OutboxRow): Expected {
  return {
    message_id: row.origin_id ?? row.message_id,
    consumer: row.consumer?.replace(/\.\w+$/, '') ?? null,
    history: JSON.parse(row.history),
    row,
  };
}

/** Copies have left the lane of their key, so they come before all that have not been routed. */
function inOrder(a: OutboxRow, b: OutboxRow): number {
  return Number(a.consumer === null) - Number(b.consumer === null) || a.position - b.position;
}

import { type Kysely, sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Old messages that one statement moves. */
const BATCH = 10_000;

/**
 * Subscriptions, and one delivery for each message and subscription. Events are their own outbox: their deliveries are
 * made from the log. Replaces the table `outbox`. What waits or is dead moves; an event that was sent does not.
 */
export const subscriptions: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const counter = sqlite ? 'integer primary key autoincrement' : 'bigint generated always as identity primary key';
  const strict = sqlite ? 'strict' : '';
  const run = async (statements: string[]) => {
    for (const statement of statements) await sql.raw(statement).execute(db);
  };

  await run([
    // PostgreSQL changes no table whose foreign keys are still to be checked.
    ...(sqlite ? [] : ['set constraints all immediate']),
    // traceparent (W3C Trace Context) of the request that caused the event.
    `alter table events add column traceparent ${text}`,

    // A named consumer. topics: its patterns (JSON). dead_policy: whether a dead message blocks its lane. position: the sequence
    // up to which the log has been looked through for it; up to 1,000 further events may have been looked through that
    // do not match. deleted_at: when it was deleted; its deliveries refer to the row until retention deletes them.
    `create table subscriptions (
      subscription_id ${counter},
      name ${text} not null,
      kind ${text} not null check (kind in ('handler')),
      topics ${text} not null,
      dead_policy ${text} not null check (dead_policy in ('pass', 'block')),
      position ${int} not null,
      created_at ${int} not null,
      last_seen_at ${int} not null,
      deleted_at ${int}
    ) ${strict}`,
    `create unique index subscriptions_by_name on subscriptions (name) where deleted_at is null`,

    // The processes that serve a subscription, by the names that their leases have.
    `create table subscription_servers (
      subscription_id ${int} not null references subscriptions,
      process ${text} not null,
      primary key (subscription_id, process)
    ) ${strict}`,

    // A published message; its deliveries have its state. available_at: as its publisher gave it; null if not at all;
    // -1 if that is not known, as of those from before this migration.
    `create table messages (
      number ${counter},
      message_id ${text} not null unique,
      topic ${text} not null,
      message_key ${text},
      payload ${text} not null,
      available_at ${int},
      created_at ${int} not null,
      traceparent ${text},
      token_id ${text}
    ) ${strict}`,

    // One message for one subscription. subscription_id: null while no subscription matches its topic.
    // event_sequence, message_number: the event or the published message; topic and message_key are copies.
    // queued: 1 while it has a place in its lane, the queue of one subscription and one message_key.
    // claimable_at: when a worker may next claim it; set only for heads of lanes and for deliveries without a key. During a
    //   lease it is the end of the lease, so a delivery whose worker died becomes claimable again.
    // parked: 1 while it would be claimable, but its topic is paused.
    `create table deliveries (
      position ${counter},
      subscription_id ${int},
      event_sequence ${int} references events,
      message_number ${int} references messages,
      topic ${text} not null,
      message_key ${text},
      queued ${int} not null check (queued in (0, 1)),
      status ${text} not null check (status in ('pending', 'processing', 'failed', 'dead', 'sent', 'discarded')),
      attempts ${int} not null,
      generation ${int} not null,
      available_at ${int} not null,
      claimable_at ${int},
      parked ${int} not null default 0 check (parked in (0, 1)),
      lease_token ${text},
      leased_by ${text},
      last_error ${text},
      history ${text} not null,
      result ${text},
      created_at ${int} not null,
      updated_at ${int} not null,
      check ((event_sequence is null) <> (message_number is null)),
      check ((status = 'processing') = (lease_token is not null))
    ) ${strict}`,
  ]);

  await move(db, sqlite);

  // What the counts need beside the status; on PostgreSQL it is carried along and not compared.
  const counted = 'topic, subscription_id, created_at, available_at';
  await run([
    'drop table outbox',
    `create index deliveries_claim on deliveries (subscription_id, claimable_at, position) where claimable_at is not null`,
    `create index deliveries_lane on deliveries (subscription_id, message_key, position) where queued = 1`,
    sqlite
      ? `create index deliveries_unsent on deliveries (status, position, ${counted}) where status <> 'sent'`
      : `create index deliveries_unsent on deliveries (status, position) include (${counted}) where status <> 'sent'`,
    // Dead deliveries that hold their lanes back, parked ones, and those that no subscription matches.
    `create index deliveries_blocking on deliveries (subscription_id, message_key) where status = 'dead' and queued = 1`,
    `create index deliveries_parked on deliveries (topic, position) where parked = 1`,
    `create index deliveries_without_consumer on deliveries (topic, position) where subscription_id is null and status <> 'sent'`,
    // The oldest delivery of a lane is its head. An older one may have been replayed while a younger one was handled.
    // Two old lanes may have become one. The first claim parks it if its topic is paused.
    `update deliveries set claimable_at = available_at
      where position in (
        select min(position) from deliveries where queued = 1 and subscription_id is not null
        group by subscription_id, message_key)
      and status in ('pending', 'failed')`,
    `create index deliveries_by_topic on deliveries (topic, position)`,
    `create index deliveries_by_subscription on deliveries (subscription_id, position)`,
    `create index deliveries_by_key on deliveries (message_key, position)`,
    `create index deliveries_of_event on deliveries (event_sequence, position) where event_sequence is not null`,
    `create index deliveries_of_message on deliveries (message_number, position) where message_number is not null`,
  ]);
};

interface Old {
  outbox: { position: number; consumer: string | null; status: string };
  events: { sequence: number };
  subscriptions: Record<'name' | 'kind' | 'topics' | 'dead_policy', string> &
    Record<'position' | 'created_at' | 'last_seen_at', number>;
}

/**
 * Moves the messages of the old table in batches. A message that was not split among its handlers yet goes to every
 * subscription of the next start that matches. A copy goes to the subscription with the name of its handler.
 */
async function move(db: Kysely<unknown>, sqlite: boolean): Promise<void> {
  const old = db as unknown as Kysely<Old>;
  const copies = old
    .selectFrom('outbox')
    .select('consumer')
    .distinct()
    .where('consumer', 'is not', null)
    .orderBy('consumer');
  const consumers = (await copies.execute()).map(row => row.consumer as string);
  const head = await old
    .selectFrom('events')
    .select('sequence')
    .orderBy('sequence', 'desc')
    .limit(1)
    .executeTakeFirst();
  // The name of a subscription has no extension: of two consumers that differ by it, one takes the copies of both.
  const nameOf = (consumer: string) => consumer.replace(/\.(ts|js|mjs)$/, '');
  for (const name of new Set(consumers.map(nameOf))) {
    const now = Date.now();
    const times = { position: head?.sequence ?? 0, created_at: now, last_seen_at: now };
    await old
      .insertInto('subscriptions')
      .values({ name, kind: 'handler', topics: '[]', dead_policy: 'pass', ...times })
      .execute();
  }
  const cases = consumers.map(consumer => sql`when ${consumer} then cast(${nameOf(consumer)} as text)`);
  const name = consumers.length === 0 ? sql`null` : sql`case consumer ${sql.join(cases, sql` `)} end`;
  const substring = sqlite ? sql`substr` : sql`substring`;

  const last = await old
    .selectFrom('outbox')
    .select('position')
    .orderBy('position', 'desc')
    .limit(1)
    .executeTakeFirst();
  for (let from = 0; from < (last?.position ?? 0); from += BATCH) {
    const batch = sql`outbox.position > ${from} and outbox.position <= ${from + BATCH}`;
    // A copy whose original has been deleted brings the message.
    await sql`insert into messages (message_id, topic, message_key, payload, available_at, created_at, traceparent, token_id)
      select coalesce(origin_id, message_id), topic, message_key, payload, -1, created_at, traceparent, token_id
      from outbox where ${batch} and payload is not null order by position
      on conflict do nothing`.execute(db);
    // An event had its trace in its message only.
    await sql`update events set traceparent = outbox.traceparent from outbox
      where ${batch} and outbox.event_sequence = events.sequence and outbox.traceparent is not null
        and outbox.status <> 'sent'`.execute(db);
    await sql`insert into deliveries (
        subscription_id, event_sequence, message_number, topic, message_key, queued, status, attempts, generation,
        available_at, claimable_at, parked, last_error, history, result, created_at, updated_at)
      select subscription_id, event_sequence,
        case when outbox.payload is not null then
          (select number from messages where messages.message_id = coalesce(outbox.origin_id, outbox.message_id)) end,
        topic, message_key,
        case when lane is not null and (subscription_id is not null or status = 'dead') then 1 else 0 end,
        case status when 'processing' then 'pending' else status end,
        attempts, generation, available_at,
        case when subscription_id is null or lane is not null or status = 'dead' then null
          when status = 'processing' or parked like 'handler:%' then available_at
          when parked is not null then null
          else claimable_at end,
        case when subscription_id is not null and lane is null and ${substring}(parked, 1, 7) = 'resume:' then 1 else 0 end,
        last_error, history, result, outbox.created_at, updated_at
      from outbox left join subscriptions on subscriptions.name = ${name}
      where ${batch} and not (event_sequence is not null and status = 'sent')
      order by outbox.position`.execute(db);
  }
}

import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Webhooks: subscriptions whose deliveries are sent to a URL. Reminders of questions, and agents that are silent. */
export const webhooks: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const counter = sqlite ? 'integer primary key autoincrement' : 'bigint generated always as identity primary key';
  const strict = sqlite ? 'strict' : '';
  const columns = 'subscription_id, name, kind, topics, dead_policy, position, created_at, last_seen_at, deleted_at';

  // kind: what serves it. filter: what an event must have besides its topic (JSON), such as `{"run_id":"run-7"}`; null for all.
  // A disabled webhook has no topics.
  const addKind = sqlite
    ? [
        // SQLite cannot change a check. Who serves what is written again at each start.
        'drop table subscription_servers',
        `create table subscriptions_before as select ${columns} from subscriptions`,
        'drop table subscriptions',
        `create table subscriptions (
          subscription_id ${counter},
          name ${text} not null,
          kind ${text} not null check (kind in ('handler', 'webhook')),
          topics ${text} not null,
          filter ${text},
          dead_policy ${text} not null check (dead_policy in ('pass', 'block')),
          position ${int} not null,
          created_at ${int} not null,
          last_seen_at ${int} not null,
          deleted_at ${int}
        ) ${strict}`,
        `insert into subscriptions (${columns}) select ${columns} from subscriptions_before`,
        'drop table subscriptions_before',
        `create unique index subscriptions_by_name on subscriptions (name) where deleted_at is null`,
        `create table subscription_servers (
          subscription_id ${int} not null references subscriptions,
          process ${text} not null,
          primary key (subscription_id, process)
        ) ${strict}`,
      ]
    : [
        'set constraints all immediate',
        `alter table subscriptions drop constraint subscriptions_kind_check`,
        `alter table subscriptions add check (kind in ('handler', 'webhook'))`,
        `alter table subscriptions add column filter ${text}`,
      ];

  const statements = [
    ...addKind,

    // The endpoint of a subscription of the kind webhook. format: what is sent there. settings: what a channel needs besides
    // its URL (JSON), such as `{"topic":"alerts"}`. event_types, filter: as they were given (JSON).
    // secrets: the signing secrets, the newest first (JSON), each with its `expires_at` in epoch milliseconds or null.
    // answer_links: 1 if questions are sent with a link at which anyone with it may answer.
    // enabled: 0 while nothing is sent. disabled_reason: why the service itself disabled it; null if a person did.
    // failures: failed attempts since the last success; while the circuit is open only probes count. failing_since: the first
    // of them; null without any. probe_at: the circuit is open, and nothing is sent before this time; null if it is closed.
    `create table webhooks (
      subscription_id ${int} primary key references subscriptions,
      url ${text} not null,
      format ${text} not null check (
        format in ('standard', 'slack', 'discord', 'teams', 'ntfy', 'telegram', 'email', 'webpush')),
      settings ${text} not null,
      event_types ${text} not null,
      filter ${text} not null,
      secrets ${text} not null,
      description ${text},
      answer_links ${int} not null check (answer_links in (0, 1)),
      enabled ${int} not null check (enabled in (0, 1)),
      disabled_reason ${text} check (disabled_reason in ('gone', 'failing', 'secret_expired')),
      failures ${int} not null default 0,
      failing_since ${int},
      probe_at ${int},
      created_at ${int} not null,
      updated_at ${int} not null,
      version ${int} not null
    ) ${strict}`,

    // A range of the log that a webhook is to get again. after_sequence: how far that has come. up_to: the last event.
    // missing: 1 if only events are wanted that were not sent.
    `create table webhook_replays (
      number ${counter},
      subscription_id ${int} not null references subscriptions,
      after_sequence ${int} not null,
      up_to ${int} not null,
      missing ${int} not null check (missing in (0, 1))
    ) ${strict}`,

    // What a subscription did not get: dead and discarded deliveries. Those that are sent never stand here.
    `create index deliveries_ended_unsent on deliveries (subscription_id, status, position) where status in ('dead', 'discarded')`,

    // Messages about questions that can be changed. reference: the message, as its channel names it.
    `create table webhook_messages (
      number ${counter},
      subscription_id ${int} not null references subscriptions,
      question_id ${text} not null,
      reference ${text} not null,
      told_at ${int} not null
    ) ${strict}`,
    `create unique index webhook_messages_by_question on webhook_messages (subscription_id, question_id, reference)`,

    // What is followed for presses on buttons, such as a bot. source: a hash of its address and token. process: who follows it;
    // null if nobody does. position: the last press that was taken, as its channel numbers them.
    `create table webhook_sources (
      source ${text} primary key,
      process ${text},
      position ${text}
    ) ${strict}`,

    // The secret that signs answer links: one row.
    `create table link_secrets (secret ${text} not null) ${strict}`,
    `insert into link_secrets values ('${randomBytes(32).toString('hex')}')`,

    // remind_at: when the question is called to mind if it is still open; null if it is not, or was.
    `alter table questions add column remind_at ${int}`,
    `create index questions_by_reminder on questions (remind_at) where remind_at is not null`,
    `create index control_threads_working on control_threads (last_seen_at) where status = 'working'`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};

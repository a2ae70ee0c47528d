import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/**
 * The event log, its projections (threads, control threads, questions) and the outbox.
 * Times are epoch milliseconds, JSON is text, actors are `type:name`, priorities are ranks (0 urgent … 3 low).
 */
export const spine: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  // Text is compared byte by byte on both engines, whatever the locale of the server.
  const text = sqlite ? 'text' : 'text collate "C"';
  const counter = sqlite ? 'integer primary key autoincrement' : 'bigint generated always as identity primary key';
  const strict = sqlite ? 'strict' : '';

  const statements = [
    // last_*_post, last_answered: event sequences (0: never), which decide whether a thread is unanswered.
    `create table threads (
      thread_id ${text} primary key,
      kind ${text} not null check (kind in ('control', 'discussion')),
      title ${text} not null,
      state ${text} not null check (state in ('new', 'triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed')),
      priority ${int} not null check (priority between 0 and 3),
      assignee ${text},
      ticket ${text},
      run_id ${text},
      agent_name ${text},
      opened_by ${text} not null,
      opened_at ${int} not null,
      last_actor ${text} not null,
      updated_at ${int} not null,
      closed_at ${int},
      posts_count ${int} not null,
      last_sequence ${int} not null,
      last_agent_post ${int} not null,
      last_human_post ${int} not null,
      last_answered ${int} not null,
      version ${int} not null,
      check (kind <> 'control' or (run_id is not null and agent_name is not null))
    ) ${strict}`,
    `create unique index threads_one_control_thread on threads (run_id, agent_name) where kind = 'control'`,

    // The event log. sequence never reuses a number, even after its last rows are deleted.
    `create table events (
      sequence ${counter},
      event_id ${text} not null unique,
      event_type ${text} not null,
      event_version ${int} not null,
      occurred_at ${int} not null,
      thread_id ${text} references threads deferrable initially deferred,
      run_id ${text},
      ticket ${text},
      agent_name ${text},
      actor ${text} not null,
      correlation_id ${text} not null,
      causation_id ${text},
      payload ${text} not null
    ) ${strict}`,
    `create index events_by_thread on events (thread_id, sequence)`,
    `create index events_by_run on events (run_id, sequence)`,
    `create index events_by_agent on events (agent_name, sequence)`,
    `create index events_by_type on events (event_type, sequence)`,

    // An agent's control state in its current attempt. open_questions: their ids (JSON). completion_sequence and
    // validation_sequence: the events that reported them.
    `create table control_threads (
      run_id ${text} not null,
      agent_name ${text} not null,
      thread_id ${text} not null unique references threads deferrable initially deferred,
      attempt ${int} not null,
      open_questions ${text} not null,
      completion_sequence ${int} references events,
      validation_sequence ${int} references events,
      validation_status ${text} check (validation_status in ('passed', 'failed')),
      status ${text} not null check (status in ('awaiting_guidance', 'validated', 'validation_failed', 'completed', 'working')),
      version ${int} not null,
      primary key (run_id, agent_name)
    ) ${strict}`,
    `create index control_threads_by_status on control_threads (status, run_id, agent_name)`,

    // The state of a question; its text is in the event at asked_sequence.
    `create table questions (
      question_id ${text} primary key,
      thread_id ${text} not null references threads deferrable initially deferred,
      run_id ${text} not null,
      agent_name ${text} not null,
      state ${text} not null check (state in ('open', 'answered', 'expired', 'cancelled', 'superseded')),
      priority ${int} not null check (priority between 0 and 3),
      asked_sequence ${int} not null references events,
      asked_at ${int} not null,
      expires_at ${int},
      supersedes ${text} references questions,
      answer_sequence ${int} references events,
      answer ${text},
      selected ${text},
      answered_by ${text},
      answered_at ${int},
      default_applied ${int} not null check (default_applied in (0, 1)),
      acknowledged_at ${int},
      version ${int} not null
    ) ${strict}`,
    `create index questions_inbox on questions (priority, asked_sequence)`,
    `create index questions_by_state on questions (state, priority, asked_sequence)`,
    `create index questions_by_agent on questions (run_id, agent_name, state, priority, asked_sequence)`,
    `create index questions_by_run on questions (run_id, priority, asked_sequence)`,
    `create index questions_by_name on questions (agent_name, priority, asked_sequence)`,

    // One row per message. A message of an event has no payload of its own, only event_sequence.
    // lane: set while the message is queued among the messages of its key; null after that, and without a key.
    // claimable_at: when a worker may next claim the message; set only for lane heads and for messages without a key.
    //   During a lease it is the end of the lease, so a message whose worker died becomes claimable again.
    // parked: the condition that a lane head waits for, if not a time: `handler:<topic>`, `handler:<topic>:<consumer>`
    //   or `resume:<topic>`.
    // consumer, origin_id: the handler, and the published message. A topic with several handlers has a row for each.
    `create table outbox (
      position ${counter},
      message_id ${text} not null unique,
      topic ${text} not null,
      message_key ${text},
      payload ${text},
      event_sequence ${int} references events,
      status ${text} not null check (status in ('pending', 'processing', 'failed', 'dead', 'sent', 'discarded')),
      attempts ${int} not null,
      max_attempts ${int} not null,
      generation ${int} not null,
      available_at ${int} not null,
      claimable_at ${int},
      lane ${text},
      lease_token ${text},
      leased_by ${text},
      parked ${text},
      consumer ${text},
      origin_id ${text},
      last_error ${text},
      history ${text} not null,
      created_at ${int} not null,
      updated_at ${int} not null,
      sent_at ${int},
      check ((payload is null) <> (event_sequence is null)),
      check ((status = 'processing') = (lease_token is not null))
    ) ${strict}`,
    `create index outbox_claim on outbox (claimable_at, position) where claimable_at is not null`,
    `create index outbox_lane on outbox (lane, position) where lane is not null`,
    `create unique index outbox_one_head_per_lane on outbox (lane) where claimable_at is not null and lane is not null`,
    `create index outbox_unsent on outbox (status, position) where status <> 'sent'`,
    `create index outbox_parked on outbox (parked, position) where parked is not null`,
    `create index outbox_by_topic on outbox (topic, position)`,
    `create index outbox_by_key on outbox (message_key, position)`,

    // sent: the number of sent messages, maintained so that reading it does not scan the history.
    `create table topics (
      topic ${text} primary key,
      sent ${int} not null default 0,
      paused ${int} not null default 0 check (paused in (0, 1))
    ) ${strict}`,
    `create index topics_paused on topics (topic) where paused = 1`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};

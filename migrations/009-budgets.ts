import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** What an act, an answer and a page may cost, whatever else is stored. */
export const budgets: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const member = (json: string, name: string) =>
    sqlite ? `json_extract(${json}, '$.${name}')` : `(${json}::jsonb ->> '${name}')`;

  const statements = [
    // PostgreSQL changes no table whose foreign keys are still to be checked.
    ...(sqlite ? [] : ['set constraints all immediate']),
    // open_questions_count replaces the list of ids, which each question rewrote whole. The ids come from questions.
    `alter table control_threads add column open_questions_count ${int} not null default 0`,
    `update control_threads set open_questions_count = (
       select count(*) from questions where questions.thread_id = control_threads.thread_id and state = 'open')`,
    `alter table control_threads drop column open_questions`,
    `create index questions_open_by_agent on questions (run_id, agent_name, asked_sequence) where state = 'open'`,
    // The agents that keep a run open, which the gate names.
    `create index control_threads_blocking on control_threads (run_id, agent_name)
       where status <> 'validated' or criteria_met = 0`,

    // has_default: whether a default stands in when the question expires. Its text is in the event at asked_sequence.
    `alter table questions add column has_default ${int} not null default 0 check (has_default in (0, 1))`,
    `update questions set has_default = 1 where state = 'open' and expires_at is not null and (
       select ${member('payload', 'default_answer')} from events where sequence = asked_sequence) is not null`,
    `create index questions_closed_by_run on questions (run_id, state, priority, asked_sequence) where state <> 'open'`,

    // awaits_person: a question of the thread expired, and no person has posted or changed the state since.
    `alter table threads add column awaits_person ${int} not null default 0 check (awaits_person in (0, 1))`,
    // A thread with very many open questions closes first; they are cancelled in batches after that.
    `create index threads_withdrawing on threads (thread_id) where state = 'closed' and open_questions > 0`,

    // Each combination of filters of the log reads one index. A thread has one run and one agent, so it needs its type
    // only.
    `create index events_by_thread_and_type on events (thread_id, event_type, sequence)`,
    `create index events_by_run_and_type on events (run_id, event_type, sequence)`,
    `create index events_by_agent_and_type on events (agent_name, event_type, sequence)`,
    `create index events_by_run_and_agent on events (run_id, agent_name, sequence)`,
    `create index events_by_run_agent_and_type on events (run_id, agent_name, event_type, sequence)`,

    // reference: identifies the effect of the request, if its answer is too large to store; body is empty then.
    `alter table idempotency_keys add column reference ${text}`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};

import { type Kysely, sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Events that one statement looks at. */
const BATCH = 10_000;

/** What agents need: an inbox, where answers were given, and when an agent was last seen. */
export const agents: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const strict = sqlite ? 'strict' : '';
  const statements = [
    // PostgreSQL changes no table whose foreign keys are still to be checked.
    ...(sqlite ? [] : ['set constraints all immediate']),
    // answered_in: where the answer was given, such as `cli`; null without an answer. Those from before, which have none,
    // came over the API.
    `alter table questions add column answered_in ${text}`,

    // last_seen_at: the latest act or wait of the agent itself; of waits at most one per 30 seconds is stored. Null for agents
    // that have done nothing since this migration.
    `alter table control_threads add column last_seen_at ${int}`,

    // News for an agent that it has not acknowledged; an acknowledged item is deleted.
    // sequence: the event that ended a question, or that added a message of a person. question_id: null for a message.
    // created_at: when the event occurred. claimed_by: the last claimant. claimed_until: the end of its lease, on the clock of
    // leases; 0 if nobody has claimed the item.
    `create table inbox_items (
      sequence ${int} primary key references events,
      run_id ${text} not null,
      agent_name ${text} not null,
      question_id ${text} references questions deferrable initially deferred,
      created_at ${int} not null,
      claimed_by ${text},
      claimed_until ${int} not null default 0
    ) ${strict}`,
    `create index inbox_items_by_agent on inbox_items (run_id, agent_name, sequence)`,
    `create index inbox_items_by_lease on inbox_items (run_id, agent_name, claimed_until)`,
    `create unique index inbox_items_of_question on inbox_items (question_id) where question_id is not null`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
  await addEnded(db, sqlite);
};

/** Makes an item of each question that ended and that its agent has not acknowledged. */
async function addEnded(db: Kysely<unknown>, sqlite: boolean): Promise<void> {
  const question_id = sqlite ? sql`payload ->> '$.question_id'` : sql`payload::jsonb ->> 'question_id'`;
  for (const type of ['answered', 'expired', 'cancelled']) {
    for (let after = 0; ; ) {
      const ended = sql`select sequence, occurred_at, payload from events
        where event_type = ${`forum.question.${type}`} and sequence > ${after} order by sequence limit ${sql.lit(BATCH)}`;
      await sql`insert into inbox_items (sequence, run_id, agent_name, question_id, created_at)
        select ended.sequence, questions.run_id, questions.agent_name, questions.question_id, ended.occurred_at
        from (${ended}) as ended join questions on questions.question_id = ${question_id}
        where questions.state = ${type} and questions.acknowledged_at is null`.execute(db);
      const { rows } = await sql<{
        last: number | null;
      }>`select max(sequence) as last from (${ended}) as ended`.execute(db);
      const last = rows[0]?.last ?? null;
      if (last === null) break;
      after = Number(last);
    }
  }
}

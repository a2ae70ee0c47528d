import { type Kysely, sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Events that one statement looks at. */
const BATCH = 10_000;

/** Questions that one statement changes. */
const QUESTIONS = 5000;

/** What agents need: an inbox, where answers were given, when an agent was last seen, and more lists of questions. */
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

    // last_seen_at: the latest act or wait of the agent itself; of waits at most one per 30 seconds is stored. Null if
    // nothing is known. Of the time before this migration it is the latest post, if that was the agent's.
    `alter table control_threads add column last_seen_at ${int}`,
    `update control_threads set last_seen_at = (
       select occurred_at from threads join events on events.sequence = threads.last_agent_post
       where threads.thread_id = control_threads.thread_id and events.actor = 'agent:' || control_threads.agent_name)`,

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
  const run = async (all: string[]) => {
    for (const statement of all) await sql.raw(statement).execute(db);
  };
  await run(statements);
  await addEnded(db, sqlite);

  await run([
    // ticket: of the request. phase: what the indexes have in place of the state: 0 open; 1, 3, 5 answered, expired,
    // cancelled, and 2, 4, 6 the same acknowledged; 7 superseded.
    `alter table questions add column ticket ${text}`,
    `alter table questions add column phase ${int} not null default 0 check (phase between 0 and 7)`,
    // An expression, so that no planner takes this index for a list.
    `create unique index questions_by_sequence on questions ((asked_sequence + 0))`,
  ]);
  await addPhases(db);
  const lists: [name: string, columns: string[]][] = [
    ['phase', []],
    ['run', ['run_id']],
    ['name', ['agent_name']],
    ['agent', ['run_id', 'agent_name']],
    ['ticket', ['ticket']],
    ['ticket_and_run', ['ticket', 'run_id']],
    ['ticket_and_name', ['ticket', 'agent_name']],
    ['ticket_and_agent', ['ticket', 'run_id', 'agent_name']],
  ];
  await run([
    ...(sqlite ? [] : ['set constraints all immediate']),
    ...['inbox', 'closed_by_state', 'open', 'by_agent', 'by_run', 'by_name', 'open_by_run', 'open_by_name'].map(
      name => `drop index questions_${name}`,
    ),
    `drop index questions_closed_by_run`,
    // Each combination of filters reads ranges of one index: one per phase and, where the order needs it, per priority. Each
    // index spells the phase in its own way, so that no planner takes one that lacks a column.
    ...lists.map(
      ([name, columns], number) =>
        `create index questions_by_${name} on questions (${[...columns, `(phase + ${number})`, 'priority', 'asked_sequence']})
         ${columns.includes('ticket') ? 'where ticket is not null' : ''}`,
    ),
    `create index questions_by_time on questions (asked_at, asked_sequence)`,

    // The words of questions; rowid is the asked_sequence.
    ...(sqlite
      ? [
          `create virtual table search_questions using fts5(
             words, content = '', columnsize = 0, detail = 'none', tokenize = 'ascii')`,
          `create virtual table search_questions_words using fts5vocab('search_questions', 'row')`,
          `insert into search_questions (search_questions, rank) values ('automerge', 16)`,
        ]
      : [
          `create table search_questions (rowid bigint primary key, words tsvector not null)`,
          `create index search_questions_words on search_questions using gin (words)`,
        ]),
    // Questions below this sequence are still to be indexed, newest first: a maintenance job does it, since that takes
    // long. No row when it is done.
    `create table search_questions_left (below ${int} primary key) ${strict}`,
    `insert into search_questions_left select max(asked_sequence) + 1 from questions having count(*) > 0`,
  ]);
};

/** Fills the new columns of questions. */
async function addPhases(db: Kysely<unknown>): Promise<void> {
  for (let after = 0; ; ) {
    const batch = sql`select asked_sequence from questions where asked_sequence + 0 > ${after}
      order by asked_sequence + 0 limit ${sql.lit(QUESTIONS)}`;
    const { rows } = await sql<{
      last: number | null;
    }>`select max(asked_sequence) as last from (${batch}) as batch`.execute(db);
    const last = rows[0]?.last ?? null;
    if (last === null) return;
    await sql`update questions set
        ticket = (select ticket from events where sequence = asked_sequence),
        phase = case state when 'open' then 0 when 'answered' then 1 when 'expired' then 3 when 'cancelled' then 5 else 7 end
          + case when acknowledged_at is not null and state in ('answered', 'expired', 'cancelled') then 1 else 0 end
      where asked_sequence + 0 > ${after} and asked_sequence + 0 <= ${last}`.execute(db);
    after = Number(last);
  }
}

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

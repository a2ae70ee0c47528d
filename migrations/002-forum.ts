import { type Kysely, sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Thread lists, search, seen marks of viewers, runs, counts and expiring questions. */
export const forum: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const strict = sqlite ? 'strict' : '';
  const member = (json: string, name: string) =>
    sqlite ? `json_extract(${json}, '$.${name}')` : `(${json}::jsonb ->> '${name}')`;

  const statements = [
    // opened_sequence: the thread's first event. open_questions: the number of open questions in a control thread.
    // place: the sort key of thread lists as one number, so that lists need one index column and one comparison.
    //   It is the priority times 2^48 minus last_sequence.
    `alter table threads add column opened_sequence ${int} not null default 0`,
    `alter table threads add column place ${int} not null default 0`,
    `alter table threads add column open_questions ${int} not null default 0`,
    `update threads set
       opened_sequence = coalesce((select min(sequence) from events where events.thread_id = threads.thread_id), 0),
       place = priority * 281474976710656 - last_sequence,
       open_questions = (select count(*) from questions where questions.thread_id = threads.thread_id and state = 'open')`,
    `create index threads_by_opening on threads (opened_sequence)`,
    `create index threads_by_place on threads (place)`,
    ...['run_id', 'ticket', 'assignee', 'agent_name', 'kind'].map(
      column =>
        `create index threads_by_${column} on threads (${column}, state, place) ${column === 'kind' ? '' : `where ${column} is not null`}`,
    ),
    `create index threads_unanswered on threads (place)
       where state <> 'closed' and last_agent_post > last_human_post and last_agent_post > last_answered`,

    // The threads that a viewer has seen, as ranges of places: a thread is seen while its place is in a range.
    // A new event gives its thread a place that no thread has had, so the thread becomes unseen.
    `create table seen (
      viewer ${text} not null,
      first_place ${int} not null,
      last_place ${int} not null,
      primary key (viewer, first_place),
      check (first_place <= last_place)
    ) ${strict}`,

    // The sums over the agents of a run. brief: JSON, as filed. clear_count: agents that no longer keep the run open.
    // absent_count: agents that the brief names and that have sent no signal.
    `create table runs (
      run_id ${text} primary key,
      opened_sequence ${int} not null,
      brief ${text},
      first_ticket ${text},
      ticket ${text},
      title ${text},
      status ${text} not null check (status in ('closed', 'awaiting_guidance', 'completed', 'running')),
      agents_count ${int} not null,
      open_questions_count ${int} not null,
      clear_count ${int} not null,
      absent_count ${int} not null,
      updated_at ${int} not null,
      closed_at ${int},
      version ${int} not null
    ) ${strict}`,
    `create index runs_by_opening on runs (opened_sequence)`,
    `create index runs_by_status on runs (status, opened_sequence)`,
    `create index runs_by_ticket on runs (ticket, opened_sequence) where ticket is not null`,
    `insert into runs
       select run_id, opened_sequence, null, ticket, ticket, null,
         case when open_questions > 0 then 'awaiting_guidance' when clear = agents then 'completed' else 'running' end,
         agents, open_questions, clear, 0, updated_at, null, 1
       from (
         select threads.run_id as run_id, min(opened_sequence) as opened_sequence, (
             select ticket from events
             where events.run_id = threads.run_id and ticket is not null and event_type = 'forum.control.signal'
             order by sequence limit 1
           ) as ticket,
           count(*) as agents, sum(threads.open_questions) as open_questions, max(updated_at) as updated_at,
           sum(case when control_threads.status = 'validated' then 1 else 0 end) as clear
         from control_threads join threads on threads.thread_id = control_threads.thread_id
         group by threads.run_id
       ) as added_up`,

    // criteria_met: whether the latest validation was made against the criteria of the run's brief.
    `alter table control_threads add column criteria_met ${int} not null default 0 check (criteria_met in (0, 1))`,
    `update control_threads set criteria_met = 1 where validation_sequence is not null`,

    // The number of rows per value, maintained so that reading it scans nothing.
    `create table counts (
      subject ${text} not null,
      value ${text} not null,
      count ${int} not null,
      primary key (subject, value)
    ) ${strict}`,
    `create index counts_largest on counts (subject, count) where subject in ('thread_ticket', 'thread_run')`,
    ...['state', 'ticket', 'run_id'].map(
      column => `insert into counts select 'thread_${column.replace('_id', '')}', ${column}, count(*) from threads
        where ${column} is not null group by ${column}`,
    ),
    `insert into counts select 'thread_priority', case priority when 0 then 'urgent' when 1 then 'high' when 2 then 'normal' else 'low' end,
       count(*) from threads group by priority`,
    `insert into counts select 'signal_type', control_type, count(*) from (
       select ${member('payload', 'control_type')} as control_type from events where event_type = 'forum.control.signal'
     ) as signals group by control_type`,

    // Partial indexes for open questions: whatever plan the engine chooses, frequent queries for open questions never
    // scan closed ones.
    `drop index questions_by_state`,
    `create index questions_closed_by_state on questions (state, priority, asked_sequence) where state <> 'open'`,
    `create index questions_open on questions (priority, asked_sequence) where state = 'open'`,
    `create index questions_open_by_run on questions (run_id, priority, asked_sequence) where state = 'open'`,
    `create index questions_open_by_name on questions (agent_name, priority, asked_sequence) where state = 'open'`,
    `create index questions_expiring on questions (expires_at) where state = 'open' and expires_at is not null`,

    // result: data that the handler recorded on the message, such as ids (JSON).
    `alter table outbox add column result ${text}`,

    // The words of titles, first posts and replies. rowid: the thread's opened_sequence in the high bits, the number of
    // the post in the low 22. The service normalises the words, so that both engines match alike.
    ...['titles', 'openings', 'replies'].flatMap(name =>
      sqlite
        ? [
            `create virtual table search_${name} using fts5(
               words, content = '', columnsize = 0, detail = 'none', prefix = '2 3 4 5', tokenize = 'ascii')`,
            `create virtual table search_${name}_words using fts5vocab('search_${name}', 'row')`,
          ]
        : [
            `create table search_${name} (rowid bigint primary key, words tsvector not null)`,
            `create index search_${name}_words on search_${name} using gin (words)`,
          ],
    ),
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
  await indexPosts(db, sqlite);
};

/** Indexes the posts that exist before this migration. */
async function indexPosts(db: Kysely<unknown>, sqlite: boolean): Promise<void> {
  const numbers = new Map<string, number>();
  const insert = async (table: string, rowid: number, words: string[]) => {
    if (words.length === 0) return;
    const values = sqlite ? sql`${words.join(' ')}` : sql`${words.map(word => `'${word}'`).join(' ')}::tsvector`;
    await sql`insert into ${sql.table(table)} (rowid, words) values (${rowid}, ${values})`.execute(db);
  };
  for (let after = 0; ; ) {
    const { rows } = await sql<{
      sequence: number;
      thread_id: string;
      payload: string;
      title: string;
      kind: string;
      opened_sequence: number;
    }>`select events.sequence, events.thread_id, events.payload, threads.title, threads.kind, threads.opened_sequence
       from events join threads on threads.thread_id = events.thread_id
       where events.sequence > ${after} and events.event_type in ('forum.post.added', 'forum.control.signal')
       order by events.sequence limit 100`.execute(db);
    for (const { thread_id, title, kind, opened_sequence, payload } of rows) {
      const number = (numbers.get(thread_id) ?? 0) + 1;
      numbers.set(thread_id, number);
      const rowid = opened_sequence * 2 ** 22 + number;
      if (number === 1) await insert('search_titles', rowid, wordsOf(title));
      const said = bodyOf(JSON.parse(payload));
      if (number === 1) await insert('search_openings', rowid, wordsOf(`${title} ${said}`));
      else await insert('search_replies', rowid, wordsOf(kind === 'control' ? said : `${title} ${said}`));
    }
    const last = rows.at(-1);
    if (!last) return;
    after = last.sequence;
  }
}

function bodyOf({
  control_type,
  body,
  question,
  answer,
  summary,
  status,
  done_criteria,
}: Record<string, string>): string {
  switch (control_type) {
    case undefined:
      return String(body);
    case 'guidance_request':
      return String(question);
    case 'guidance_answer':
      return String(answer);
    case 'completion':
      return summary ?? 'Completed.';
    default:
      return `Validation ${status}: ${done_criteria}`;
  }
}

const WORD =
  /[[\p{L}\p{N}]&&[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]]|[[\p{L}\p{N}]--[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]]+/gv;

function wordsOf(text: string): string[] {
  const unfolded = text.slice(0, 100_000).normalize('NFKD').slice(0, 100_000);
  const plain = unfolded.replaceAll(/\p{M}/gu, '').toLowerCase().replaceAll('ς', 'σ');
  return [...new Set((plain.match(WORD) ?? []).map(word => word.slice(0, 64).replace(/\p{Cs}$/u, '')))];
}

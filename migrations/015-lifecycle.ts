import { sql } from 'kysely';
import type { Migration } from './migration.ts';

/** Runs whose texts are erased, and what is found by its run when that happens. */
export const lifecycle: Migration = async (db, engine) => {
  const sqlite = engine === 'sqlite';
  const int = sqlite ? 'integer' : 'bigint';
  const text = sqlite ? 'text' : 'text collate "C"';
  const strict = sqlite ? 'strict' : '';
  const member = (json: string, path: string) =>
    sqlite ? `json_extract(${json}, '$.${path}')` : `(${json}::jsonb #>> '{${path.replaceAll('.', ',')}}')`;

  // The server reads no JSON with such escapes. Such a row counts as one of no run.
  const isReadable = (json: string) =>
    sqlite ? `${json} like '{%'` : `${json} like '{%' and ${json} !~* '\\\\u(0000|d[89a-f])'`;

  const statements = [
    // erased_at: when the texts of the run were erased; null for all others.
    `alter table runs add column erased_at ${int}`,
    // What a retention by age looks for, the oldest first.
    `create index runs_by_close on runs (closed_at) where closed_at is not null and erased_at is null`,

    // Erasures that are not done: a job goes on with them, a piece per transaction. What they have not reached yet is masked
    // where it is read. erased_sequence: the event of the erasure; it erases what stands before.
    // phase: what is being erased: words, events, agents, keys or messages. at: how far that has come, as a sequence.
    // post, posts: within the thread after it, the last post that is done, and the number of those; only for words.
    `create table erasures (
      run_id ${text} primary key,
      erased_sequence ${int} not null,
      phase ${text} not null check (phase in ('words', 'events', 'agents', 'keys', 'messages')),
      at ${int} not null,
      post ${int} not null,
      posts ${int} not null
    ) ${strict}`,

    // run_id: the run that the answer is about; null for all others, and once it is erased.
    `alter table idempotency_keys add column run_id ${text}`,
    `update idempotency_keys set run_id = coalesce(${['run_id', 'signal.run_id', 'thread.run_id', 'payload.run_id']
      .map(path => member('body', path))
      .join(', ')}) where ${isReadable('body')}`,
    `create index idempotency_keys_by_run on idempotency_keys (run_id) where run_id is not null`,

    // run_id: the run that the payload names, itself or by its thread; null for all others, and once it is erased.
    `alter table messages add column run_id ${text}`,
    `update messages set run_id = coalesce(${member('payload', 'run_id')}, (
       select threads.run_id from threads where thread_id = ${member('payload', 'thread_id')})) where ${isReadable('payload')}`,
    `create index messages_by_run on messages (run_id, number) where run_id is not null`,

    `create index webhook_messages_of_question on webhook_messages (question_id)`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
};

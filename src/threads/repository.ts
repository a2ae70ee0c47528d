import type { Reader, Tx } from '../db/database.ts';
import type { ThreadRow } from './thread.ts';

export async function findThread(reader: Reader, threadId: string): Promise<ThreadRow | undefined> {
  return reader.query.selectFrom('threads').selectAll().where('thread_id', '=', threadId).executeTakeFirst();
}

export async function insertThread(tx: Tx, row: ThreadRow): Promise<void> {
  await tx.query.insertInto('threads').values(row).execute();
}

/** Stores what can change of a thread. */
export async function updateThread(tx: Tx, row: ThreadRow): Promise<void> {
  const { state, priority, assignee, ticket, last_actor, updated_at, closed_at, posts_count, last_sequence } = row;
  const { last_agent_post, last_human_post, last_answered, version } = row;
  await tx.query
    .updateTable('threads')
    .set({ state, priority, assignee, ticket, last_actor, updated_at, closed_at, posts_count, last_sequence })
    .set({ last_agent_post, last_human_post, last_answered, version })
    .where('thread_id', '=', row.thread_id)
    .execute();
}

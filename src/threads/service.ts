import { type Clock, type NewUid, toTimestamp } from '../clock.ts';
import type { Page, PageRequest } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { EventDraft, Events } from '../events/service.ts';
import { priorityRank } from '../priority.ts';
import { toPost } from './post.ts';
import { findThread, insertThread, updateThread } from './repository.ts';
import type { NewPost, NewThread, Post, PostAndThread, Thread } from './schemas.ts';
import { assertMove, type ThreadState } from './states.ts';
import { blankThread, CONTROL_PREFIX, isClosed, project, type ThreadRow, toThread } from './thread.ts';

export type Threads = ReturnType<typeof createThreads>;

interface Dependencies {
  db: Database;
  clock: Clock;
  newUid: NewUid;
  events: Events;
}

/** Ordinary threads and posts, and the one way in which any thread (a control thread too) is changed: `commit`. */
export function createThreads({ db, clock, newUid, events }: Dependencies) {
  /**
   * Appends the events of one act on one thread and stores the thread as they leave it.
   * A `thread` that is not stored yet (version 0) is inserted.
   */
  async function commit(tx: Tx, thread: ThreadRow, drafts: EventDraft[]) {
    const sequences = await events.append(tx, drafts);
    const next = project(thread, drafts, sequences);
    await (thread.version === 0 ? insertThread(tx, next) : updateThread(tx, next));
    return { thread: next, sequences };
  }

  /** The events of a move that `cause` brings about: none if the thread is there already. @throws Refusal if it is not allowed */
  function move(thread: ThreadRow, to: ThreadState, cause: EventDraft): EventDraft[] {
    const from = thread.state as ThreadState;
    if (from === to) return [];
    assertMove(from, to);
    const changed = events.follow(cause, 'forum.state.changed', { from, to });
    return to === 'closed' ? [changed, events.follow(cause, 'forum.thread.closed', {})] : [changed];
  }

  async function open(body: NewThread): Promise<{ thread: Thread; created: boolean }> {
    const { actor, title, ticket = null, run_id = null, agent_name = null, priority = 'normal' } = body;
    if (body.thread_id?.startsWith(CONTROL_PREFIX)) {
      throw new Refusal('RESERVED_THREAD_ID', `Ids that begin with ${CONTROL_PREFIX} belong to control threads.`);
    }
    return db.write(async tx => {
      const thread_id = body.thread_id ?? `thr_${newUid()}`;
      const seed = { thread_id, title, ticket, run_id, agent_name, priority: priorityRank(priority) };
      const existing = body.thread_id ? await findThread(tx, thread_id) : undefined;
      if (existing) {
        // The id is the caller's natural key: a repeated request finds its thread, whatever has happened in it since.
        if (await isSameThread(tx, existing, seed, body.body)) return { thread: toThread(existing), created: false };
        throw new Refusal('THREAD_EXISTS', `The thread ${thread_id} exists and was opened with other content.`);
      }
      const blank = blankThread({ ...seed, kind: 'discussion', actor, now: clock.now() });
      const opened = events.draft(blank, actor, 'forum.thread.opened', { kind: blank.kind, title, priority });
      const post = events.follow(opened, 'forum.post.added', { body: body.body });
      const { thread } = await commit(tx, blank, [opened, post]);
      return { thread: toThread(thread), created: true };
    });
  }

  async function isSameThread(tx: Tx, row: ThreadRow, seed: Partial<ThreadRow>, body: string): Promise<boolean> {
    const first = await events.posts(tx, row.thread_id, { limit: 1 });
    const { title, run_id, agent_name } = row;
    return (
      title === seed.title &&
      run_id === seed.run_id &&
      agent_name === seed.agent_name &&
      first.items[0]?.payload.body === body
    );
  }

  async function addPost(threadId: string, { body, actor, state }: NewPost): Promise<PostAndThread> {
    return db.write(async tx => {
      const row = found(await findThread(tx, threadId), threadId);
      if (isClosed(row))
        throw new Refusal('THREAD_CLOSED', `The thread ${threadId} is closed; it takes no more posts.`);
      const post = events.draft(row, actor, 'forum.post.added', { body });
      const moved = state === undefined ? [] : move(row, state, post);
      const { thread, sequences } = await commit(tx, row, [post, ...moved]);
      const occurred_at = toTimestamp(post.occurred_at);
      const sequence = sequences[0] as number;
      const view = {
        event_id: `evt_${post.uid}`,
        sequence,
        thread_id: threadId,
        actor,
        occurred_at,
        payload: post.payload,
      };
      return { post: toPost(view), thread: toThread(thread) };
    });
  }

  return {
    commit,
    move,

    /** A repeated `thread_id` with the same content answers its thread. @throws Refusal RESERVED_THREAD_ID, THREAD_EXISTS */
    open,

    /** Adds a post and, if the reply says so, moves the thread. @throws Refusal THREAD_NOT_FOUND, THREAD_CLOSED, TRANSITION_NOT_ALLOWED */
    addPost,

    /** @throws Refusal THREAD_NOT_FOUND */
    async get(threadId: string): Promise<Thread> {
      return toThread(found(await findThread(db.read, threadId), threadId));
    },

    /** Oldest first. @throws Refusal THREAD_NOT_FOUND, INVALID_CURSOR */
    async posts(threadId: string, page: Partial<PageRequest>): Promise<Page<Post>> {
      found(await findThread(db.read, threadId), threadId);
      const { items, next_cursor } = await events.posts(db.read, threadId, page);
      return { items: items.map(toPost), next_cursor };
    },

    /** The row itself, for services whose own rows hang on it. */
    async row(reader: Reader, threadId: string): Promise<ThreadRow> {
      return found(await findThread(reader, threadId), threadId);
    },
  };
}

function found(row: ThreadRow | undefined, threadId: string): ThreadRow {
  if (!row) throw new Refusal('THREAD_NOT_FOUND', `There is no thread ${threadId}.`);
  return row;
}

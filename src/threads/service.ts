import { randomInt } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Actor } from '../actor.ts';
import { type Clock, type NewUid, toTimestamp } from '../clock.ts';
import type { Page } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { EventDraft, EventLog } from '../events/service.ts';
import { foldName } from '../fold-name.ts';
import { assertPrecondition, type Precondition } from '../precondition.ts';
import { priorityAt, priorityRank } from '../priority.ts';
import type { Search } from '../search/service.ts';
import { readThreadCounts, type ThreadCounts } from './counts.ts';
import {
  addCount,
  COUNTED_IN_PARTS,
  eraseTitle,
  findThread,
  findThreadOfAgent,
  findWithdrawing,
  hasThreadBetween,
  insertThread,
  isRunErased,
  listOpenedAfter,
  listThreadsById,
  PARTS,
  type Subject,
  storeThreads,
  updateThread,
} from './repository.ts';
import type { ActOf, NewPost, NewThread, Post, PostAndThread, PostQuery, Thread, ThreadChange } from './schemas.ts';
import type { Seen } from './seen.ts';
import {
  blankThread,
  bodyOf,
  CONTROL_PREFIX,
  type DatedNews,
  isClosed,
  isPost,
  newsIn,
  project,
  rangeOfPriority,
  type Step,
  stepsTo,
  type ThreadRow,
  type ThreadState,
  threadNotFound,
  toPost,
  toThread,
} from './thread.ts';

/** Posts whose words one transaction erases at most; each may be large. */
const POSTS_ERASED = 10;

export type ThreadService = ReturnType<typeof createThreads>;

interface Dependencies {
  db: Database;
  clock: Clock;
  newUid: NewUid;
  events: EventLog;
  search: Search;
  seen: Seen;
  /** Puts what an act means for the agent of a control thread into its inbox. */
  notifyAgent: (tx: Tx, thread: ThreadRow, news: readonly DatedNews[]) => void;
  /** Cancels open questions of a control thread before it closes. */
  withdrawQuestions: (tx: Tx, thread: ThreadRow, actor: Actor) => Promise<void>;
}

/** Discussions and posts, and `record`, through which all changes of threads pass, control threads included. */
export function createThreads(dependencies: Dependencies) {
  const { db, clock, newUid, events, search, seen, notifyAgent, withdrawQuestions } = dependencies;

  /**
   * Appends the events of one act on one thread, and stores the changed thread, its search words and its counts.
   * It inserts a `thread` that is not stored yet (version 0).
   * @returns the changed thread, and the sequences of the events in their order
   */
  async function record(tx: Tx, thread: ThreadRow, drafts: EventDraft[]) {
    // The row precedes its first event. In the other order the event's foreign key would wait for the row. SQLite would
    // then scan all tables that refer to threads.
    if (thread.version === 0) insertThread(tx, thread);
    const sequences = await events.append(tx, drafts);
    const next = project(thread, drafts, sequences);
    updateThread(tx, next);
    const posts = drafts.filter(isPost);
    for (const [index, { payload }] of posts.entries()) {
      const post = { number: thread.posts_count + index + 1, body: bodyOf(payload) };
      search.index(tx, { number: next.opened_sequence, title: next.title, kind: next.kind }, post);
    }
    for (const change of countedChanges(thread, next, posts)) count(tx, change);
    const news = next.kind === 'control' ? newsIn(drafts, sequences) : [];
    if (news.length > 0) notifyAgent(tx, next, news);
    return { thread: next, sequences };
  }

  const ownPart = db.shared ? randomInt(PARTS) : 0;

  /** Works of one group that change the same count write it once. */
  function count(tx: Tx, { subject, from, to }: CountedChange): void {
    const part = COUNTED_IN_PARTS.includes(subject) ? ownPart : 0;
    const add = (value: string, by: number) =>
      tx.count(`${subject}:${value}`, by, (last, count) => addCount(last, { subject, value, part, count }));
    if (from === to) return;
    if (from !== null) add(from, -1);
    if (to !== null) add(to, 1);
  }

  /**
   * Drafts the events of a move caused by `cause`; none if the thread is in that state.
   * @param openQuestions the number of open questions after the act
   * @throws Refusal THREAD_CLOSED, TRANSITION_NOT_ALLOWED
   */
  function move(row: ThreadRow, to: ThreadState, cause: EventDraft, openQuestions = row.open_questions): EventDraft[] {
    return stepsTo(row, to, openQuestions).map(([type, payload]) => events.follow(cause, type, payload));
  }

  /** Discussions of a run may go on after its close, but not after its erasure. @throws Refusal RUN_ERASED */
  async function assertKept(tx: Tx, { kind, run_id }: Pick<ThreadRow, 'kind' | 'run_id'>): Promise<void> {
    if (kind === 'discussion' && run_id !== null && (await isRunErased(tx, run_id))) throw runErased(run_id);
  }

  /**
   * Opens a discussion. A repeated `thread_id` with the same content returns the existing thread.
   * @param actor who opens it, named in the request or not
   * @throws Refusal RESERVED_THREAD_ID, THREAD_EXISTS, RUN_ERASED
   */
  async function open(tx: Tx, body: NewThread, actor: Actor): Promise<{ thread: Thread; created: boolean }> {
    const { title, ticket = null, run_id = null, agent_name = null, priority = 'normal' } = body;
    if (body.thread_id !== undefined && foldName(body.thread_id).startsWith(CONTROL_PREFIX)) {
      throw new Refusal(
        'RESERVED_THREAD_ID',
        `Thread ids that begin with ${CONTROL_PREFIX} are reserved for control threads.`,
      );
    }
    const thread_id = body.thread_id ?? `thr_${newUid()}`;
    const seed = { thread_id, title, ticket, run_id, agent_name, priority: priorityRank(priority) };
    await assertKept(tx, { kind: 'discussion', run_id });
    const existing = body.thread_id ? await findThread(tx, thread_id) : undefined;
    if (existing) {
      // The id is the caller's natural key, so only the opening content counts, not later changes.
      if (await wasOpenedWith(tx, existing, body)) return { thread: toThread(existing), created: false };
      throw new Refusal('THREAD_EXISTS', `The thread ${thread_id} exists and was opened with other content.`);
    }
    const blank = blankThread({ ...seed, kind: 'discussion', actor, now: clock.now() });
    const opened = events.draft(blank, actor, 'forum.thread.opened', { kind: blank.kind, title, priority });
    const post = events.follow(opened, 'forum.post.added', { body: body.body });
    const { thread } = await record(tx, blank, [opened, post]);
    return { thread: toThread(thread), created: true };
  }

  /** The wire shape; with a viewer, also whether the thread is unseen. */
  async function withUnseen(reader: Reader, row: ThreadRow, viewer: string | undefined): Promise<Thread> {
    if (viewer === undefined) return toThread(row);
    const [seenUntil] = await seen.seenUntil(reader, viewer, [row.place]);
    return toThread(row, seenUntil === null);
  }

  /** Whether a thread was opened with this content. An optional field that is left out does not count. */
  async function wasOpenedWith(tx: Tx, { opened_sequence, thread_id }: ThreadRow, body: NewThread): Promise<boolean> {
    const opened = (await events.at(tx, [opened_sequence])).get(opened_sequence);
    const [first] = (await events.posts(tx, thread_id, { limit: 1 })).items;
    const before: Record<string, unknown> = { ...opened, ...opened?.payload, body: first?.payload.body };
    return Object.entries({ run_id: null, agent_name: null, ...body }).every(([name, value]) =>
      isDeepStrictEqual(value, before[name]),
    );
  }

  /**
   * Adds a post and, if given, sets the state.
   * @throws Refusal THREAD_NOT_FOUND, THREAD_CLOSED, RUN_ERASED, TRANSITION_NOT_ALLOWED
   */
  async function addPost(tx: Tx, threadId: string, { body, actor, state }: ActOf<NewPost>): Promise<PostAndThread> {
    const known = required(await findThread(tx, threadId), threadId);
    await assertKept(tx, known);
    if (isClosed(known))
      throw new Refusal('THREAD_CLOSED', `The thread ${threadId} is closed and takes no more posts.`);
    const row = await prepareMove(tx, known, state, actor);
    const post = events.draft(row, actor, 'forum.post.added', { body });
    const moved = state === undefined ? [] : move(row, state, post);
    const { thread, sequences } = await record(tx, row, [post, ...moved]);
    const occurred_at = toTimestamp(post.occurred_at);
    const sequence = sequences[0] as number;
    const { payload } = post;
    const view = { event_id: `evt_${post.uid}`, sequence, thread_id: threadId, actor, occurred_at, payload };
    return { post: toPost(view), thread: toThread(thread) };
  }

  /**
   * Changes state, priority and assignee in one version.
   * @throws Refusal THREAD_NOT_FOUND, PRECONDITION_FAILED, THREAD_CLOSED, RUN_ERASED, TRANSITION_NOT_ALLOWED
   */
  async function change(
    tx: Tx,
    threadId: string,
    wanted: ActOf<ThreadChange>,
    expected?: Precondition,
  ): Promise<Thread> {
    const known = required(await findThread(tx, threadId), threadId);
    assertPrecondition(expected, known.version);
    await assertKept(tx, known);
    const row = isClosed(known) ? known : await prepareMove(tx, known, wanted.state, wanted.actor);
    const drafts = changes(row, wanted);
    if (drafts.length === 0) return toThread(row);
    if (isClosed(row)) throw new Refusal('THREAD_CLOSED', `The thread ${threadId} is closed and cannot change.`);
    return toThread((await record(tx, row, drafts)).thread);
  }

  /** Drafts one event per changed attribute. The state comes last, since no event can follow a close. */
  function changes(row: ThreadRow, { actor, state, priority, assignee }: ActOf<ThreadChange>): EventDraft[] {
    const from = priorityAt(row.priority);
    const steps: Step[] = [];
    if (priority !== undefined && priority !== from) steps.push(['forum.priority.changed', { from, to: priority }]);
    if (assignee !== undefined && assignee !== row.assignee) {
      steps.push(['forum.assigned', { from: row.assignee, to: assignee }]);
    }
    if (state !== undefined) steps.push(...stepsTo(row, state));
    const drafts: EventDraft[] = [];
    for (const [type, payload] of steps) {
      const [first] = drafts;
      drafts.push(first ? events.follow(first, type, payload) : events.draft(row, actor, type, payload));
    }
    return drafts;
  }

  /** Cancels open questions of a thread that is about to close, since they could get no answer any more. */
  async function prepareMove(tx: Tx, row: ThreadRow, state: string | undefined, actor: Actor): Promise<ThreadRow> {
    if (state !== 'closed' || row.open_questions === 0) return row;
    await withdrawQuestions(tx, row, actor);
    return required(await findThread(tx, row.thread_id), row.thread_id);
  }

  return {
    record,
    move,
    open,
    addPost,

    /** A post, and its thread as it is now. */
    async postAndThread(reader: Reader, postId: string): Promise<PostAndThread> {
      const event = await events.find(reader, postId.replace('post_', 'evt_'));
      if (!event?.thread_id) throw new Error(`The post ${postId} is missing.`);
      const { thread_id } = event;
      return {
        post: toPost({ ...event, thread_id }),
        thread: toThread(required(await findThread(reader, thread_id), thread_id)),
      };
    },

    change,

    /**
     * Marks the thread as seen by a viewer, up to a sequence or completely.
     * @throws Refusal THREAD_NOT_FOUND, PRECONDITION_FAILED
     */
    async markSeen(
      tx: Tx,
      threadId: string,
      viewer: string,
      sequence: number | undefined,
      expected: Precondition,
    ): Promise<Thread> {
      const row = required(await findThread(tx, threadId), threadId);
      assertPrecondition(expected, row.version);
      // A mark before the newest event changes nothing: the thread has events after it, and so stays unseen.
      if (sequence === undefined || sequence >= row.last_sequence)
        await seen.mark(tx, viewer, row.place, rangeOfPriority(row.priority), hasThreadBetween);
      return withUnseen(tx, row, viewer);
    },

    /** A thread; with a viewer, also whether it is unseen. @throws Refusal THREAD_NOT_FOUND */
    async get(threadId: string, viewer?: string): Promise<Thread> {
      return withUnseen(db.read, required(await findThread(db.read, threadId), threadId), viewer);
    },

    /** A page of posts, oldest first unless `order` says otherwise. @throws Refusal THREAD_NOT_FOUND, INVALID_CURSOR */
    async posts(threadId: string, page: Partial<PostQuery>): Promise<Page<Post>> {
      required(await findThread(db.read, threadId), threadId);
      const { items, next_cursor } = await events.posts(db.read, threadId, page);
      return { items: items.map(toPost), next_cursor };
    },

    /** The control thread of an agent in a run; undefined before the agent's first signal. */
    ofAgent: (reader: Reader, runId: string, agentName: string): Promise<ThreadRow | undefined> =>
      findThreadOfAgent(reader, runId, agentName),

    /**
     * Erases the search words of the next posts of a thread, and of its title, until a time. At its end it also erases
     * the title itself. The texts of its events must still be there.
     * @param from the last post that is done (its sequence), and the number of those
     * @param until as performance.now()
     * @returns where to go on; undefined at the end
     */
    async eraseWords(
      tx: Tx,
      threadId: string,
      from: { post: number; posts: number },
      until: number,
    ): Promise<{ post: number; posts: number } | undefined> {
      const { opened_sequence, title, kind } = required(await findThread(tx, threadId), threadId);
      let { post, posts } = from;
      const found = await events.storedPosts(tx, threadId, post, POSTS_ERASED);
      for (const { sequence, payload } of found) {
        if (posts > from.posts && performance.now() > until) return { post, posts };
        posts += 1;
        post = sequence;
        search.remove(tx, { number: opened_sequence, title, kind }, { number: posts, body: bodyOf(payload) });
      }
      if (found.length === POSTS_ERASED) return { post, posts };
      eraseTitle(tx, threadId);
      return undefined;
    },

    /** Stores threads as the events of an import have changed them, and counts what they are now. */
    async restore(tx: Tx, changes: readonly Restored[]): Promise<void> {
      await storeThreads(
        tx,
        changes.map(({ after }) => after),
      );
      const sums = new Map<string, { subject: Subject; value: string; count: number }>();
      const add = (subject: Subject, value: string | null, by: number) => {
        if (value === null) return;
        const key = `${subject}:${value}`;
        sums.set(key, { subject, value, count: (sums.get(key)?.count ?? 0) + by });
      };
      for (const { before, after, posts } of changes) {
        for (const { subject, from, to } of countedChanges(before, after, posts)) {
          add(subject, from, -1);
          add(subject, to, 1);
        }
      }
      for (const sum of sums.values()) if (sum.count !== 0) addCount(tx, { ...sum, part: 0 });
    },

    /** The threads with these ids, in no particular order. */
    byId: (tx: Tx, ids: string[]): Promise<ThreadRow[]> => listThreadsById(tx, ids),

    /** The numbers (`opened_sequence`) of the next threads after a number, the oldest first. */
    openedAfter: (tx: Tx, after: number, limit: number): Promise<number[]> => listOpenedAfter(tx, after, limit),

    /** A closed thread that still has open questions, if there is one. */
    withdrawing: (reader: Reader): Promise<ThreadRow | undefined> => findWithdrawing(reader),

    /** The numbers of threads and signals, in total and per value. */
    counts: (): Promise<ThreadCounts> => readThreadCounts(db.read),

    /** The stored row, for services whose tables refer to threads. @throws Refusal THREAD_NOT_FOUND */
    async row(reader: Reader, threadId: string): Promise<ThreadRow> {
      return required(await findThread(reader, threadId), threadId);
    },
  };
}

/** A thread before and after events of an import, which are stored already, and those of them that are posts. */
export interface Restored {
  before: ThreadRow;
  after: ThreadRow;
  posts: EventDraft[];
}

/** An attribute of one thread or signal changes its value. Null stands for no value, and is not counted. */
interface CountedChange {
  subject: Subject;
  from: string | null;
  to: string | null;
}

/** The changes of counted attributes between two versions of a thread. */
function countedChanges(before: ThreadRow, after: ThreadRow, posts: EventDraft[]): CountedChange[] {
  const isNew = before.version === 0;
  const previous = <T>(value: T): T | null => (isNew ? null : value);
  return [
    { subject: 'thread_state', from: previous(before.state), to: after.state },
    { subject: 'thread_priority', from: previous(priorityAt(before.priority)), to: priorityAt(after.priority) },
    { subject: 'thread_ticket', from: previous(before.ticket), to: after.ticket },
    { subject: 'thread_run', from: previous(before.run_id), to: after.run_id },
    ...posts
      .filter(({ payload }) => payload.control_type !== undefined)
      .map(({ payload }) => ({ subject: 'signal_type' as const, from: null, to: String(payload.control_type) })),
  ];
}

export function runErased(runId: string): Refusal {
  return new Refusal('RUN_ERASED', `The run ${runId} was erased.`);
}

function required(row: ThreadRow | undefined, threadId: string): ThreadRow {
  if (!row) throw threadNotFound(threadId);
  return row;
}

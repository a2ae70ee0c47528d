import type { Database, Tx } from '../db/database.ts';
import type { Event } from '../events/schemas.ts';
import type { EventLog } from '../events/service.ts';
import type { Logger } from '../logging.ts';
import type { Progress, Search } from '../search/service.ts';
import { findNewestThreadBefore } from './repository.ts';
import { bodyOf } from './thread.ts';

interface Dependencies {
  db: Database;
  events: EventLog;
  search: Search;
  log: Logger;
}

/** A transaction ends with the post that exceeds this. Milliseconds. */
const TRANSACTION_MS = 10;
/** The default duration of one run of the job. Milliseconds. */
const RUN_MS = 300;

/**
 * Indexes all stored posts that are due: after a migration, an import or a rebuild. The newest thread comes first. Each
 * transaction stores its progress, so the next process resumes after a crash, and several processes share the work.
 */
export function createIndexing({ db, events, search, log }: Dependencies) {
  let due = true;

  /** @returns whether posts are left */
  async function indexSome(tx: Tx): Promise<boolean> {
    let progress = await search.reindexProgress(tx);
    if (!progress) return false;
    const began = performance.now();
    do progress = await indexPost(tx, progress);
    while (progress && performance.now() - began < TRANSACTION_MS);
    await search.saveReindexProgress(tx, progress);
    if (!progress) tx.afterCommit(() => log.info('reindex of stored posts finished'));
    return progress !== undefined;
  }

  /** Indexes one post, since a single one may be long. @returns the progress; undefined at the end */
  async function indexPost(tx: Tx, { last_sequence, ...at }: Progress): Promise<Progress | undefined> {
    const thread = await findNewestThreadBefore(tx, at.cursor === null ? at.opened_sequence : at.opened_sequence + 1);
    if (!thread) return undefined;
    const { thread_id, opened_sequence, title, kind } = thread;
    const next = { last_sequence, opened_sequence, cursor: null, indexed: 0 };
    // Its erasure removed its words, also those of a generated title.
    if (thread.erased) return next;
    const page = await events.posts(tx, thread_id, { limit: 1, ...(at.cursor !== null && { cursor: at.cursor }) });
    const [post] = page.items;
    if (!post || post.sequence > last_sequence) return next;
    const indexed = at.indexed + 1;
    // Also of a run that is being erased: its erasure removes the words of what is stored.
    const stored = await events.storedPayloads(tx, [post.sequence]);
    const body = bodyOf(stored.get(post.sequence) as Event['payload']);
    search.index(tx, { number: opened_sequence, title, kind }, { number: indexed, body });
    const cursor = page.next_cursor;
    return { last_sequence, opened_sequence, cursor, indexed: cursor === null ? 0 : indexed };
  }

  return {
    /** Works for a duration in milliseconds, in short transactions; at least one. */
    async run(duration = RUN_MS): Promise<void> {
      due = (await search.reindexProgress(db.read)) !== undefined;
      const began = performance.now();
      while (due) {
        due = await db.write(indexSome);
        if (performance.now() - began >= duration) return;
      }
    },

    /** Whether posts are left. True until the first run has looked. */
    get isDue(): boolean {
      return due;
    },
  };
}

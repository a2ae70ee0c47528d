import type { Database, Tx } from '../db/database.ts';
import type { Events } from '../events/service.ts';
import type { Logger } from '../logging.ts';
import type { Progress, Search } from '../search/service.ts';
import { bodyOf } from './post.ts';
import { findOpenedBefore } from './repository.ts';

interface Dependencies {
  db: Database;
  events: Events;
  search: Search;
  log: Logger;
}

/** How long one transaction goes on, and one run of the job. Milliseconds. */
const TRANSACTION_MS = 10;
const RUN_MS = 300;

/**
 * Indexes all stored texts again when a migration has marked that as due: the newest threads first. Each transaction
 * stores its progress, so a process that dies loses nothing, and several processes share the work.
 */
export function createIndexing({ db, events, search, log }: Dependencies) {
  let due = true;

  /** Answers whether there is more to do. */
  async function indexSome(tx: Tx): Promise<boolean> {
    let progress = await search.progress(tx);
    if (!progress) return false;
    const began = performance.now();
    do progress = await indexPost(tx, progress);
    while (progress && performance.now() - began < TRANSACTION_MS);
    await search.advance(tx, progress);
    if (!progress) tx.afterCommit(() => log.info('all stored texts have been indexed again'));
    return progress !== undefined;
  }

  /** One post at a time, since a single one may be long. */
  async function indexPost(tx: Tx, { last_sequence, ...at }: Progress): Promise<Progress | undefined> {
    const thread = await findOpenedBefore(tx, at.cursor === null ? at.opened_sequence : at.opened_sequence + 1);
    if (!thread) return undefined;
    const { thread_id, opened_sequence, title, kind } = thread;
    const page = await events.posts(tx, thread_id, { limit: 1, ...(at.cursor !== null && { cursor: at.cursor }) });
    const [post] = page.items;
    if (!post || post.sequence > last_sequence) return { last_sequence, opened_sequence, cursor: null, indexed: 0 };
    const indexed = at.indexed + 1;
    search.index(tx, { number: opened_sequence, title, kind }, { number: indexed, body: bodyOf(post.payload) });
    const cursor = page.next_cursor;
    return { last_sequence, opened_sequence, cursor, indexed: cursor === null ? 0 : indexed };
  }

  return {
    /** Goes on for so many milliseconds, in short transactions; for at least one. */
    async run(duration = RUN_MS): Promise<void> {
      due &&= (await search.progress(db.read)) !== undefined;
      const began = performance.now();
      while (due) {
        due = await db.write(indexSome);
        if (performance.now() - began >= duration) return;
      }
    },

    /** Whether texts are left. It is known once it has run. */
    get isDue(): boolean {
      return due;
    },
  };
}

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Control } from '../control/service.ts';
import type { Page } from '../db/cursors.ts';
import type { Database } from '../db/database.ts';
import type { EventLog } from '../events/service.ts';
import type { QuestionLists } from '../questions/lists.ts';
import type { RunService } from '../runs/service.ts';
import type { ThreadLists } from '../threads/lists.ts';
import type { ThreadService } from '../threads/service.ts';

export type RunExport = ReturnType<typeof createExport>;

interface Dependencies {
  db: Pick<Database, 'read'>;
  events: EventLog;
  runs: RunService;
  control: Control;
  threads: ThreadService;
  threadLists: ThreadLists;
  questionLists: QuestionLists;
}

/** Rows that are read at once; a page of large ones ends earlier. */
const PAGE = 100;
/** The form of the lines; it rises when a reader of the old form could not read the new one. */
export const FORMAT_VERSION = 1;

/** A kind of line, and the rows of that kind page by page. */
type Part = [type: string, page: (cursor: string | undefined) => Promise<Page<unknown>>];

/**
 * Exports a run as lines of JSON (NDJSON), each an object with its `type`. They are the run, its agents, threads with
 * their posts, questions (newest first) and events in their order. The last line is of the type `end`. It says how many
 * lines precede it, so that a cut export is noticed. It reads a page at a time, and the next one only when the last one
 * was taken.
 */
export function createExport(dependencies: Dependencies) {
  const { db, events, runs, control, threads, threadLists, questionLists } = dependencies;

  /** @param signal ends the export without its last line */
  async function* exportRun(run_id: string, signal: AbortSignal): AsyncGenerator<string> {
    const run = await runs.get(run_id);
    // What comes meanwhile would not fit what was written before.
    const up_to = await events.latest(db.read);
    const untilThen = <T extends { sequence: number }>({ items, next_cursor }: Page<T>): Page<T> => {
      const kept = items.filter(({ sequence }) => sequence <= up_to);
      return { items: kept, next_cursor: kept.length < items.length ? null : next_cursor };
    };
    let lines = 1;
    yield `${JSON.stringify({ type: 'run', format_version: FORMAT_VERSION, up_to, run })}\n`;

    async function* all(...[type, page]: Part): AsyncGenerator<string> {
      let cursor: string | undefined;
      do {
        if (signal.aborted) return;
        // SQLite reads in the event loop: others have their turn between two pages, however fast the client is.
        await nextTurn();
        const { items, next_cursor } = await page(cursor);
        lines += items.length;
        if (items.length > 0) yield items.map(item => `${JSON.stringify({ type, [type]: item })}\n`).join('');
        cursor = next_cursor ?? undefined;
      } while (cursor !== undefined);
    }

    const page = (cursor: string | undefined) => ({ run_id, limit: PAGE, ...(cursor !== undefined && { cursor }) });
    yield* all('agent', cursor => control.list(page(cursor)));
    const ids: string[] = [];
    yield* all('thread', async cursor => {
      const found = await threadLists.list(page(cursor));
      ids.push(...found.items.map(({ thread_id }) => thread_id));
      return found;
    });
    for (const id of ids) yield* all('post', async cursor => untilThen(await threads.posts(id, page(cursor))));
    yield* all('question', cursor => questionLists.list({ ...page(cursor), order: 'newest' }));
    yield* all('event', async cursor => untilThen(await events.list(page(cursor))));
    if (!signal.aborted) yield `${JSON.stringify({ type: 'end', lines })}\n`;
  }

  return exportRun;
}

import { statSync } from 'node:fs';
import { blankRun, closedRun, erasedRun, type RunRow } from '../control/run-state.ts';
import type { Control } from '../control/service.ts';
import type { Database, Tx } from '../db/database.ts';
import { errorCode, isRefusedCommit } from '../db/errors.ts';
import { StartError } from '../errors.ts';
import type { Event } from '../events/schemas.ts';
import type { EventLog } from '../events/service.ts';
import type { Inbox } from '../inbox/service.ts';
import type { QuestionService } from '../questions/service.ts';
import type { RunService } from '../runs/service.ts';
import type { Search } from '../search/service.ts';
import type { SubscriptionService } from '../subscriptions/service.ts';
import type { ThreadService } from '../threads/service.ts';
import { isPost } from '../threads/thread.ts';
import { BATCH, type ExportLine, faultOf, type Numbered, readExport } from './lines.ts';
import { briefIn, Inconsistent, type Rows, replay, toDraft } from './replay.ts';
import { checkReferencesAtOnce } from './repository.ts';
import { createViewImport } from './views.ts';

interface Dependencies {
  db: Database;
  events: EventLog;
  search: Search;
  threads: ThreadService;
  control: Control;
  questions: QuestionService;
  inbox: Inbox;
  runs: RunService;
  subscriptions: Pick<SubscriptionService, 'all' | 'move'>;
}

interface Options {
  /** Ends the import; nothing of it is stored then. Its reason is thrown. */
  signal: AbortSignal;
  /** Told again and again how much is done: from 0 to 1, and how many lines were read. */
  progress: (done: number, lines: number) => void;
}

export interface Imported {
  runs: number;
  events: number;
  /** That of the newest event. */
  sequence: number;
}

/** The size from which fewer lines than usual are handled together. */
const BATCH_CHARACTERS = 1_048_576;
/** Threads that are numbered at once. */
const NUMBERED = 5000;
/** Rows of an erased run that are emptied at once. */
const ERASED = 1000;

type EventLine = Extract<Numbered, { type: 'event' }>;

/**
 * Brings exported runs into a database without events. All of them are one transaction, so an import that fails leaves
 * nothing. Each file is read twice, a batch of lines at a time. First its events become the log and the rows that are
 * computed from them. Then its views give facts that events lack: the versions, and when agents were seen.
 * @throws StartError with one sentence for the operator
 */
export function createImport(dependencies: Dependencies) {
  const { db, events, search, threads, control, questions, inbox, runs, subscriptions } = dependencies;
  const importViews = createViewImport({ threads, control, questions });

  /** Stores the events of a file. @returns the run that they make, and what its line says */
  async function importEvents(tx: Tx, file: string, lines: AsyncIterable<Numbered>) {
    let run: RunRow | undefined;
    let head: Extract<ExportLine, { type: 'run' }> | undefined;
    let stored = 0;
    let last = 0;
    const waiting: EventLine[] = [];
    const flush = async () => {
      if (run && waiting.length > 0) run = await importBatch(tx, file, run, waiting);
      stored += waiting.splice(0).length;
    };
    let size = 0;
    for await (const line of lines) {
      if (line.type === 'run') {
        head = line;
        run = await blank(tx, line.run.run_id, message => faultOf(file, line.number, message));
      }
      if (line.type !== 'event') continue;
      const { event } = line;
      if (event.run_id !== run?.run_id) throw faultOf(file, line.number, `the event is one of the run ${event.run_id}`);
      if (event.sequence <= last)
        throw faultOf(file, line.number, 'its sequence is not above that of the event before');
      last = event.sequence;
      // The brief measures agents and their validations, which have to be stored.
      if (event.thread_id === null) await flush();
      waiting.push(line);
      size += line.size;
      if (event.thread_id === null || waiting.length === BATCH || size > BATCH_CHARACTERS) {
        size = 0;
        await flush();
      }
    }
    await flush();
    if (!run || !head || run.version === 0) throw new StartError(`${file}: the run has no events.`);
    return { run, head, stored, last };
  }

  /** @throws StartError if the run was imported from another file */
  async function blank(tx: Tx, runId: string, fault: (message: string) => StartError): Promise<RunRow> {
    const run = await control.run(tx, runId);
    if (run.version > 0) throw fault(`the run ${runId} comes from another file, too`);
    return blankRun(runId);
  }

  /** Stores the next events of a run, and the rows after them. @returns the run, which is not stored yet */
  async function importBatch(tx: Tx, file: string, run: RunRow, lines: EventLine[]): Promise<RunRow> {
    const given = lines.map(({ event }) => event);
    await assertFree(tx, file, lines);
    const rows = await rowsOf(tx, run, given);
    const before = new Map(rows.threads);
    for (const { event, number } of lines) {
      try {
        if (event.thread_id !== null) replay(rows, event);
      } catch (error) {
        throw error instanceof Inconsistent ? faultOf(file, number, error.message) : error;
      }
    }
    try {
      await store(tx, rows, before, given);
    } catch (error) {
      if (!isRefusedCommit(error)) throw error;
      const [from, to] = [lines[0]?.number, lines.at(-1)?.number];
      throw new StartError(`${file}, lines ${from} to ${to}: the events do not fit together (${errorCode(error)}).`);
    }
    let next = rows.run;
    for (const event of given) if (event.thread_id === null) next = await runAfter(tx, next, event);
    return next;
  }

  /** @throws StartError if another event has the sequence or the id of one of these */
  async function assertFree(tx: Tx, file: string, lines: EventLine[]): Promise<void> {
    const ids = new Set<string>();
    const taken = await events.firstTaken(
      tx,
      lines.map(({ event }) => event),
    );
    for (const { event, number } of lines) {
      if (event === taken || ids.has(event.event_id))
        throw faultOf(file, number, `another event has the sequence ${event.sequence} or the id ${event.event_id}`);
      ids.add(event.event_id);
    }
  }

  /** The rows that these events change, as they are stored. */
  async function rowsOf(tx: Tx, run: RunRow, given: readonly Event[]): Promise<Rows> {
    const names = (of: (event: Event) => unknown) =>
      [...new Set(given.map(of))].filter(name => typeof name === 'string');
    const [known, agents, asked] = [
      await threads.byId(
        tx,
        names(event => event.thread_id),
      ),
      await control.named(
        tx,
        run.run_id,
        names(event => event.agent_name),
      ),
      await questions.rows(
        tx,
        names(event => event.payload.question_id),
      ),
    ];
    return {
      run,
      threads: new Map(known.map(row => [row.thread_id, row])),
      agents: new Map(agents.map(row => [row.agent_name, row])),
      questions: new Map(asked.map(row => [row.question_id, row])),
      approvals: new Map(await questions.approvals(tx, asked)),
      items: [],
      received: [],
    };
  }

  /** Stores events and the rows after them: what others refer to comes first. */
  async function store(tx: Tx, rows: Rows, before: Rows['threads'], given: readonly Event[]): Promise<void> {
    const drafts = Map.groupBy(given.map(toDraft).filter(isPost), ({ thread }) => thread.thread_id);
    const changes = [...rows.threads.values()].map(after => ({
      before: before.get(after.thread_id) ?? { ...after, version: 0 },
      after,
      posts: drafts.get(after.thread_id) ?? [],
    }));
    if (changes.length > 0) await threads.restore(tx, changes);
    await events.restore(tx, db.engine, given);
    if (rows.agents.size > 0) await control.restore(tx, [...rows.agents.values()]);
    if (rows.questions.size > 0) await questions.restore(tx, [...rows.questions.values()], rows.approvals);
    await inbox.restore(tx, rows.items, rows.received);
  }

  /** The run after an event of its own. */
  async function runAfter(tx: Tx, run: RunRow, { event_type, payload, sequence, occurred_at }: Event): Promise<RunRow> {
    const act = { sequence, occurred_at: Date.parse(occurred_at) };
    switch (event_type) {
      case 'forum.run.briefed':
        return runs.rebriefed(tx, run, briefIn(payload), act);
      case 'forum.run.closed':
        return closedRun(run, act);
      case 'forum.run.erased':
        return erasedRun(run, act);
      default:
        return run;
    }
  }

  /** Leaves nothing of an erased run that its erasure has taken from tables beside the log. */
  async function empty(tx: Tx, runId: string): Promise<void> {
    while ((await inbox.eraseSome(tx, runId, ERASED)) > 0);
    while ((await control.eraseAgents(tx, runId, ERASED)) > 0);
  }

  /** Numbers all threads, in the order in which they were opened, and leaves the texts to the service. */
  async function prepareSearch(tx: Tx, last: number): Promise<void> {
    for (let after = 0; ; ) {
      const opened = await threads.openedAfter(tx, after, NUMBERED);
      if (opened.length > 0) await search.numberThreads(tx, opened);
      if (opened.length < NUMBERED) break;
      after = opened.at(-1) as number;
    }
    await search.indexLater(tx, last);
  }

  /** @throws StartError */
  async function assertEmpty(tx: Tx): Promise<void> {
    if ((await events.latest(tx)) === 0) return;
    throw new StartError(
      'The database is not empty: it has events. An import needs a database of its own, before the first token.',
    );
  }

  return async (files: readonly string[], { signal, progress }: Options): Promise<Imported> => {
    const others = await db.others();
    if (others > 0) throw new StartError(`Other processes use the database (${others}). Stop all of them first.`);
    const sizes = files.map(sizeOf);
    const total = Math.max(1, 2 * sizes.reduce((sum, size) => sum + size, 0));
    let [past, lines] = [0, 0];
    async function* read(file: string): AsyncGenerator<Numbered> {
      for await (const line of readExport(file, {
        signal,
        advance: bytes => progress((past + bytes) / total, lines),
      })) {
        lines += 1;
        yield line;
      }
    }
    return db.write(
      async tx => {
        await assertEmpty(tx);
        await checkReferencesAtOnce(tx, db.engine);
        const imported: Imported = { runs: 0, events: 0, sequence: 0 };
        for (const [index, file] of files.entries()) {
          const { run, head, stored, last } = await importEvents(tx, file, read(file));
          past += sizes[index] as number;
          const { run_id } = run;
          await importViews(tx, file, read(file), { up_to: head.up_to, run_id });
          past += sizes[index] as number;
          control.restoreRun(tx, { ...run, version: head.run.version });
          if (run.erased_at !== null) await empty(tx, run_id);
          imported.runs += 1;
          imported.events += stored;
          imported.sequence = Math.max(imported.sequence, last);
        }
        const { sequence } = imported;
        await prepareSearch(tx, sequence);
        await events.continueAfter(tx, db.engine, sequence);
        // What an import brings has been delivered elsewhere.
        const known = (await subscriptions.all(tx)).map(({ subscription_id }) => subscription_id);
        if (known.length > 0) subscriptions.move(tx, known, sequence);
        signal.throwIfAborted();
        return imported;
      },
      // It reads files, so it cannot run twice.
      { alone: true },
    );
  };
}

/** @throws StartError if there is no such file */
function sizeOf(file: string): number {
  const stats = statSync(file, { throwIfNoEntry: false });
  if (!stats?.isFile()) throw new StartError(`There is no file at ${file}.`);
  return stats.size;
}

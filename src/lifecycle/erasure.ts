import type { Actor } from '../actor.ts';
import type { Clock } from '../clock.ts';
import { erasedRun } from '../control/run-state.ts';
import type { Control } from '../control/service.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { isForeignWords } from '../db/errors.ts';
import { Refusal } from '../errors.ts';
import type { EventLog } from '../events/service.ts';
import type { IdempotencyKeys } from '../idempotency/service.ts';
import type { Inbox } from '../inbox/service.ts';
import type { Logger } from '../logging.ts';
import type { OutboxErasure } from '../outbox/erasure.ts';
import type { QuestionService } from '../questions/service.ts';
import type { RunService } from '../runs/service.ts';
import type { Search } from '../search/service.ts';
import type { ThreadService } from '../threads/service.ts';
import type { Telling } from '../webhooks/telling.ts';
import {
  deleteErasure,
  type ErasureRow,
  findErasure,
  insertErasure,
  listErasures,
  restartErasures,
  updateErasure,
} from './repository.ts';

export type Erasure = ReturnType<typeof createErasure>;

interface Dependencies {
  db: Database;
  clock: Clock;
  log: Logger;
  events: EventLog;
  search: Pick<Search, 'isIncomplete' | 'rebuild'>;
  threads: Pick<ThreadService, 'eraseWords'>;
  control: Control;
  questions: Pick<QuestionService, 'erase'>;
  inbox: Pick<Inbox, 'eraseSome'>;
  keys: Pick<IdempotencyKeys, 'erase'>;
  outbox: OutboxErasure;
  webhooks: Pick<Telling, 'forgetQuestions'>;
  runs: Pick<RunService, 'required'>;
  /** Days after the close of a run; 0 is never. */
  retentionDays: number;
}

/** Why a run is erased. */
type Reason = 'request' | 'retention';

/** A transaction begins no further piece after this. Milliseconds. */
const TRANSACTION_MS = 10;
/** The limit of one run of the job, so that the end of the process waits no longer. Milliseconds. */
const RUN_MS = 300;
/** Events that one piece erases; each may be large. */
const EVENTS = 8;
/** Rows that one piece erases of tables whose rows are small. */
const ROWS = 100;
/** Published messages that one piece erases. */
const MESSAGES = 8;
/** Erasures that the retention begins before it waits for them. */
const AT_ONCE = 20;
const DAY_MS = 24 * 3_600_000;

const timekeeper: Actor = { type: 'system', name: 'forumbus' };

/** The phases in their order. Words come first: what was indexed is computed from the texts. */
const PHASES = ['words', 'events', 'agents', 'keys', 'messages'] as const;

/**
 * Erases the texts of closed runs. The first transaction stores the erasure and its event. From then on reads show no
 * text of the run, and nothing can be added to it. The texts themselves are erased in pieces, each with the place to go
 * on from. So no transaction is long, and any process can continue after a crash.
 */
export function createErasure(dependencies: Dependencies) {
  const { db, clock, log, events, search, threads, control, questions, inbox, keys, outbox } = dependencies;
  const { webhooks, runs, retentionDays } = dependencies;

  /**
   * Begins to erase a run.
   * @param upTo the sequence of the last event that the caller has, if it must have all of them
   * @returns false if that has begun before
   * @throws Refusal RUN_NOT_FOUND, RUN_OPEN, RUN_CHANGED
   */
  async function begin(tx: Tx, runId: string, actor: Actor, reason: Reason, upTo?: number): Promise<boolean> {
    const run = await runs.required(tx, runId);
    if (run.erased_at !== null) return false;
    if (run.closed_at === null) throw new Refusal('RUN_OPEN', `The run ${runId} is not closed; close it first.`);
    if (run.open_questions_count > 0) {
      throw new Refusal(
        'RUN_OPEN',
        `The last questions of the run ${runId} are still being cancelled; try again soon.`,
      );
    }
    const { run_id, ticket } = run;
    if (upTo !== undefined && (await events.hasLater(tx, run_id, upTo))) {
      throw new Refusal('RUN_CHANGED', `The run ${runId} has events after ${upTo}; export it again.`);
    }
    const thread = { thread_id: null, run_id, agent_name: null, ticket };
    const erased = events.draft(thread, actor, 'forum.run.erased', { reason });
    const [sequence = 0] = await events.append(tx, [erased]);
    await insertErasure(tx, { run_id, erased_sequence: sequence, phase: 'words', at: 0, post: 0, posts: 0 });
    control.storeRun(tx, erasedRun(run, { sequence, occurred_at: erased.occurred_at }));
    tx.afterCommit(() => events.forget(run_id));
    return true;
  }

  /** Erases the next piece. @returns where to go on; undefined when the phase is done */
  async function piece(tx: Tx, row: ErasureRow, until: number): Promise<ErasureRow | undefined> {
    const { run_id, erased_sequence, at, post, posts } = row;
    const some = (count: number, most: number) => (count < most ? undefined : row);
    switch (row.phase) {
      case 'words': {
        const next = await events.nextOpened(tx, run_id, at);
        if (!next) return undefined;
        const left = await threads.eraseWords(tx, next.thread_id, { post, posts }, until);
        return left ? { ...row, ...left } : { ...row, at: next.sequence, post: 0, posts: 0 };
      }
      case 'events': {
        const erased = await events.erase(tx, { run_id, after: at, before: erased_sequence }, EVENTS);
        const requests = erased.filter(({ payload }) => payload.control_type === 'guidance_request');
        questions.erase(tx, requests);
        await webhooks.forgetQuestions(
          tx,
          requests.map(({ payload }) => payload.question_id as string),
        );
        const sequences = erased.map(({ sequence }) => sequence);
        await outbox.events(tx, sequences);
        const last = sequences.at(-1);
        return last === undefined ? undefined : { ...row, at: last };
      }
      case 'agents': {
        const items = await inbox.eraseSome(tx, run_id, ROWS);
        return some(items + (items < ROWS ? await control.eraseAgents(tx, run_id, ROWS) : 0), ROWS);
      }
      case 'keys':
        return some(await keys.erase(tx, run_id, ROWS), ROWS);
      case 'messages':
        return some(await outbox.messages(tx, run_id, MESSAGES), MESSAGES);
    }
  }

  /** Erases pieces for a short time. @returns whether any are left */
  async function step(tx: Tx, runId: string): Promise<boolean> {
    let row = await findErasure(tx, runId);
    if (!row) return false;
    const until = performance.now() + TRANSACTION_MS;
    do {
      const next: ErasureRow['phase'] | undefined = PHASES[PHASES.indexOf(row.phase) + 1];
      const left: ErasureRow | undefined = await piece(tx, row, until);
      if (!left && !next) {
        await deleteErasure(tx, runId);
        tx.afterCommit(() => log.info({ run_id: runId }, 'the texts of a run are erased'));
        return false;
      }
      row = left ?? { ...row, phase: next as (typeof PHASES)[number], at: 0, post: 0, posts: 0 };
    } while (performance.now() < until);
    await updateErasure(tx, row);
    return true;
  }

  /**
   * Has all stored texts indexed anew if the index does not hold the words of a text. The texts of erasures that have
   * removed their words are indexed again, too, so all erasures begin again.
   * @returns true: the erasure is left
   * @throws any other error
   */
  async function rebuildIndex(run_id: string, error: unknown): Promise<true> {
    if (!isForeignWords(error)) throw error;
    log.warn({ run_id, err: error }, 'the search index does not fit the texts, and is built anew');
    const rebuild = async (tx: Tx) => {
      if (await search.isIncomplete(tx)) return;
      await search.rebuild(tx, await events.latest(tx));
      await restartErasures(tx);
    };
    // In a group, the words of other works would be indexed twice.
    await db.write(rebuild, { alone: true });
    return true;
  }

  /** Goes on with an erasure until a time (as performance.now()). @returns whether it is done */
  async function advance(runId: string, until: number): Promise<boolean> {
    // Words that are still to be indexed could not be removed.
    while (!(await search.isIncomplete(db.read))) {
      const left = await db.write(tx => step(tx, runId)).catch(error => rebuildIndex(runId, error));
      if (!left) return true;
      if (performance.now() > until) return false;
    }
    return false;
  }

  return {
    begin,
    advance,

    /** Whether an erasure of the run is not done. */
    isLeft: async (reader: Reader, runId: string): Promise<boolean> => (await findErasure(reader, runId)) !== undefined,

    /** Goes on with the erasures that are not done. @throws the first error, after the others had their turns */
    async run(): Promise<void> {
      const until = performance.now() + RUN_MS;
      const errors: unknown[] = [];
      for (const runId of await listErasures(db.read, AT_ONCE)) {
        await advance(runId, until).catch(error => errors.push(error));
        if (performance.now() > until) break;
      }
      if (errors.length > 0) throw errors[0];
    },

    /** Begins to erase runs that were closed long enough ago, the oldest first. */
    async eraseOld(): Promise<void> {
      if (retentionDays === 0) return;
      const before = clock.now() - retentionDays * DAY_MS;
      const room = AT_ONCE - (await listErasures(db.read, AT_ONCE)).length;
      if (room === 0) return;
      for (const { run_id } of await control.closedBefore(db.read, before, room)) {
        await db
          .write(tx => begin(tx, run_id, timekeeper, 'retention'))
          .catch(error => {
            if (!(error instanceof Refusal)) throw error;
          });
      }
    },
  };
}

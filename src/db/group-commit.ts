import { setImmediate as nextTurn } from 'node:timers/promises';
import { textOf } from '../error-text.ts';
import { Refusal } from '../errors.ts';
import { errorCode, isCertainlyNotStored, isRefusedCommit, isUnavailable, UnknownOutcome } from './errors.ts';

/*
 * Group commit: works that wait at the same time share one transaction and one flush to disk.
 *
 * - work: the function given to one `Database.write` call. It succeeds or fails as a whole.
 * - group: the works that share a transaction, in the order of their calls. A work never waits for a group to fill.
 * - share: one work's part of its group's transaction.
 * - flush: the engine's write to disk at commit. No caller is answered before it, unless all works of a group do without.
 * - deferred: registered by a work (`beforeCommit`, `count`), run once per group after its last work.
 * - rollback: undoes the whole group. Each of its works then retries alone, once.
 * - alone: in a transaction of its own.
 * - shed: refuse a work before it starts, because too many wait.
 */

/** The most works in a group. It bounds how long a transaction occupies the writer. */
const GROUP_SIZE = 128;
/** The works that begin before the time of their group is looked at. */
const AT_ONCE = 16;
/** Between two groups the event loop turns for others: it accepts one connection and begins a few requests per turn. */
const BREAK_TURNS = 32;
const BREAK_MS = 20;
/** After so many groups of one work in a row, a break without a second work ends after a few turns. */
const LONE_GROUPS = 8;
const LONE_BREAK_TURNS = 2;
/** The most works that wait before sheddable ones are refused: about 0.5 s of writes on SQLite, 4 s on PostgreSQL. */
const QUEUE_SIZE = 2000;
// One instance for all refusals: under overload, a stack trace for each would cost time.
const QUEUE_FULL = new Refusal('SERVICE_UNAVAILABLE', 'The service has too many writes waiting; retry later.');
/**
 * A transaction that fails this slowly because the database is unavailable also fails all waiting works. Each would
 * wait as long for the same error. Milliseconds.
 */
const SLOW_FAILURE_MS = 1000;

/** A thing that a work touches: a run, an idempotency key or a probe with all its rows, or all deliveries. */
export type Touched = `run ${string}` | `key ${string}` | 'deliveries' | 'probe';

/** How a work runs among the others. */
export interface WriteOptions {
  /** Runs the work alone and never retries it: for works that must not run twice. */
  alone?: boolean;
  /**
   * Everything that the work reads and other works may change, for example `['run r1']`. Works of a group run concurrently
   * if they touch nothing in common, and so do the groups of several processes. A work that does not say what it touches
   * never overlaps another.
   */
  touches?: readonly Touched[] | undefined;
  /** Refuses the work with SERVICE_UNAVAILABLE while too many wait. Only for callers that can retry: HTTP clients. */
  sheddable?: boolean;
  /** Runs the work before all waiting ones: for the health probe. */
  first?: boolean;
  /**
   * False for a work that a power failure may undo, because it is repeated then. Its commit waits for no flush, unless
   * another work of its group needs one. What is flushed later includes it, so a later commit never outlives it.
   */
  flush?: boolean;
}

/** One work's part of its group's transaction. `W` is the handle that the work writes with. */
export interface WorkShare<W> {
  tx: W;
  /** Whether the work has changed anything in the transaction so far. */
  readonly hasWritten: boolean;
  /** Resolves when all statements that the work sent have finished; rejects with the first error among them. */
  sendsFinished(): Promise<void>;
  /** Hooks to run at the end of the group: stage by stage, and in ascending `place`. */
  readonly deferred: { stage: number; place: number; run: (tx: W) => void }[];
  /** Amounts to add up per `key` over the group; `store` writes the sum. */
  readonly increments: { key: string; by: number; store: (tx: W, sum: number) => void }[];
  /** Closes the share: its `tx` throws from now on. */
  end(): void;
  /** Hooks to run once the transaction is durable. */
  readonly hooks: (() => void)[];
}

/** What a transaction is for. */
export interface GroupOptions {
  /** See {@link WriteOptions}. */
  flush: boolean;
  /** What its works touch; undefined if one of them does not say. */
  touches: readonly Touched[] | undefined;
}

/** Runs `body` in a transaction of the engine: commits when it resolves, rolls back when it rejects. */
export type Transact<W> = (
  body: (newShare: () => WorkShare<W>) => Promise<void>,
  options: GroupOptions,
) => Promise<void>;

/** Receives the durations of writes as they happen. Milliseconds. */
export interface WriteTimings {
  /** From the call of a work to the start of its transaction: the wait for earlier works and for locks. */
  waited(milliseconds: number): void;
  /** A group is durable: its number of works, how long they ran, and how long the commit took. */
  committed(works: number, runMs: number, commitMs: number): void;
}

type WorkResult = { value: unknown } | { error: unknown };

/** A work that waits for its transaction. */
interface QueuedWork<W> {
  work: (tx: W) => Promise<unknown>;
  /** Asked for by the caller, or set for the retry after a rollback. */
  alone: boolean;
  touches: readonly Touched[] | undefined;
  flush: boolean;
  /** The time of the call on the monotonic clock. Milliseconds. */
  queuedAt: number;
  /** Answers the caller; on success, runs the hooks first. */
  settle(result: WorkResult, hooks: (() => void)[]): void;
}

/**
 * Rolls back a group because one work failed after it had written; its works retry alone. It stands for the error of the
 * work, which may be anything: a driver inspects errors before it rolls back.
 */
class GroupRollback extends Error {
  readonly code: string | undefined;

  constructor(error: unknown) {
    super('A work of the group failed.');
    this.code = errorCode(error);
  }
}

/**
 * Queues works and commits them in groups. The works of a group start in order. Those that touch different things run
 * concurrently, so they also share round trips to a server.
 *
 * A work that fails before it has written anything (every refusal does) fails alone; its group commits without it. A
 * work that fails later, or a refused commit, rolls back the group: each work retries alone, once. An unavailable
 * database (full disk, lost server) fails the whole group without a retry. If it is lost during the commit, the error
 * is UnknownOutcome.
 *
 * @param groupMs for an engine whose statements occupy the event loop: a group begins no work after this time. Milliseconds
 */
export function createGroupCommit<W>(transact: Transact<W>, timings: WriteTimings, groupMs?: number) {
  const queue: QueuedWork<W>[] = [];
  let running = false;
  /** Groups of one flushed work in a row: there is one caller, who would wait for others in vain. The worker's are not flushed. */
  let lone = 0;

  async function drain(): Promise<void> {
    running = true;
    // Calls of the same turn of the event loop join the group.
    await nextTurn();
    while (queue.length > 0) {
      const group = nextGroup();
      lone = group.length === 1 && group[0]?.flush ? lone + 1 : 0;
      await commitGroup(group);
      await takeBreak();
    }
    running = false;
  }

  async function takeBreak(): Promise<void> {
    const end = performance.now() + BREAK_MS;
    let turns = 0;
    do {
      await nextTurn();
      turns += 1;
      if (lone >= LONE_GROUPS && turns >= LONE_BREAK_TURNS && queue.length <= 1) return;
    } while (turns < BREAK_TURNS && performance.now() < end);
  }

  function nextGroup(): QueuedWork<W>[] {
    const limit = Math.min(GROUP_SIZE, queue.length);
    const end = queue.findIndex(({ alone }, index) => alone || index === limit);
    return queue.splice(0, end === -1 ? limit : Math.max(end, 1));
  }

  /** Commits the works of the group that can begin in time, and puts the others back. */
  async function commitGroup(group: QueuedWork<W>[]): Promise<void> {
    let begun = 0;
    const late = new Set<QueuedWork<W>>();
    const finished: { queued: QueuedWork<W>; share: WorkShare<W>; result: WorkResult }[] = [];
    /** Why the transaction rolls back. Boxed, because a handler may throw undefined. */
    let failure: { error: unknown } | undefined;
    const fail = (error: unknown) => {
      failure ??= { error };
      return new GroupRollback(failure.error);
    };
    const requestedAt = performance.now();
    let [beganAt, ranAt] = [0, 0];
    try {
      await transact(
        async newShare => {
          beganAt = performance.now();
          await runInOrder(group, async queued => {
            if (failure) return;
            if (groupMs !== undefined && begun > 0 && performance.now() - beganAt > groupMs) {
              late.add(queued);
              return;
            }
            begun += 1;
            timings.waited(beganAt - queued.queuedAt);
            const share = newShare();
            const result = await runWork(queued, share);
            if ('error' in result && (share.hasWritten || group.length === 1)) fail(result.error);
            else finished.push({ queued, share, result });
          });
          if (failure) throw new GroupRollback(failure.error);
          const last = newShare();
          try {
            runDeferred(
              finished.filter(({ result }) => 'value' in result).map(({ share }) => share),
              last.tx,
            );
            for (const { share } of finished) await share.sendsFinished();
            await last.sendsFinished();
          } catch (error) {
            throw fail(error);
          } finally {
            last.end();
          }
          ranAt = performance.now();
        },
        { flush: group.some(({ flush }) => flush), touches: touchedBy(group) },
      );
      timings.committed(begun, ranAt - beganAt, performance.now() - ranAt);
      queue.unshift(...late);
    } catch (error) {
      queue.unshift(...late);
      const tried = group.filter(queued => !late.has(queued));
      const failed = error instanceof GroupRollback ? failure : undefined;
      // An unavailable database would fail a retry too. A refused commit has certainly stored nothing; a commit whose
      // connection broke may have stored everything.
      const retry = tried.length > 1 && (failed ? !isUnavailable(failed.error) : isRefusedCommit(error));
      if (!retry) {
        const reason = failed ? failed.error : error;
        const isUnknown = !failed && ranAt > 0 && !isCertainlyNotStored(error);
        reject(tried, isUnknown ? new UnknownOutcome(error) : reason);
        // An error of the works themselves does not count: the database was there to roll them back.
        const unavailable = !failed && isUnavailable(error);
        if (unavailable && performance.now() - requestedAt > SLOW_FAILURE_MS) reject(queue.splice(0), error);
        return;
      }
      queue.unshift(...tried.map(queued => ({ ...queued, alone: true })));
      return;
    }
    for (const { queued, share, result } of finished) queued.settle(result, share.hooks);
  }

  async function runWork({ work }: QueuedWork<W>, share: WorkShare<W>): Promise<WorkResult> {
    try {
      return { value: await work(share.tx) };
    } catch (error) {
      // A statement that was sent earlier may have failed first; its error is the cause.
      return share.sendsFinished().then(
        () => ({ error }),
        cause => ({ error: cause }),
      );
    } finally {
      share.end();
    }
  }

  /** Calls `run`, which never rejects, for each work, after the earlier works that touch the same things. */
  async function runInOrder(group: QueuedWork<W>[], run: (queued: QueuedWork<W>) => Promise<void>): Promise<void> {
    /** Per thing: the run of the last work that touches it. */
    const lastRuns = new Map<string, Promise<void>>();
    let running: Promise<void>[] = [];
    let started = 0;
    for (const queued of group) {
      const { touches } = queued;
      const isSlice = groupMs !== undefined && ++started % AT_ONCE === 0;
      if (!touches || isSlice) {
        await Promise.all(running);
        running = [];
        lastRuns.clear();
        await run(queued);
        continue;
      }
      const earlier = touches.map(thing => lastRuns.get(thing)).filter(last => last !== undefined);
      const current = earlier.length > 0 ? Promise.all(earlier).then(() => run(queued)) : run(queued);
      running.push(current);
      for (const thing of touches) lastRuns.set(thing, current);
    }
    await Promise.all(running);
  }

  /** Runs the deferred hooks of the group, then stores its sums. */
  function runDeferred(shares: WorkShare<W>[], tx: W): void {
    const deferred = shares.flatMap(share => share.deferred);
    for (const { run } of deferred.sort((a, b) => a.stage - b.stage || a.place - b.place)) run(tx);
    const increments = shares.flatMap(share => share.increments);
    // In one order in all processes: each waits for rows that another one has changed.
    const sorted = [...Map.groupBy(increments, ({ key }) => key)].sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [, increments] of sorted) {
      const sum = increments.reduce((total, { by }) => total + by, 0);
      if (sum !== 0) increments[0]?.store(tx, sum);
    }
  }

  function reject(group: QueuedWork<W>[], error: unknown): void {
    for (const { settle } of group) settle({ error }, []);
  }

  /**
   * Queues a work; resolves with its value once its transaction is durable, or committed if it needs no flush.
   * @throws Refusal SERVICE_UNAVAILABLE if the work is sheddable and the queue is full
   */
  return <T>(
    work: (tx: W) => Promise<T>,
    { alone = false, touches, sheddable, first, flush = true }: WriteOptions = {},
  ): Promise<T> =>
    new Promise<T>((resolve, refuse) => {
      if (sheddable && queue.length >= QUEUE_SIZE) return refuse(QUEUE_FULL);
      const settle = (result: WorkResult, hooks: (() => void)[]) => {
        if ('error' in result) return refuse(result.error);
        for (const hook of hooks) runHook(hook);
        resolve(result.value as T);
      };
      const queued = { work, alone, touches, flush, queuedAt: performance.now(), settle };
      if (first) queue.unshift(queued);
      else queue.push(queued);
      if (!running) void drain();
    });
}

/** Everything that works touch; undefined if one of them does not say. */
function touchedBy(works: readonly Pick<WriteOptions, 'touches'>[]): readonly Touched[] | undefined {
  const touched: Touched[] = [];
  for (const { touches } of works) {
    if (!touches) return undefined;
    touched.push(...touches);
  }
  return touched;
}

/**
 * What is committed stays so, and the works behind it have their turn. A hook that fails is told as a warning of Node.
 */
function runHook(hook: () => void): void {
  try {
    hook();
  } catch (error) {
    process.emitWarning(`What was to be done after a commit has failed: ${textOf(error)}`, 'AfterCommitWarning');
  }
}

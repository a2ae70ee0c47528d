import { setImmediate as nextTurn } from 'node:timers/promises';
import { Refusal } from '../errors.ts';
import { isCertainlyNotStored, isRefusedCommit, isUnavailable, UnknownOutcome } from './errors.ts';

/** Works that share a transaction at most: how long it may hold the event loop and the writer has an end. */
const GROUP_SIZE = 128;
/** Works that wait at most before one for a caller is refused: half a second of work for SQLite, some four for PostgreSQL. */
const ROOM = 2000;
// Made once: a stack for each refusal would be work for nothing.
const FULL = new Refusal('SERVICE_UNAVAILABLE', 'More writes are waiting than the service can take; try again.');
/**
 * A transaction that took so long only to find that the database cannot be used speaks for those who have waited behind
 * it, too: one after the other they would wait as long for the same. Milliseconds.
 */
const LONG_IN_VAIN_MS = 1000;

export interface WriteOptions {
  /** It must not run twice, so it shares its transaction with nobody. */
  alone?: boolean;
  /**
   * Names of what the work reads and then changes, if that is all that other works could change under it. Those that have
   * nothing in common run side by side in their transaction; a work without names runs by itself.
   */
  touches?: readonly string[] | undefined;
  /** Refused with SERVICE_UNAVAILABLE while very many writes wait. */
  sheddable?: boolean;
  /** Runs before all that wait: for a probe that says whether writing works. */
  first?: boolean;
}

/** One work's part of a transaction. */
export interface WorkShare<W> {
  /** What the work writes with. */
  tx: W;
  /** Whether it has changed anything in the transaction so far. */
  readonly hasWritten: boolean;
  /** Resolves when all that the work has sent has been done, and rejects with what went wrong first. */
  arrived(): Promise<void>;
  /** What the work has put off until the end of the transaction; lower orders first. */
  readonly putOff: { order: number; run: (tx: W) => void }[];
  /** What it has counted. */
  readonly counted: { key: string; by: number; store: (tx: W, sum: number) => void }[];
  /** Nothing more is taken from the work. */
  end(): void;
  /** To be run when it is durable. */
  readonly hooks: (() => void)[];
}

/** Runs `inside` in a transaction of the engine: commits when it resolves, rolls back when it rejects. */
export type Transact<W> = (inside: (begin: () => WorkShare<W>) => Promise<void>) => Promise<void>;

/** Told how long things take, as they happen. Milliseconds. */
export interface WriteTimings {
  /** A work has waited so long for its turn: for the works before it, and for the database's one writer. */
  waited(milliseconds: number): void;
  /** A transaction of so many works is durable: how long they ran, and how long the commit took. */
  committed(works: number, ran: number, took: number): void;
}

type Ending = { value: unknown } | { error: unknown };

interface Entry<W> {
  work: (tx: W) => Promise<unknown>;
  /** It must not run twice, or has failed in company, so it shares its transaction with nobody. */
  alone: boolean;
  touches: readonly string[] | undefined;
  /** When it was asked for, on the monotonic clock. Milliseconds. */
  since: number;
  settle(ending: Ending, hooks: (() => void)[]): void;
}

/** A work has failed with its writes half done; what it shares a transaction with has to be undone with it. */
class Spoiled extends Error {}

/**
 * Group commit: works that are waiting at the same time run in one transaction and are made durable by one flush to disk;
 * none is answered before that. They run in their order, side by side where they touch different things, so that they
 * share the ways to a server, too. A work that comes alone does not wait for company.
 *
 * One that fails before it has written anything (every refusal does) leaves the others alone. If one fails after that, or
 * the commit is refused, the transaction is rolled back and each of its works runs again in one of its own, once. If the
 * database cannot be used (its disk is full, its server is gone) nothing runs again: all of them fail with that, or with
 * UnknownOutcome if it happened during the commit.
 */
export function createGroupCommit<W>(transact: Transact<W>, timings: WriteTimings) {
  const waiting: Entry<W>[] = [];
  let running = false;

  async function drain(): Promise<void> {
    running = true;
    while (waiting.length > 0) {
      // What arrives in the same turn of the event loop comes along.
      await nextTurn();
      await commitGroup(nextGroup());
    }
    running = false;
  }

  function nextGroup(): Entry<W>[] {
    const limit = Math.min(GROUP_SIZE, waiting.length);
    const end = waiting.findIndex(({ alone }, index) => alone || index === limit);
    return waiting.splice(0, end === -1 ? limit : Math.max(end, 1));
  }

  async function commitGroup(group: Entry<W>[]): Promise<void> {
    const ended: { entry: Entry<W>; part: WorkShare<W>; ending: Ending }[] = [];
    /** Why the transaction is to be rolled back. Whatever it is: a handler may throw undefined. */
    let failed: { error: unknown } | undefined;
    const spoil = (error: unknown) => {
      // What fails because the database cannot be used fails alone as well.
      failed ??= { error: group.length === 1 || isUnavailable(error) ? error : new Spoiled() };
      return failed;
    };
    const asked = performance.now();
    let [began, done] = [0, 0];
    try {
      await transact(async begin => {
        began = performance.now();
        for (const { since } of group) timings.waited(began - since);
        await inOrder(group, async entry => {
          if (failed) return;
          const part = begin();
          const ending = await endingOf(entry, part);
          if ('error' in ending && (part.hasWritten || group.length === 1)) spoil(ending.error);
          else ended.push({ entry, part, ending });
        });
        if (failed) throw failed.error;
        const last = begin();
        try {
          finish(
            ended.filter(({ ending }) => 'value' in ending).map(({ part }) => part),
            last.tx,
          );
          for (const { part } of ended) await part.arrived();
          await last.arrived();
        } catch (error) {
          throw spoil(error).error;
        } finally {
          last.end();
        }
        done = performance.now();
      });
      timings.committed(group.length, done - began, performance.now() - done);
    } catch (error) {
      // After a commit that was refused it is certain that nothing is stored; after one that broke off it is not.
      const again = group.length > 1 && (error instanceof Spoiled || isRefusedCommit(error));
      if (!again) {
        const atCommit = done > 0 && !isCertainlyNotStored(error);
        reject(group, atCommit ? new UnknownOutcome(error) : error);
        // Not for what a work has met elsewhere: after that, the transaction itself could be rolled back.
        const gone = error !== failed?.error && isUnavailable(error);
        if (gone && performance.now() - asked > LONG_IN_VAIN_MS) reject(waiting.splice(0), error);
        return;
      }
      waiting.unshift(...group.map(entry => ({ ...entry, alone: true })));
      return;
    }
    for (const { entry, part, ending } of ended) entry.settle(ending, part.hooks);
  }

  async function endingOf({ work }: Entry<W>, part: WorkShare<W>): Promise<Ending> {
    try {
      return { value: await work(part.tx) };
    } catch (error) {
      // What was sent before may have failed first.
      return part.arrived().then(
        () => ({ error }),
        first => ({ error: first }),
      );
    } finally {
      part.end();
    }
  }

  /** Runs each of the works, none of which rejects, after those before it that touch the same. */
  async function inOrder(group: Entry<W>[], run: (entry: Entry<W>) => Promise<void>): Promise<void> {
    /** The last work that touches a thing. */
    const latest = new Map<string, Promise<void>>();
    for (const entry of group) {
      const { touches } = entry;
      if (!touches) {
        await Promise.all(latest.values());
        latest.clear();
        await run(entry);
        continue;
      }
      const before = touches.map(thing => latest.get(thing)).filter(work => work !== undefined);
      const work = before.length > 0 ? Promise.all(before).then(() => run(entry)) : run(entry);
      for (const thing of touches) latest.set(thing, work);
    }
    await Promise.all(latest.values());
  }

  /** Does what was put off, and stores what was counted. */
  function finish(parts: WorkShare<W>[], tx: W): void {
    const putOff = parts.flatMap(part => part.putOff);
    for (const { run } of putOff.sort((a, b) => a.order - b.order)) run(tx);
    for (const counted of Map.groupBy(
      parts.flatMap(part => part.counted),
      ({ key }) => key,
    ).values()) {
      const sum = counted.reduce((total, { by }) => total + by, 0);
      if (sum !== 0) counted[0]?.store(tx, sum);
    }
  }

  function reject(group: Entry<W>[], error: unknown): void {
    for (const { settle } of group) settle({ error }, []);
  }

  /** @throws Refusal SERVICE_UNAVAILABLE if there is no room */
  return <T>(
    work: (tx: W) => Promise<T>,
    { alone = false, touches, sheddable, first }: WriteOptions = {},
  ): Promise<T> =>
    new Promise<T>((resolve, refuse) => {
      if (sheddable && waiting.length >= ROOM) return refuse(FULL);
      const settle = (ending: Ending, hooks: (() => void)[]) => {
        if ('error' in ending) return refuse(ending.error);
        for (const hook of hooks) hook();
        resolve(ending.value as T);
      };
      const entry = { work, alone, touches, since: performance.now(), settle };
      if (first) waiting.unshift(entry);
      else waiting.push(entry);
      if (!running) void drain();
    });
}

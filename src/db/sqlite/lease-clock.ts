import type BetterSqlite from 'better-sqlite3';
import type { Clock } from '../../clock.ts';

/** How often at most the mark is written, and what a start adds to it, since leases were written after it. Milliseconds. */
const MARK_EVERY_MS = 1000;

/**
 * The clock of leases and delays on SQLite. It takes the wall clock at the start, and from then on the monotonic clock
 * of the process. So it ignores a wall clock that somebody sets, and the sleep of the machine. If the wall clock has
 * been set back meanwhile, a start goes on where the last process was. Due deliveries stay due.
 */
export class LeaseClock implements Clock {
  readonly #writer: BetterSqlite.Database;
  #start = Date.now() - performance.now();
  #marked = 0;
  /** Set once the table is there. */
  #statements: Record<'mark' | 'changes', BetterSqlite.Statement> | undefined;
  /** Rows changed on the connection before this transaction, if it is time for a mark. */
  #before: unknown;

  constructor(writer: BetterSqlite.Database) {
    this.#writer = writer;
  }

  now(): number {
    return Math.ceil(this.#start + performance.now());
  }

  /** A time of the wall clock on this one. They are the same until somebody sets the wall clock. */
  ofWall(at: number): number {
    // Whole seconds: the same time has to be the same at each call.
    return at + Math.round((this.now() - Date.now()) / 1000) * 1000;
  }

  /** Goes on after the last process, whose mark is in the database. */
  resume(): void {
    const last = this.#writer.prepare('select at from lease_clock').pluck().get() as number | undefined;
    if (last !== undefined && last > this.now()) this.#start += last + MARK_EVERY_MS - this.now();
    this.#statements = {
      mark: this.#writer.prepare(
        'insert into lease_clock (id, at) values (1, ?) on conflict do update set at = excluded.at',
      ),
      changes: this.#writer.prepare('select total_changes()').pluck(),
    };
  }

  /** Called when a transaction has begun. */
  begun(): void {
    const isTime = this.now() - this.#marked >= MARK_EVERY_MS;
    this.#before = isTime ? this.#statements?.changes.get() : undefined;
  }

  /** Called before it is committed: notes how late it is, unless the transaction has written nothing. */
  ending(): void {
    if (!this.#statements || this.#before === undefined || this.#before === this.#statements.changes.get()) return;
    this.#marked = this.now();
    this.#statements.mark.run(this.#marked);
  }
}

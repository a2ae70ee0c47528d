import fc from 'fast-check';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type EncodedEvent, EventFeed } from '../../src/events/feed.ts';
import type { Event } from '../../src/events/schemas.ts';

/* What HTTP cannot decide: in which order the feed's reads, its followers and the commits meet. */

const SEED = Number(process.env.TEST_SEED ?? 7);
/** No timer helps: the feed has to see everything by what it is told. */
const pollIntervalMs = 2 ** 31 - 1;
/** What the feed may hold for those who follow. */
const KEPT = { events: 500, characters: 4_000_000 };

const silent = pino({ level: 'silent' });
const sequenceOf = ({ event }: EncodedEvent) => event.sequence;

/** A log that stands in for the database at the feed's own door: an array, with gaps where writes were rolled back. */
class Log {
  readonly events: Event[] = [];
  reads = 0;
  /** How many of the next reads fail. */
  failures = 0;
  #next = 1;

  commit(count: number, size = 0): void {
    for (let index = 0; index < count; index++) {
      const payload = { text: 'x'.repeat(size) };
      this.events.push({ sequence: this.#next++, event_type: 'forum.post.added', payload } as unknown as Event);
    }
  }

  rollBack(count: number): void {
    this.#next += count;
  }

  latest(): number {
    return this.events.at(-1)?.sequence ?? 0;
  }

  after(sequence: number, limit = Number.POSITIVE_INFINITY): Event[] {
    return this.events.filter(event => event.sequence > sequence).slice(0, limit);
  }
}

/** A feed of this log; `settle` stands between each of its reads and the answer. */
function feedOf(log: Log, settle: <T>(answer: T) => Promise<T>): EventFeed {
  const look = <T>(answer: () => T) => {
    log.reads += 1;
    if (log.failures > 0) {
      log.failures -= 1;
      return settle(undefined).then(() => {
        throw new Error('the database is away');
      });
    }
    return settle(answer());
  };
  return new EventFeed({
    read: (after, limit) => look(() => log.after(after, limit)),
    latest: () => look(() => log.latest()),
    pollIntervalMs,
    log: silent,
  });
}

describe('the feed', () => {
  it('tells followers of everything, once and in order, and keeps a window without a gap, however things meet', async () => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ do: fc.constant('commit' as const), count: fc.integer({ min: 1, max: 5 }) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant('commit' as const), count: fc.integer({ min: 150, max: 700 }) }),
      },
      { weight: 1, arbitrary: fc.constant({ do: 'commit large' as const }) },
      { weight: 2, arbitrary: fc.constant({ do: 'roll back' as const }) },
      { weight: 3, arbitrary: fc.constant({ do: 'follow' as const }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('unfollow' as const), which: fc.nat(3) }) },
      { weight: 1, arbitrary: fc.constant({ do: 'fail' as const }) },
      { weight: 2, arbitrary: fc.constant({ do: 'wake' as const }) },
      {
        weight: 6,
        arbitrary: fc.record({ do: fc.constant('let pass' as const), count: fc.integer({ min: 1, max: 4 }) }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.array(step, { minLength: 5, maxLength: 40 }), async (scheduler, steps) => {
        const log = new Log();
        const feed = feedOf(log, answer => scheduler.schedule(Promise.resolve(answer)));
        const followers: Following[] = [];
        const committed = () => feed.wake();
        for (const action of steps) {
          if (action.do === 'commit') log.commit(action.count);
          if (action.do === 'commit large') log.commit(6, 1_000_000);
          if (action.do === 'roll back') log.rollBack(2);
          if (action.do === 'follow' && followers.length < 4) followers.push(follow(feed, log));
          if (action.do === 'unfollow') followers.splice(action.which, 1)[0]?.stop();
          if (action.do === 'fail') log.failures += 1;
          if (action.do === 'let pass')
            for (let n = 0; n < action.count; n++) if (scheduler.count() > 0) await scheduler.waitOne();
          if (/commit|wake/.test(action.do)) committed();
          for (const follower of followers) follower.check();
          checkWindow(feed, log);
        }
        // The database is back, and one last commit is told.
        log.failures = 0;
        await scheduler.waitIdle();
        log.commit(1);
        committed();
        await scheduler.waitIdle();
        for (const follower of followers) follower.checkAll();
        checkWindow(feed, log);
        const { reads } = log;
        for (const follower of followers) follower.stop();
        await scheduler.waitIdle();
        log.commit(1);
        committed();
        await scheduler.waitIdle();
        expect(log.reads, 'reads while nobody follows').toBe(reads);
        await feed.close();
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it('sees what is committed at the very moment at which it stops reading, without waiting for a poll', async () => {
    const missed: number[] = [];
    for (let turns = 0; turns < 30; turns++) {
      const log = new Log();
      const feed = feedOf(log, async answer => answer);
      const seen: number[] = [];
      const unfollow = await feed.subscribe(events => seen.push(...events.map(sequenceOf)));
      log.commit(1);
      feed.wake();
      for (let turn = 0; turn < turns; turn++) await null;
      log.commit(1);
      feed.wake();
      await new Promise(setImmediate);
      if (seen.join() !== '1,2') missed.push(turns);
      unfollow();
      await feed.close();
    }
    expect(missed, 'turns of the event loop between the first commit and one that was missed').toEqual([]);
  });

  it('sees what is committed while it begins, without waiting for a poll', async () => {
    const log = new Log();
    const gates: (() => void)[] = [];
    const feed = feedOf(log, answer => new Promise(resolve => gates.push(() => resolve(answer))));
    onTestFinished(() => feed.close());
    const seen: number[] = [];
    const following = feed.subscribe(events => seen.push(...events.map(sequenceOf)));
    // It has asked for the newest sequence and not yet been answered.
    log.commit(1);
    feed.wake();
    gates.shift()?.();
    const unfollow = await following;
    for (let open = gates.shift(); open; open = gates.shift()) {
      open();
      await new Promise(setImmediate);
    }
    expect(seen).toEqual([1]);
    unfollow();
  });
});

interface Following {
  check(): void;
  checkAll(): void;
  stop(): void;
}

/** A follower that knows what it must have been told. */
function follow(feed: EventFeed, log: Log): Following {
  const told: number[] = [];
  /** The newest sequence when the feed said that it tells from now on; undefined until then. */
  let from: number | undefined;
  let stopped = false;
  const following = feed.subscribe(events => {
    expect(stopped).toBe(false);
    told.push(...events.map(sequenceOf));
  });
  following.then(
    () => {
      from = log.latest();
    },
    () => {
      stopped = true;
    },
  );
  const check = () => {
    if (stopped || told.length === 0) return;
    expect(told).toEqual(
      log
        .after((told[0] as number) - 1)
        .map(event => event.sequence)
        .slice(0, told.length),
    );
  };
  return {
    check,
    checkAll() {
      check();
      if (stopped) return;
      expect(from).toBeDefined();
      const due = log.after(from as number).map(event => event.sequence);
      expect(told.filter(sequence => sequence > (from as number))).toEqual(due);
    },
    stop() {
      following.then(
        unfollow => {
          stopped = true;
          unfollow();
        },
        () => {},
      );
    },
  };
}

/** Whatever the feed keeps after a sequence is what the log has after it, and there is not too much of it. */
function checkWindow(feed: EventFeed, log: Log): void {
  const sequences = [0, log.latest() + 1, ...log.events.slice(-600).map(event => event.sequence)];
  for (const sequence of sequences.filter(
    (_, index) => index < 5 || index % 97 === 0 || index > sequences.length - 5,
  )) {
    const kept = feed.after(sequence);
    if (!kept) continue;
    const due = log.after(sequence).map(event => event.sequence);
    expect(kept.map(sequenceOf)).toEqual(due.slice(0, kept.length));
    expect(kept.length).toBeLessThanOrEqual(KEPT.events);
    expect(kept.reduce((sum, { text }) => sum + text.length, 0)).toBeLessThanOrEqual(KEPT.characters);
  }
}

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../src/db/database.ts';
import type { Touched } from '../../src/db/group-commit.ts';
import { engines } from '../helpers/engines.ts';
import { afterTurns } from '../helpers/turns.ts';
import {
  type Answer,
  harmless,
  type Kind,
  kinds,
  type Place,
  type Planned,
  type Stored,
} from '../helpers/write-kinds.ts';
import { type Opened, openScratch } from '../helpers/writes.ts';

/*
 * Works that share a transaction must not be able to tell: each is answered, and leaves behind, what it would if they
 * had run one after the other, each in a transaction of its own.
 */

const SEED = 1;
const RUNS = 250;

function batchOf(names: readonly Planned['kind'][], keys: string): fc.Arbitrary<Planned[]> {
  const work = fc.record({
    kind: fc.constantFrom(...names),
    key: fc.constantFrom(...keys),
    by: fc.integer({ min: -2, max: 3 }),
    order: fc.nat(2),
    alone: fc.nat(5).map(number => number === 0),
    late: fc.boolean(),
    says: fc.boolean(),
  });
  return fc.array(work, { minLength: 1, maxLength: 12 });
}

const anyBatch = fc.oneof(
  batchOf(Object.keys(kinds) as Planned['kind'][], 'abcdefgh'),
  batchOf(harmless, 'abcdefghijklmnopqrstuvwxyz'),
);

describe.each(engines)('works at the same moment on %s', engine => {
  let opened: Opened;
  let runs = 0;

  beforeAll(async () => {
    opened = await openScratch(engine);
  });
  afterAll(() => opened.drop());

  /** Gives all of them at once, or nearly, and notes what becomes of each. */
  async function give(places: Place[]) {
    const { db, beside } = opened;
    const given: Place[] = [];
    const begun = places.map(() => 0);
    const hooks: { index: number; keys: Promise<string[]> }[] = [];
    const answers = places.map(place => {
      const { index, caller, alone, kind } = place;
      const work = async (tx: Tx) => {
        begun[index] = (begun[index] ?? 0) + 1;
        tx.afterCommit(() => hooks.push({ index, keys: beside.keys(caller) }));
        return kinds[kind].act(tx, place);
      };
      return afterTurns(place.late ? 1 : 0, () => {
        given.push(place);
        return db.write(work, { alone, touches: place.says ? touchedBy(place) : undefined });
      });
    });
    return { answers: await Promise.allSettled(answers), given, begun, hooks };
  }

  it('are answered, and leave behind what they would have one after the other', async () => {
    const property = fc.asyncProperty(anyBatch, async works => {
      const caller = `caller-${++runs}`;
      const places = works.map((work, index): Place => ({ ...work, caller, index }));
      const { answers, given, begun, hooks } = await give(places);

      const stored: Stored = { keys: new Map(), count: 0 };
      const expected: Answer[] = [];
      for (const place of given) expected[place.index] = (kinds[place.kind] as Kind).expected(stored, place, engine);
      expect(answers).toMatchObject(expected);
      expect(await opened.beside.keys(caller)).toEqual([...stored.keys.keys()].sort());
      expect(await leftBehind(caller)).toEqual({ count: stored.count, events: 0 });

      const succeeded = places.filter(({ index }) => expected[index]?.status === 'fulfilled');
      expect(hooks.map(({ index }) => index).sort()).toEqual(succeeded.map(({ index }) => index).sort());
      for (const { index, keys } of hooks) {
        const { kind, key } = places[index] as Place;
        if (kind !== 'counts') expect(await keys).toContain(key);
      }
      for (const { alone, index } of places) expect(begun[index]).toBeLessThanOrEqual(alone ? 1 : 2);
    });
    await fc.assert(property, { seed: SEED, numRuns: RUNS });
  });

  /** All that decides what a work does, and what it does to others. */
  function touchedBy({ kind, key }: Place): Touched[] | undefined {
    return kind === 'stores and reads back' ? undefined : [`key ${key}`];
  }

  async function leftBehind(caller: string) {
    const { query } = opened.db.read;
    const counted = await query.selectFrom('counts').select('count').where('subject', '=', caller).executeTakeFirst();
    const events = await query.selectFrom('events').select('event_id').execute();
    return { count: counted?.count ?? 0, events: events.length };
  }
});

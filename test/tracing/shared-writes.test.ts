import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../src/db/database.ts';
import { engines } from '../helpers/engines.ts';
import { newTraceparent } from '../helpers/traces.ts';
import { insertKey, keyRow, type Opened, openScratch } from '../helpers/writes.ts';

describe.each(engines)('writes that share a transaction on %s', engine => {
  let opened: Opened;
  beforeAll(async () => {
    opened = await openScratch(engine);
  });
  afterAll(() => opened.drop());

  /** A work that stores its trace, and in which transaction it did. */
  const noting =
    (caller: string, key: string, seen: { trace: string | null; transaction: string }[], then: () => void = () => {}) =>
    async (tx: Tx) => {
      seen.push({ trace: tx.traceparent, transaction: await opened.beside.transactionOf(tx) });
      tx.send(insertKey, keyRow(caller, key, String(tx.traceparent)));
      then();
    };

  it('keep each its own trace, or none', async () => {
    const { db } = opened;
    const seen: { trace: string | null; transaction: string }[] = [];
    const traces = [newTraceparent(), null, newTraceparent(), undefined, newTraceparent()];
    await Promise.all(
      traces.map((traceparent, index) =>
        db.write(noting('own', String(index), seen), traceparent === undefined ? {} : { traceparent }),
      ),
    );
    expect(new Set(seen.map(({ transaction }) => transaction)).size).toBe(1);
    expect(seen.map(({ trace }) => trace)).toEqual(traces.map(traceparent => traceparent ?? null));
  });

  it('keep it when they run again because one of them has failed', async () => {
    const { db } = opened;
    const seen: { trace: string | null; transaction: string }[] = [];
    const traces = [newTraceparent(), newTraceparent(), newTraceparent()];
    const fails = () => {
      throw new Error('after it has written');
    };
    const endings = await Promise.allSettled(
      traces.map((traceparent, index) =>
        db.write(noting('again', String(index), seen, index === 1 ? fails : undefined), { traceparent }),
      ),
    );
    expect(endings.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    // The first two, of which one failed, and then each by itself.
    const [a, b, c] = traces;
    expect(seen.map(({ trace }) => trace)).toEqual([a, b, a, b, c]);
  });

  it('keep it when they are alone', async () => {
    const traceparent = newTraceparent();
    expect(await opened.db.write(async tx => tx.traceparent, { alone: true, traceparent })).toBe(traceparent);
  });
});

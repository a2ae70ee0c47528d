import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engines } from '../helpers/engines.ts';
import { gate } from '../helpers/handling.ts';
import { type Opened, openScratch } from '../helpers/writes.ts';

const ROOM = 2000;

describe.each(engines)('the room for writes that wait on %s', engine => {
  let opened: Opened;
  beforeAll(async () => {
    opened = await openScratch(engine);
  });
  afterAll(() => opened.drop());

  it('has an end for callers, not for the service itself, and a probe comes first', async () => {
    const { db } = opened;
    const [held, begun] = [gate(), gate()];
    const order: string[] = [];
    const running = db.write(() => {
      begun.open();
      return held.passed;
    });
    await begun.passed;
    const waiting = Array.from({ length: ROOM }, () => db.write(async () => {}, { sheddable: true }));
    await expect(db.write(async () => {}, { sheddable: true })).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    const own = db.write(async () => void order.push('own'));
    const probe = db.write(async () => void order.push('probe'), { first: true });
    await expect(db.write(async () => {}, { sheddable: true })).rejects.toMatchObject({ code: 'SERVICE_UNAVAILABLE' });
    held.open();
    await Promise.all([running, ...waiting, own, probe]);
    expect(order).toEqual(['probe', 'own']);
    await db.write(async () => {}, { sheddable: true });
  });
});

import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import type { LeasedDelivery } from '../../src/outbox/leased-delivery.ts';
import type { Outcome } from '../../src/outbox/outcome.ts';
import { createServices, type Services } from '../../src/services.ts';
import { ManualClock } from '../helpers/clock.ts';
import { type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { handler } from '../helpers/handling.ts';
import { inOwnWrites, type OwnWrites } from '../helpers/outbox.ts';
import { settle } from '../helpers/settling.ts';
import { sqlBeside } from '../helpers/sql.ts';

describe('what a dead process had claimed', () => {
  let scratch: Scratch;
  let services: Services;
  let outbox: OwnWrites;
  let clock: ManualClock;

  beforeEach(async () => {
    clock = new ManualClock();
    scratch = await scratchDatabase('sqlite');
    const config = readConfig({ DATABASE_URL: scratch.url, ROLE: 'http' });
    services = await createServices(config, pino({ level: 'silent' }), { clock, handlers: [handler('a', () => {})] });
    outbox = inOwnWrites(services.db, services.delivery.outbox);
    await services.start();
    await outbox.publish({ topic: 'a', payload: null, message_id: 'm' });
  });
  afterEach(async () => {
    await services.close();
    await scratch.drop();
  });

  const claim = async (): Promise<LeasedDelivery> => {
    clock.advance(1);
    const [delivery] = await services.delivery.deliveries.claim(1);
    if (!delivery) throw new Error('nothing to claim');
    return delivery;
  };
  const ends = async (outcome: Outcome) =>
    expect(await settle(services.delivery.deliveries, await claim(), outcome)).toBe(true);
  const failure: Outcome = { kind: 'retry', delayMs: 1, error: 'no' };
  /** The process that has claimed it dies. Whether that has happened to the message before. */
  const dies = async (): Promise<boolean> => {
    await claim();
    await sqlBeside(scratch.url, "update deliveries set leased_by = 'a-process-that-died'");
    const { count, again } = await services.delivery.maintenance.reclaim();
    expect(count).toBe(1);
    return again;
  };

  it('has been claimed by one before if it has not', async () => {
    expect(await dies()).toBe(false);
    expect(await dies()).toBe(true);
    expect(await dies()).toBe(true);
  });

  it('has not been claimed by one before if its attempts have ended otherwise', async () => {
    await ends(failure);
    await ends({ kind: 'postponed', until: 0, error: 'later' });
    await ends({ kind: 'released' });
    await ends(failure);
    expect(await dies()).toBe(false);
    await ends(failure);
    expect(await dies()).toBe(true);
  });

  it('has been claimed by one before since it was replayed, whatever it had been through until then', async () => {
    await ends(failure);
    await ends(failure);
    await ends({ kind: 'dead', error: 'no', blocks: false });
    await outbox.replay('m');
    expect(await dies()).toBe(false);
    expect(await dies()).toBe(true);
  });
});

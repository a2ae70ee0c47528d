import { setTimeout as delay } from 'node:timers/promises';
import BetterSqlite from 'better-sqlite3';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { readConfig } from '../../src/config.ts';
import type { Engine } from '../../src/db/engine.ts';
import { createHealth } from '../../src/health/health.ts';
import { createServices, type Overrides } from '../../src/services.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { handler } from '../helpers/handling.ts';
import { forThisTest } from '../helpers/process.ts';
import { unserved } from '../helpers/subscriptions.ts';

const log = pino({ level: 'silent' });

/** The parts of a service that has registered its handlers, and runs nothing by itself. */
async function services(engine: Engine, overrides: Overrides = {}) {
  const { url } = await forThisTest(scratchDatabase(engine));
  const made = await createServices(readConfig({ DATABASE_URL: url, MAX_ATTEMPTS: '1' }), log, overrides);
  onTestFinished(() => made.close());
  const { outbox, handlers } = made.delivery;
  await outbox.register(handlers, true);
  return { ...made, ...made.delivery, url };
}

describe.each(engines)('health on %s', engine => {
  it('is ok without a reason', async () => {
    const { check: health } = createHealth({
      ...(await services(engine)),
      drain: { draining: false },
      log,
      dispatches: false,
    });
    expect(await health()).toMatchObject({ status: 'ok', reasons: [], database: 'ok' });
  });

  it('says everything that somebody should look at, and does not call it down', async () => {
    const clock = new ManualClock();
    const fails = () => {
      throw new Error('no');
    };
    const handlers = [handler('fails', fails, { policy: { dead: 'block' } })];
    const { outbox, worker, db, ...others } = await services(engine, { clock, handlers });
    const publish = (topic: string, message_key?: string) =>
      db.write(tx => outbox.publish(tx, { topic, payload: null, ...(message_key && { message_key }) }));
    const gone = Array.from({ length: 11 }, (_, n) => `gone-${n + 10}`);
    await unserved(others.url, { names: gone, topics: ['gone'] });
    await publish('gone');
    await publish('fails', 'key');
    await publish('fails', 'key');
    for (let n = 1; n <= 12; n += 1) await publish(`nobody.${String(n).padStart(2, '0')}`);
    await worker.pass(100);
    clock.advance(75_000);
    const { check: health } = createHealth({
      ...others,
      db,
      outbox,
      worker,
      drain: { draining: false },
      log,
      dispatches: true,
    });
    const named = Array.from({ length: 10 }, (_, n) => `nobody.${String(n + 1).padStart(2, '0')}`).join(', ');
    expect(await health()).toMatchObject({
      status: 'degraded',
      database: 'ok',
      reasons: [
        { code: 'WORKER_STOPPED', detail: 'The worker of this process is not running. Restart the process.' },
        {
          code: 'BACKLOG',
          detail: expect.stringMatching(
            /^The oldest of 12 pending messages has waited 75 s\. Look for .*GET \/bus\/subscriptions/,
          ),
        },
        {
          code: 'DEAD_MESSAGES',
          detail: expect.stringMatching(/^Dead messages: 1\. GET \/outbox\?status=dead .* replay or discard/),
        },
        {
          code: 'LANES_BLOCKED',
          detail: expect.stringMatching(
            /^Message keys blocked by a dead message: 1\. Replay or discard .*GET \/outbox\/stats/,
          ),
        },
        {
          code: 'NO_HANDLER',
          detail: expect.stringContaining(
            `Topics with messages but no handler: ${named} and 2 more. Add their handlers`,
          ),
        },
        {
          code: 'NOT_SERVED',
          detail: expect.stringContaining(
            `Subscriptions with waiting messages that no process serves: ${gone.slice(0, 10).join(', ')} and 1 more. Start a process`,
          ),
        },
      ],
    });
  });

  it('is down while the service drains, and its worker need not run then', async () => {
    const drain = { draining: true };
    const { check: health } = createHealth({ ...(await services(engine)), drain, log, dispatches: true });
    const reasons = [{ code: 'DRAINING', detail: 'The service is shutting down; a second SIGTERM ends it at once.' }];
    expect(await health()).toMatchObject({ status: 'down', reasons, database: 'ok' });
  });

  it('is down where migrations are missing', async () => {
    const made = await services(engine);
    await made.db.write(tx => tx.query.deleteFrom('kysely_migration' as 'topics').execute());
    const { check: health } = createHealth({ ...made, drain: { draining: false }, log, dispatches: false });
    const detail = expect.stringMatching(/^The database lacks migrations: 001-spine, .*\. Run npm run migrate\.$/);
    expect(await health()).toMatchObject({
      status: 'down',
      database: 'down',
      reasons: [{ code: 'MIGRATIONS_MISSING', detail }],
    });
  });

  it('is down where a newer version has migrated the database, unless this one may go on beside it', async () => {
    const clock = new ManualClock();
    const made = await services(engine, { clock });
    const { check: health } = createHealth({ ...made, drain: { draining: false }, log, dispatches: false });
    const applied = (name: string) =>
      made.db.write(async tx => {
        const row = { name, timestamp: '2026-11-22T09:00:00.000Z' };
        await tx.query
          .insertInto('kysely_migration' as 'topics')
          .values(row as never)
          .execute();
      });
    await applied('998-more-additive');
    expect(await health()).toMatchObject({ reasons: [], database: 'ok' });
    await applied('999-other');
    clock.advance(1000);
    const detail = 'A newer version of Forumbus has migrated the database (999-other). Stop this process.';
    const reasons = [{ code: 'SCHEMA_NEWER', detail }];
    await expect.poll(health).toMatchObject({ status: 'down', database: 'down', reasons });
  });

  it('looks once, however many ask, and again a second later', async () => {
    const clock = new ManualClock();
    const made = await services(engine, { clock });
    let looks = 0;
    const backlog = () => {
      looks += 1;
      return made.outbox.backlog();
    };
    const outbox = { ...made.outbox, backlog };
    const { check: health, checkReadOnly } = createHealth({
      ...made,
      outbox,
      drain: { draining: false },
      log,
      dispatches: false,
    });
    await Promise.all(Array.from({ length: 200 }, () => health()));
    for (let n = 0; n < 50; n += 1) await checkReadOnly();
    expect(looks).toBe(1);
    clock.advance(999);
    await health();
    expect(looks).toBe(1);
    clock.advance(1);
    await health();
    expect(looks).toBe(2);
    // A clock that has been set back stops nothing.
    clock.advance(-3_600_000);
    // It starts none while the one before it still runs.
    await expect.poll(() => health().then(() => looks), { timeout: 5000 }).toBe(3);
  });
});

describe('a look that hangs', () => {
  it('keeps nobody waiting, and what was known is told meanwhile', async () => {
    const made = await services('sqlite');
    const { check: health } = createHealth({ ...made, drain: { draining: false }, log, dispatches: false });
    expect((await health()).status).toBe('ok');
    const beside = new BetterSqlite(made.url.slice('sqlite:'.length));
    onTestFinished(() => {
      beside.close();
    });
    beside.exec('begin immediate');
    const begun = performance.now();
    let longest = 0;
    let status = 'ok';
    while (status === 'ok') {
      const asked = performance.now();
      ({ status } = await health());
      longest = Math.max(longest, performance.now() - asked);
      await delay(20);
    }
    expect(performance.now() - begun).toBeGreaterThan(4500);
    expect(longest).toBeLessThan(1000);
    expect(await health()).toMatchObject({
      status: 'down',
      reasons: [{ code: 'DATABASE_UNREACHABLE', detail: 'The database does not answer in time.' }],
    });
    beside.exec('rollback');
    await vi.waitFor(async () => expect((await health()).status).toBe('ok'), { timeout: 3000, interval: 20 });
  });
});

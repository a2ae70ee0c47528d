import { pino } from 'pino';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import type { LogLine } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

const DAY_MS = 24 * 3_600_000;
/** A busy machine is slow, not wrong. */
const within = { timeout: 10_000, interval: 20 };

describe.each(engines)('a maintenance job that fails, on %s', engine => {
  it('starves no other job, is named in the log and in health, and recovers', { timeout: 60_000 }, async () => {
    const clock = new ManualClock();
    const lines: LogLine[] = [];
    const log = pino({ level: 'error' }, { write: line => lines.push(JSON.parse(line)) });
    const config = { ROLE: 'all', POLL_INTERVAL_MS: '20' };
    const service = await startApp(engine, { config, overrides: { clock }, log });
    onTestFinished(() => service.close());
    const reasons = async () => (await service.send('GET', '/bus/health')).body.reasons;
    const keys = async () => (await sqlBeside(service.url, 'select idempotency_key from idempotency_keys')).length;

    const question = signal('guidance_request', { expires_in_seconds: 60 });
    const key = { 'idempotency-key': 'key-1' };
    expect((await service.send('POST', '/control-signals', question, key)).status).toBe(201);
    expect(await keys()).toBe(1);
    expect(await reasons()).toEqual([]);

    await sqlBeside(service.url, 'alter table questions rename to questions_away');
    const detail = expect.stringMatching(/^The job expire_questions failed \d+ times? in a row\. .*questions/);
    await vi.waitFor(async () => expect(await reasons()).toContainEqual({ code: 'WORKER_ERRORS', detail }), within);
    // A job that comes after the failing one still does its work: the key is now too old.
    clock.advance(DAY_MS + 1);
    await vi.waitFor(async () => expect(await keys()).toBe(0), within);
    expect(await reasons()).toContainEqual({ code: 'WORKER_ERRORS', detail });
    expect(lines).toContainEqual(
      expect.objectContaining({ msg: 'a maintenance job failed', job: 'expire_questions', err: expect.anything() }),
    );

    await sqlBeside(service.url, 'alter table questions_away rename to questions');
    await vi.waitFor(async () => expect(await reasons()).toEqual([]), within);
    await vi.waitFor(async () => {
      const { items } = (await service.send('GET', '/questions?state=expired')).body;
      expect(items).toHaveLength(1);
    }, within);
  });
});

import { describe, expect, it, onTestFinished } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { startApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { Counter, handler } from '../helpers/handling.ts';
import { sqlBeside } from '../helpers/sql.ts';

const OTHERS = 20;
const refused = `new.message_number = ${OTHERS + 1} and new.status in ('sent', 'failed', 'dead')`;
/** Another program will not have the outcome of one message stored. */
const refuse: Record<Engine, string> = {
  sqlite: `create trigger poor before update on deliveries when ${refused} begin select raise(abort, 'not this one'); end`,
  postgres: `create function refuse() returns trigger language plpgsql as
      'begin raise exception ''not this one''; end';
    create trigger poor before update on deliveries for each row when (${refused}) execute function refuse()`,
};
const relent: Record<Engine, string> = { sqlite: 'drop trigger poor', postgres: 'drop trigger poor on deliveries' };

describe.each(engines)('outcomes of one moment on %s', engine => {
  it('are stored although one of them cannot be, and that one comes again', async () => {
    const attempts = new Counter<string>();
    // All of them end in the turn in which the last one has begun.
    const begun = new Counter<unknown>();
    const all = begun.reach(OTHERS + 1);
    const handle = async (received: { message_id: string; topic: string }) => {
      attempts.add(received.message_id);
      begun.add(received);
      await all;
      if (received.topic === 'fails') throw new Error('no');
    };
    const service = await startApp(engine, {
      config: { WORKER_CONCURRENCY: '100', LEASE_MS: '2000', MAX_ATTEMPTS: '1' },
      overrides: { handlers: [handler(['ends', 'fails'], handle)] },
    });
    onTestFinished(service.close);
    const publish = (topic: string, message_id: string) =>
      service.send('POST', '/outbox', { topic, message_id, payload: null });
    for (let n = 0; n < OTHERS; n += 1) await publish(n % 2 === 0 ? 'ends' : 'fails', `other-${n}`);
    await publish('ends', 'poor');
    await sqlBeside(service.url, refuse[engine]);

    expect((await service.send('POST', '/bus/process')).body).toEqual({
      claimed: OTHERS + 1,
      sent: OTHERS / 2,
      failed: 0,
      dead: OTHERS / 2,
    });
    for (let n = 0; n < OTHERS; n += 1) {
      const { body } = await service.send('GET', `/outbox/other-${n}`);
      expect(body).toMatchObject({ status: n % 2 === 0 ? 'sent' : 'dead', attempts: 1 });
      expect(body.attempt_history).toHaveLength(1);
    }
    expect((await service.send('GET', '/outbox/poor')).body).toMatchObject({ status: 'processing', attempts: 1 });
    const { by_status } = (await service.send('GET', '/outbox/stats')).body;
    expect(by_status).toMatchObject({ sent: OTHERS / 2, dead: OTHERS / 2, processing: 1 });
    expect((await service.send('GET', '/bus/health')).body.worker.last_error).toContain('not this one');

    await sqlBeside(service.url, relent[engine]);
    const again = async () => (await service.send('POST', '/bus/process')).body.claimed;
    await expect.poll(again, { interval: 20, timeout: 10_000 }).toBe(1);
    expect((await service.send('GET', '/outbox/poor')).body).toMatchObject({
      status: 'dead',
      last_error: 'Every attempt ended without a result.',
    });
    expect(attempts.seen).toHaveLength(OTHERS + 1);
  });
});

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { dump } from '../helpers/database.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { deadly, fresh, keyed, operations, type Post, posts } from '../helpers/posts.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

const DAY_MS = 24 * 3_600_000;
const overrides = { handlers: [deadly] };

describe.each(engines)('stored answers on %s', engine => {
  it('outlive a restart, whatever was asked', async () => {
    const service = await startApp(engine, { overrides });
    onTestFinished(() => service.close());
    const make = posts(service);
    const sent: { post: Post; key: string; first: object }[] = [];
    for (const operation of operations) {
      const post: Post = await make[operation]();
      const key = fresh();
      sent.push({ post, key, first: await keyed(service, key, post) });
    }
    await service.restart();
    const before = await dump(service.url);
    for (const { post, key, first } of sent) {
      expect(await keyed(service, key, post)).toEqual({ ...first, replayed: true });
    }
    expect(await dump(service.url)).toEqual(before);
  });

  it('belong to the first of several signals that come at once under one key, whatever their runs', async () => {
    const service = await startApp(engine);
    onTestFinished(() => service.close());
    const key = fresh();
    const runs = Array.from({ length: 20 }, (_, index) => `run-${index}`);
    const answers = await Promise.all(
      runs.map(run_id => keyed(service, key, { url: '/control-signals', body: signal('completion', { run_id }) })),
    );
    const stored = answers.filter(({ status }) => status === 201);
    expect(stored).toHaveLength(1);
    for (const answer of answers) {
      if (answer !== stored[0]) expect(JSON.parse(answer.body)).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' });
    }
    expect((await dump(service.url)).threads).toHaveLength(1);
  });

  it('are forgotten after 24 hours, and then the request has an effect again', async () => {
    const clock = new ManualClock();
    const service = await startApp(engine, { overrides: { clock } });
    onTestFinished(() => service.close());
    const key = fresh();
    const post = { url: '/threads', body: { title: 'x', body: 'y', actor: { type: 'human', name: 'ana' } } };
    const first = await keyed(service, key, post);
    clock.advance(DAY_MS - 1);
    expect(await keyed(service, key, post)).toEqual({ ...first, replayed: true });
    clock.advance(1);
    const second = await keyed(service, key, post);
    expect(second).toMatchObject({ status: 201, replayed: false });
    expect(second.body).not.toBe(first.body);
    expect(await keyed(service, key, post)).toEqual({ ...second, replayed: true });

    // Counted from the second time, not from the first.
    clock.advance(DAY_MS - 1);
    expect((await keyed(service, key, post)).replayed).toBe(true);
    clock.advance(1);
    const other = await keyed(service, key, { ...post, body: { ...post.body, title: 'z' } });
    expect(other).toMatchObject({ status: 201, replayed: false });

    expect((await dump(service.url)).threads).toHaveLength(3);
  });

  it('are deleted by housekeeping when they are too old, however many there are', async () => {
    const clock = new ManualClock();
    const config = { ROLE: 'all', POLL_INTERVAL_MS: '20' };
    const service = await startApp(engine, { config, overrides: { clock } });
    onTestFinished(() => service.close());
    const numbers =
      engine === 'sqlite'
        ? 'with recursive n(i) as (select 1 union all select i + 1 from n where i < 1300)'
        : 'with n(i) as (select generate_series(1, 1300))';
    await sqlBeside(
      service.url,
      `insert into idempotency_keys (caller, idempotency_key, fingerprint, status, headers, body, created_at)
       ${numbers} select 'anonymous', 'old-' || i, 'x', 200, '{}', '{}', ${clock.time} + i from n`,
    );
    const post = { url: '/bus/topics/forum.integration.x/pause' };
    clock.advance(DAY_MS);
    await keyed(service, 'young', post);
    clock.advance(1301);
    const keys = () => sqlBeside(service.url, 'select idempotency_key from idempotency_keys');
    await expect.poll(keys, { interval: 10 }).toEqual([{ idempotency_key: 'young' }]);
    expect((await keyed(service, 'young', post)).replayed).toBe(true);
  });
});

describe('stored answers of another process on the same PostgreSQL', () => {
  let one: TestApp;
  let other: TestApp;
  let scratch: Awaited<ReturnType<typeof scratchDatabase>>;
  beforeAll(async () => {
    scratch = await scratchDatabase('postgres');
    one = await startApp('postgres', { database: scratch, overrides });
    other = await startApp('postgres', { database: scratch, overrides });
  });
  afterAll(async () => {
    await Promise.all([one.close(), other.close()]);
    await scratch.drop();
  });

  it.each(operations)('are given to a repeated %s', async operation => {
    const post: Post = await posts(one)[operation]();
    const key = fresh();
    const first = await keyed(one, key, post);
    expect(first.status).toBeLessThan(300);
    const before = await dump(one.url);
    expect(await keyed(other, key, post)).toEqual({ ...first, replayed: true });
    expect(await dump(one.url)).toEqual(before);
  });

  it.each(operations)('are given to every %s but one of twenty that come to both at once', async operation => {
    const post: Post = await posts(one)[operation]();
    const key = fresh();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => keyed(index % 2 === 0 ? one : other, key, post)),
    );
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(answers[0]?.status).toBeLessThan(300);
    expect(new Set(answers.map(({ replayed: _, ...answer }) => JSON.stringify(answer))).size).toBe(1);
  });
});

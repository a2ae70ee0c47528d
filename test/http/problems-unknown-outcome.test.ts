import { connect, createServer, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { type Scratch, scratchDatabase } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';

type Cut = 'before the commit arrives' | 'before its answer comes back' | 'before the transaction begins';
const cuts: Cut[] = ['before the commit arrives', 'before its answer comes back'];
/** The statements as they travel, to their end: `read committed` also stands where a connection or a transaction begins. */
const BEGIN = 'begin isolation level';
const COMMIT = 'commit\0';

/** A way to PostgreSQL that can be cut in the middle of the next commit. */
async function fragileWay(url: string) {
  const target = new URL(url);
  let cut: Cut | undefined;
  const server = createServer(client => {
    const backend = connect(Number(target.port), target.hostname);
    const end = () => {
      cut = undefined;
      client.destroy();
      backend.destroy();
    };
    let isCommitting = false;
    client.on('data', data => {
      if (cut === 'before the transaction begins' && data.includes(BEGIN)) return end();
      if (cut && data.includes(COMMIT)) {
        if (cut === 'before the commit arrives') return end();
        isCommitting = true;
      }
      backend.write(data);
    });
    backend.on('data', data => (isCommitting && data.includes('COMMIT') ? end() : client.write(data)));
    for (const [one, other] of [
      [client, backend],
      [backend, client],
    ] as [Socket, Socket][]) {
      one.on('error', () => {}).on('close', () => other.destroy());
    }
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const way = new URL(url);
  way.port = String((server.address() as { port: number }).port);
  return {
    url: way.href,
    cutNext: (where: Cut) => {
      cut = where;
    },
    close: () => new Promise(resolve => server.close(resolve)),
  };
}

describe('a commit whose connection breaks', () => {
  let scratch: Scratch;
  let way: Awaited<ReturnType<typeof fragileWay>>;
  let service: TestApp;
  beforeAll(async () => {
    scratch = await scratchDatabase('postgres');
    way = await fragileWay(scratch.url);
    service = await startApp('postgres', { database: { url: way.url, drop: async () => {} } });
  });
  afterAll(async () => {
    await service.close();
    await way.close();
    await scratch.drop();
  });
  let run = 0;
  afterEach(() => {
    run += 1;
  });

  const send = (headers?: Record<string, string>) =>
    service.send('POST', '/control-signals', signal('completion', { run_id: `run-${run}` }), headers);
  const stored = async () =>
    (await service.send('GET', `/events?run_id=run-${run}&event_type=forum.control.signal`)).body.items.length;

  it.each(cuts)('%s: without a key the problem says that the outcome is unknown, and not to repeat', async where => {
    way.cutNext(where);
    const answer = await send();
    expectProblem(answer, 'SERVICE_UNAVAILABLE');
    expect(answer.body).toMatchObject({ outcome: 'unknown' });
    expect(answer.body.detail).toMatch(/is unknown\. Look whether it did before .* Idempotency-Key/);
    expect(answer.headers).not.toHaveProperty('retry-after');
    expect(await stored()).toBe(where === 'before the commit arrives' ? 0 : 1);
  });

  it.each(cuts)('%s: with a key it is safe to repeat', async where => {
    const headers = { 'idempotency-key': `key-${run}` };
    way.cutNext(where);
    const answer = await send(headers);
    expectProblem(answer, 'SERVICE_UNAVAILABLE');
    expect(answer.body).toMatchObject({ outcome: 'unknown' });
    expect(answer.body.detail).toMatch(/is unknown\. Send it again as it is/);
    expect(answer.headers['retry-after']).toBe('1');
    const again = await send(headers);
    expect(again.status).toBe(201);
    expect(again.headers['idempotency-replayed']).toBe(where === 'before the commit arrives' ? undefined : 'true');
    expect(await stored()).toBe(1);
  });

  it.each(cuts)('%s: a PUT is safe to repeat', async where => {
    const put = () => service.send('PUT', `/runs/put-${run}`, { title: 'Move', agents: ['builder'] });
    way.cutNext(where);
    const answer = await put();
    expect(answer.body.detail).toMatch(/is unknown\. Send it again as it is/);
    expect((await put()).status).toBeLessThan(300);
  });

  it('is told apart from one that never began: nothing is stored, so that it may be sent again', async () => {
    way.cutNext('before the transaction begins');
    const answer = await send();
    expectProblem(answer, 'SERVICE_UNAVAILABLE');
    expect(answer.body).not.toHaveProperty('outcome');
    expect(answer.body.detail).toMatch(/Retry later\.$/);
    expect(answer.headers['retry-after']).toBe('1');
    expect(await stored()).toBe(0);
  });
});

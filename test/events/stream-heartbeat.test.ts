import { setTimeout as delay } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { startApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { openStream, type StreamReader } from '../helpers/stream.ts';

/* The longest silence is no setting, so this is lived through, on both engines and for all readers at once. */

const HEARTBEAT_MS = 15_000;
/** What a busy machine may add. */
const SLACK_MS = 5000;

it('tells a reader of nothing else every 15 seconds that it is there, beside a busy log as well', {
  timeout: 60_000,
}, async () => {
  await Promise.all([...engines.map(inSilence), ...engines.map(besideABusyLog)]);
});

async function start(engine: Engine) {
  const service = await startApp(engine);
  onTestFinished(() => service.close());
  const origin = `http://127.0.0.1:${await listen(service.app)}`;
  const post = async (run_id: string) => {
    const { body } = await service.send('POST', '/control-signals', signal('completion', { run_id }));
    return String(body.signal.sequence);
  };
  return { origin, post };
}

async function inSilence(engine: Engine): Promise<void> {
  const { origin, post } = await start(engine);
  const sequence = await post('other');
  const started = performance.now();
  const streams = await Promise.all([openStream(origin, '?run_id=run-1'), openStream(origin, `?after=${sequence}`)]);
  for (const stream of streams) {
    expect(await stream.frame()).toHaveProperty('retry');
    // With an id, from which a reader who comes back may go on.
    expect(await stream.frame()).toEqual({ comment: 'heartbeat', id: sequence });
    const silence = performance.now() - started;
    expect(silence).toBeGreaterThan(HEARTBEAT_MS - 500);
    expect(silence).toBeLessThan(HEARTBEAT_MS + SLACK_MS);
  }
  const next = await post('run-1');
  for (const stream of streams) while ((await stream.eventFrame()).id !== next);
}

async function besideABusyLog(engine: Engine): Promise<void> {
  const { origin, post } = await start(engine);
  const stream = await openStream(origin, '?run_id=none');
  expect(await stream.frame()).toHaveProperty('retry');
  const over = new AbortController();
  const heard = heartbeat(stream).finally(() => over.abort());
  for (const started = performance.now(); performance.now() - started < HEARTBEAT_MS + SLACK_MS; ) {
    await post('busy');
    await delay(500, undefined, { signal: over.signal }).catch(() => {});
    if (over.signal.aborted) break;
  }
  expect(over.signal.aborted, `${engine}: the reader heard nothing`).toBe(true);
  expect(await heard).toMatchObject({ comment: 'heartbeat' });
}

/** The next frame; undefined when the stream is cut, as it is at the end of a test. */
async function heartbeat(stream: StreamReader) {
  return stream.frame().catch(() => undefined);
}

import { expect, it, vi } from 'vitest';
import { scratchDatabase } from '../helpers/engines.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import { forThisTest, startService } from '../helpers/process.ts';

/** What each does, the payload says. None of it is awaited, and some of it comes after the attempt. */
const careless = `
  import { readFile } from 'node:fs';
  import { connect } from 'node:net';
  export const topic = 'a';
  const fail = () => { throw new Error('escaped'); };
  const bare = () => { throw Object.assign(Object.create(null), { code: 'E_RATE' }); };
  const ways = {
    rejection: () => { Promise.reject(new Error('escaped')); },
    timer: () => { setTimeout(fail, 5); },
    'rejection in a timer': () => { setTimeout(() => { Promise.reject(new Error('escaped')); }, 5); },
    immediate: () => { setImmediate(fail); },
    tick: () => { process.nextTick(fail); },
    microtask: () => { queueMicrotask(fail); },
    callback: () => { readFile(import.meta.filename, fail); },
    socket: () => { connect(1, '127.0.0.1'); },
    'no prototype': () => { setTimeout(bare, 5); },
    nothing: () => { setTimeout(() => { throw undefined; }, 5); },
  };
  export async function handle({ payload }, { signal }) {
    if (payload.way === 'listener') signal.addEventListener('abort', fail);
    else ways[payload.way]();
    if (payload.stays) await new Promise(() => {});
  }
  export const policy = { timeout_ms: 60000 };
  export const names = Object.keys(ways);
`;
const impatient = careless.replace("'a'", "'late'").replace('60000', '50');
const WAYS = 'rejection,timer,rejection in a timer,immediate,tick,microtask,callback,socket,no prototype,nothing';

it('an error that escapes from a handler fails its attempt, or is logged, and stops nothing', async () => {
  const database = await forThisTest(scratchDatabase('sqlite'));
  const HANDLERS_DIR = await handlersFolder({
    'a.mjs': careless,
    'late.mjs': impatient,
    'module.mjs':
      "export const topic = 'm'; export const handle = () => {}; setTimeout(() => { throw new Error('at load'); }, 5);",
  });
  const service = await startService({ DATABASE_URL: database.url, HANDLERS_DIR, MAX_ATTEMPTS: '1' });
  const publish = async (message_id: string, topic: string, way: string, stays: boolean) =>
    expect((await service.send('POST', '/outbox', { message_id, topic, payload: { way, stays } })).status).toBe(201);
  const message = async (id: string) => (await service.send('GET', `/outbox/${id}`)).body;
  const until = (id: string, status: string) =>
    expect.poll(async () => (await message(id)).status, { interval: 20, timeout: 10_000 }).toBe(status);

  const ways = WAYS.split(',');
  for (const [n, way] of ways.entries()) {
    await publish(`stays-${n}`, 'a', way, true);
    await publish(`gone-${n}`, 'a', way, false);
  }
  await publish('listener', 'late', 'listener', true);
  await until('listener', 'dead');
  for (const [n, way] of ways.entries()) {
    await until(`stays-${n}`, 'dead');
    const expected =
      { 'no prototype': '{"code":"E_RATE"}', nothing: 'undefined' }[way] ?? /^(escaped|connect ECONNREFUSED)/;
    expect((await message(`stays-${n}`)).last_error, way).toMatch(expected);
    await until(`gone-${n}`, 'sent');
  }
  const told = () => service.logs.filter(({ msg }) => msg === 'uncaught error of a handler');
  await vi.waitFor(() => {
    for (const n of ways.keys())
      expect(told()).toContainEqual(expect.objectContaining({ handler: 'a', message_id: `gone-${n}` }));
    expect(told()).toContainEqual(expect.objectContaining({ handler: 'module', error: 'at load' }));
    expect(told()).toContainEqual(expect.objectContaining({ handler: 'late', message_id: 'listener' }));
  });
  expect((await service.send('GET', '/livez')).status).toBe(200);
  service.kill('SIGTERM');
  expect(await service.exited).toEqual({ code: 0, signal: null });
});

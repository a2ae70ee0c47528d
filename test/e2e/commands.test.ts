import { describe, expect, it, vi } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import type { Answer } from '../helpers/app.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { forThisTest, type ServiceProcess, send, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';

const LANES = 16;
const POSTS = 8;
/** How many commands are accepted between two kills. */
const STRIDE = 25;
const KILLS = 4;

const ana = { type: 'human', name: 'ana' };
const texts = Array.from({ length: POSTS }, (_, n) => `Post ${n}`);

/** What one client publishes, one after the other: a thread with posts and its end, and signals of an agent of its own. */
function commandsOf(lane: string) {
  const thread_id = lane;
  const inThread = { thread_id, actor: ana };
  const all: [command: string, payload: object][] = [
    ['open_thread', { thread_id, title: lane, body: 'First.', actor: ana }],
    ...texts.flatMap((body): [string, object][] => [
      ['add_post', { ...inThread, body }],
      ['control_signal', signal('completion', { agent_name: lane, summary: body })],
    ]),
    ['set_priority', { ...inThread, priority: 'high' }],
    ['close_thread', inThread],
  ];
  return all.map(([command, payload], n) => ({
    topic: `forum.commands.${command}`,
    message_id: `${lane}.${n}`,
    message_key: lane,
    payload,
  }));
}

describe.each(engines)('commands that are published while the service is killed, on %s', engine => {
  it('take effect exactly once, in the order of their key', { timeout: 120_000 }, () => publishAndKill(engine));
});

async function publishAndKill(engine: Engine): Promise<void> {
  const env = {
    DATABASE_URL: (await forThisTest(scratchDatabase(engine))).url,
    POLL_INTERVAL_MS: '50',
    // A handler that was cut off is tried again at once.
    BACKOFF_BASE_MS: '1',
    BACKOFF_CAP_MS: '10',
  };
  const lanes = Array.from({ length: LANES }, (_, n) => `lane-${n}`);
  let origin = Promise.withResolvers<string>();
  let next = Promise.withResolvers<void>();
  let accepted = 0;
  const refused: Answer[] = [];

  /** A client that gets no answer says the same again, to whatever process is there then. */
  async function publish(message: object): Promise<void> {
    for (;;) {
      const answer = await send(await origin.promise, 'POST', '/outbox', message).catch(() => undefined);
      if (answer?.status === 200 || answer?.status === 201) break;
      if (answer) refused.push(answer);
    }
    accepted += 1;
    if (accepted % STRIDE === 0) next.resolve();
  }
  const clients = lanes.map(async lane => {
    for (const message of commandsOf(lane)) await publish(message);
  });

  for (let kill = 0; kill < KILLS; kill += 1) {
    const service = await startService(env);
    next = Promise.withResolvers();
    origin.resolve(await service.listening());
    await next.promise;
    origin = Promise.withResolvers();
    service.kill('SIGKILL');
    expect(await service.exited, service.output).toEqual({ code: null, signal: 'SIGKILL' });
  }
  const service = await startService(env);
  origin.resolve(await service.listening());
  await Promise.all(clients);
  expect(refused).toEqual([]);
  await vi.waitFor(
    async () => {
      const { by_status } = (await service.send('GET', '/outbox/stats')).body;
      expect(by_status).toMatchObject({ pending: 0, processing: 0, failed: 0, dead: 0 });
    },
    { timeout: 30_000, interval: 50 },
  );
  for (const lane of lanes) await verify(service, lane);
}

async function verify(service: ServiceProcess, lane: string): Promise<void> {
  const list = async (path: string) => (await service.send('GET', path)).body.items;
  const thread = (await service.send('GET', `/threads/${lane}`)).body;
  // One write each: opened, posts, priority, closed.
  expect(thread).toMatchObject({ state: 'closed', priority: 'high', version: POSTS + 3 });
  const posts = await list(`/threads/${lane}/posts?limit=200`);
  expect(posts.map(({ body }: { body: string }) => body)).toEqual(['First.', ...texts]);

  const signals = await list(`/events?event_type=forum.control.signal&agent_name=${lane}&limit=200`);
  expect(signals.map((event: { payload: { summary: string } }) => event.payload.summary)).toEqual(texts);
  expect((await service.send('GET', `/control-threads/run-1/${lane}`)).body.version).toBe(POSTS);

  // What a message says that came of it is what is there.
  const messages = await list(`/outbox?message_key=${lane}&limit=200`);
  const made = messages.filter((message: { topic: string }) => message.topic.startsWith('forum.commands.'));
  expect(made).toHaveLength(commandsOf(lane).length);
  const resultsOf = (command: string, id: string): string[] =>
    made
      .filter((message: { topic: string }) => message.topic === `forum.commands.${command}`)
      .map((message: { result: Record<string, string> }) => message.result[id]);
  const idOf = (item: { post_id: string }) => item.post_id;
  expect(resultsOf('add_post', 'post_id')).toEqual(posts.slice(1).map(idOf));
  const signalOf = (event: { payload: { signal_id: string } }) => event.payload.signal_id;
  expect(resultsOf('control_signal', 'signal_id')).toEqual(signals.map(signalOf));
}

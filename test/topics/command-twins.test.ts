import { describe, expect, it, onTestFinished } from 'vitest';
import { controlThreadId } from '../../src/control/agent-state.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { commands } from '../helpers/commands.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';

type Payload = Record<string, unknown> & { thread_id?: string };
type Send = TestApp['send'];

const ana = { type: 'operator', name: 'ana' };
const bo = { type: 'human', name: 'bo' };
const inTalk = { thread_id: 'talk', actor: ana };
const inControl = { thread_id: controlThreadId('run-1', 'builder'), actor: ana };
const options = [{ label: 'eu', description: 'Europe.' }, { label: 'us' }];
const evidence = [{ kind: 'log', ref: 'ci.txt', note: 'All green.' }];

/** Everything that commands can do, as it might happen one after the other. Where it says so, nothing happens. */
const story: [command: string, payload: Payload][] = [
  ['open_thread', { title: ' Which region? ', body: 'Two of them.', actor: bo, thread_id: 'talk', ticket: ' TCK-1 ' }],
  // There already.
  ['open_thread', { title: 'Which region?', body: 'Two of them.', actor: bo, thread_id: 'talk' }],
  ['open_thread', { title: 'Plan', body: 'A.', actor: ana, priority: 'low', run_id: 'run-1', agent_name: 'builder' }],
  ['add_post', { ...inTalk, body: 'Staging runs in Europe.', actor: { type: 'agent', name: 'builder' } }],
  ['add_post', { ...inTalk, body: 'Then we wait.', state: 'waiting_human' }],
  ['assign_thread', { ...inTalk, assignee: ' bo ' }],
  // So already.
  ['assign_thread', { ...inTalk, assignee: 'bo' }],
  ['assign_thread', { ...inTalk, assignee: null }],
  ['set_priority', { ...inTalk, priority: 'urgent' }],
  ['set_priority', { ...inTalk, priority: 'urgent' }],
  ['change_state', { ...inTalk, state: 'waiting_operator' }],
  ['change_state', { ...inTalk, state: 'waiting_operator', actor: bo }],
  ['control_signal', signal('guidance_request', { options, multi_select: true, priority: 'high', ticket: 'TCK-2' })],
  ['control_signal', signal('guidance_answer', { answer: 'Both.', selected: ['us', 'eu'], actor: bo })],
  ['control_signal', signal('completion', { summary: 'Done.', evidence, correlation_id: 'mine', causation_id: 'why' })],
  ['control_signal', signal('validation', { status: 'failed', evidence })],
  ['control_signal', signal('validation', { actor: bo, attempt: 1 })],
  ['control_signal', signal('guidance_request', { expires_in_seconds: 60, default_answer: 'eu' })],
  ['control_signal', signal('guidance_request', { agent_name: ' te\u0301ster\u0085', context: 'Late.' })],
  ['set_priority', { ...inControl, priority: 'high' }],
  // The question that waits there is cancelled.
  ['close_thread', inControl],
  ['change_state', { ...inTalk, state: 'answered' }],
  ['close_thread', inTalk],
  ['close_thread', { ...inTalk, actor: bo }],
];

/** The same over HTTP, and what the command's message says that came of it. */
async function call(send: Send, command: string, payload: Payload): Promise<unknown> {
  const { thread_id, ...body } = payload;
  const ofThread = `/threads/${thread_id}`;
  if (command === 'control_signal') {
    const { signal: stored, question } = (await send('POST', '/control-signals', payload)).body;
    const { signal_id, thread_id } = stored;
    return { signal_id, thread_id, ...(question && { question_id: question.question_id }) };
  }
  if (command === 'open_thread') return { thread_id: (await send('POST', '/threads', payload)).body.thread_id };
  if (command === 'add_post') {
    return { thread_id, post_id: (await send('POST', `${ofThread}/posts`, body)).body.post.post_id };
  }
  const change = command === 'close_thread' ? { ...body, state: 'closed' } : body;
  return { thread_id, version: (await send('PATCH', ofThread, change)).body.version };
}

/** All that there is to see, with each unique part of an id replaced by the place of its first appearance. */
async function everything(send: Send, results: unknown[]): Promise<unknown> {
  const list = async (path: string) => (await send('GET', `${path}limit=200`)).body.items;
  const threads = await list('/threads?');
  const posts = [];
  for (const { thread_id } of threads) posts.push(await list(`/threads/${thread_id}/posts?`));
  const found = await list('/threads?q=region&');
  const messages = (await list('/outbox?')).filter((message: { topic: string }) => !/commands/.test(message.topic));
  const published = messages.map(({ message_id, topic, message_key, payload, created_at }: Record<string, unknown>) => {
    return { message_id, topic, message_key, payload, created_at };
  });
  const lists = await Promise.all(['/events?', '/control-threads?', '/questions?', '/runs?'].map(list));
  const stats = (await send('GET', '/stats')).body;
  const uids: string[] = [];
  const text = JSON.stringify({ results, threads, posts, found, published, lists, stats });
  return JSON.parse(
    text.replaceAll(/[0-9a-f]{32}/g, uid => {
      if (!uids.includes(uid)) uids.push(uid);
      return `#${uids.indexOf(uid)}`;
    }),
  );
}

describe.each(engines)('commands on %s', engine => {
  it('do what their HTTP calls do, and say what came of it', async () => {
    const tell = async (act: (send: Send, command: string, payload: Payload) => Promise<unknown>) => {
      const clock = new ManualClock();
      const service = await startApp(engine, { overrides: { clock } });
      onTestFinished(service.close);
      const results: unknown[] = [];
      for (const [command, payload] of story) {
        clock.advance(1000);
        results.push(await act(service.send, command, payload));
      }
      return everything(service.send, results);
    };
    const called = await tell(call);
    const published = await tell(async (send, command, payload) => {
      const { publish, message, drain } = commands(send);
      const id = await publish(command, payload);
      await drain();
      const { status, attempts, last_error, result } = await message(id);
      expect({ status, attempts, last_error }, command).toEqual({ status: 'sent', attempts: 1, last_error: null });
      return result;
    });
    expect(published).toEqual(called);
    // A comparison of nothing with nothing would hold, too.
    expect(called).toMatchObject({
      results: story.map(() => ({ thread_id: expect.any(String) })),
      threads: Array(4).fill({}),
      found: Array(3).fill({}),
      stats: { signals: { total: 7 }, open_questions: { count: 1 } },
    });
  });
});

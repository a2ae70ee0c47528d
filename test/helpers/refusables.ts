import { expect } from 'vitest';
import type { TestApp } from './app.ts';
import type { Refused } from './refused.ts';
import { signal } from './signals.ts';

const ana = { type: 'human', name: 'ana' };

/** Makes one of everything that a refused request can run into. */
export async function refusables(send: TestApp['send']) {
  const post = (url: string, body: unknown = {}) => send('POST', url, body);
  const ask = async (agent_name: string, fields: object = {}): Promise<string> =>
    (await post('/control-signals', signal('guidance_request', { agent_name, ...fields }))).body.question.question_id;

  /** The ids that stand for `{open}` and the like. */
  const ids: Record<string, string> = {};
  ids['{open}'] = await ask('asker', { options: [{ label: 'yes' }, { label: 'no' }] });
  ids['{torn}'] = await ask('torn');
  await ask('torn');
  ids['{answered}'] = await ask('decider');
  await send('PUT', `/questions/${ids['{answered}']}/answer`, { answer: 'Europe.' });
  ids['{cancelled}'] = await ask('decider');
  await post(`/questions/${ids['{cancelled}']}/cancel`);
  await post('/control-threads/run-1/decider/attempts');
  const gone = await post('/control-signals', signal('completion', { agent_name: 'gone' }));
  const farewell = { body: 'Bye.', actor: ana };
  await post(`/threads/${gone.body.thread.thread_id}/posts`, { ...farewell, state: 'closed' });
  for (const [thread_id, state] of [
    ['talk', 'triaged'],
    ['done', 'closed'],
  ]) {
    await post('/threads', { thread_id, title: 'Which region?', body: 'Staging runs in two.', actor: ana });
    expect((await post(`/threads/${thread_id}/posts`, { ...farewell, state })).status).toBe(201);
  }

  return {
    ids,

    /** The row's request with ids in the place of `{open}` and the like. */
    filled({ url, body }: Refused): { url: string; body: unknown } {
      let text = JSON.stringify({ url, body });
      for (const [placeholder, id] of Object.entries(ids)) text = text.replaceAll(placeholder, id);
      return JSON.parse(text);
    },
  };
}

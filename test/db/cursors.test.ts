import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { allItems } from '../helpers/pages.ts';
import { signal } from '../helpers/signals.ts';

const MIB = 1_048_576;
const COUNT = 30;
const ana = { type: 'operator', name: 'ana' };

describe.each(engines)('a page on %s', engine => {
  let service: TestApp;
  let thread_id: string;
  beforeAll(async () => {
    service = await startApp(engine);
    thread_id = (await service.send('POST', '/threads', { title: 'T', body: 'B', actor: ana })).body.thread_id;
    for (let n = 0; n < COUNT; n += 1) {
      // Three bytes a character, and characters that JSON writes as six.
      const text = n % 2 === 0 ? '€'.repeat(20_000) : '\u0001€'.repeat(15_000);
      await service.send('POST', '/control-signals', signal('guidance_request', { context: text }));
      await service.send('POST', `/threads/${thread_id}/posts`, { body: text, actor: ana });
      await service.send('POST', '/outbox', { topic: 'a.b', payload: { text } });
    }
  });
  afterAll(() => service.close());

  it.each([
    ['/questions?run_id=run-1', COUNT],
    ['/events?event_type=forum.control.signal', COUNT],
    ['/events?run_id=run-1', undefined],
    ['/threads/posts', COUNT + 1],
    ['/outbox?topic=a.b', COUNT],
  ])('of %s has at most 1 MiB and goes on at its cursor', async (list, count) => {
    const path = list === '/threads/posts' ? `/threads/${thread_id}/posts?` : list;
    let pages = 0;
    const get = async (url: string) => {
      pages += 1;
      const answer = await service.send('GET', url);
      expect(Buffer.byteLength(JSON.stringify(answer.body))).toBeLessThanOrEqual(MIB);
      return answer;
    };
    const items = await allItems(get, path);
    expect(pages).toBeGreaterThan(1);
    if (count !== undefined) expect(items).toHaveLength(count);
    const ids = items.map(item => item.question_id ?? item.event_id ?? item.post_id ?? item.message_id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('of a run embeds heads of at most 500 characters', async () => {
    const { body } = await service.send('GET', '/runs/run-1');
    expect(Buffer.byteLength(JSON.stringify(body))).toBeLessThan(MIB / 4);
    expect(body).toMatchObject({ open_questions_count: COUNT, agents_count: 1 });
    for (const question of body.open_questions) {
      expect(question.context).toHaveLength(500);
      expect(question).toMatchObject({ context_truncated: true });
      expect(question.question_truncated).toBeUndefined();
    }
    const all = await allItems(url => service.send('GET', url), `${body.open_questions_url}`);
    expect(all.map(item => item.question_id)).toEqual(
      body.open_questions.map((item: { question_id: string }) => item.question_id),
    );
  });
});

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';

describe.each(engines)('questions on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const ask = async (fields: object): Promise<string> =>
    (await service.send('POST', '/control-signals', signal('guidance_request', fields))).body.question.question_id;

  it('come to the inbox most urgent first, then oldest first, page by page', async () => {
    const run_id = 'inbox';
    const low = await ask({ run_id, priority: 'low' });
    const normal = await ask({ run_id });
    const urgent = await ask({ run_id, priority: 'urgent', agent_name: 'tester' });
    const high = await ask({ run_id, priority: 'high' });
    const later = await ask({ run_id, priority: 'urgent' });
    const walked: string[] = [];
    let cursor = '';
    do {
      const { body } = await service.send('GET', `/questions?state=open&run_id=${run_id}&limit=2${cursor}`);
      walked.push(...body.items.map((item: { question_id: string }) => item.question_id));
      cursor = body.next_cursor && `&cursor=${body.next_cursor}`;
    } while (cursor);
    expect(walked).toEqual([urgent, later, high, normal, low]);
    const ids = async (query: string) =>
      (await service.send('GET', `/questions?${query}`)).body.items.map(
        (item: { question_id: string }) => item.question_id,
      );
    expect(await ids(`run_id=${run_id}&agent_name=tester`)).toEqual([urgent]);
    expect(await ids(`run_id=${run_id}&priority=urgent`)).toEqual([urgent, later]);
  });

  it('keep everything that was asked', async () => {
    const asked = {
      run_id: 'asked',
      context: 'It matters.',
      options: [{ label: 'a', description: 'First.' }, { label: 'b' }],
      multi_select: true,
      priority: 'high',
      expires_in_seconds: 60,
      default_answer: 'a',
    };
    const { body } = await service.send('GET', `/questions/${await ask(asked)}`);
    const { run_id, context, options, multi_select, priority, default_answer } = asked;
    expect(body).toMatchObject({
      run_id,
      context,
      options,
      multi_select,
      priority,
      default_answer,
      default_applied: false,
    });
    expect(Date.parse(body.expires_at) - Date.parse(body.asked_at)).toBe(60_000);
  });

  it('can be cancelled, once or twice, and then not answered', async () => {
    const id = await ask({ run_id: 'cancelled' });
    const actor = { type: 'human', name: 'ana' };
    const first = await service.send('POST', `/questions/${id}/cancel`, { actor });
    expect(first).toMatchObject({
      status: 200,
      body: { state: 'cancelled', answered_at: null, answer: null, version: 2 },
    });
    expect(await service.send('POST', `/questions/${id}/cancel`)).toEqual({ ...first, headers: expect.anything() });
    const { body } = await service.send('PUT', `/questions/${id}/answer`, { answer: 'x' });
    expect(body).toMatchObject({ status: 409, code: 'QUESTION_CLOSED', state: 'cancelled' });
    const control = (await service.send('GET', '/control-threads/cancelled/builder')).body;
    expect(control).toMatchObject({ status: 'working', open_questions: [] });
    const { items } = (await service.send('GET', `/events?run_id=cancelled&event_type=forum.question.cancelled`)).body;
    expect(items).toMatchObject([{ actor, payload: { question_id: id } }]);
  });

  it('cannot be cancelled once answered', async () => {
    const id = await ask({ run_id: 'answered' });
    await service.send('PUT', `/questions/${id}/answer`, { answer: 'yes' });
    const { body } = await service.send('POST', `/questions/${id}/cancel`);
    expect(body).toMatchObject({ status: 409, code: 'ALREADY_ANSWERED', answer: 'yes' });
  });

  it('have one winner when answers, a cancellation and a superseding request race', async () => {
    for (let round = 0; round < 10; round += 1) {
      const run_id = `race-${round}`;
      const id = await ask({ run_id });
      const contenders = await Promise.all([
        service.send('PUT', `/questions/${id}/answer`, { answer: 'yes' }),
        service.send('PUT', `/questions/${id}/answer`, { answer: 'no' }),
        service.send('POST', `/questions/${id}/cancel`),
        service.send('POST', '/control-signals', signal('guidance_request', { run_id, supersedes: id })),
      ]);
      expect(contenders.filter(({ status }) => status < 300)).toHaveLength(1);
      const { body } = await service.send('GET', `/questions/${id}`);
      expect(body.version).toBe(2);
    }
  });
});

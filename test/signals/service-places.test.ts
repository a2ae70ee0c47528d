import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { type Tokens, withTokens } from '../helpers/tokens.ts';

const source = {
  host: 'claude',
  session_id: 's-1',
  prompt_id: 'p-1',
  tool_use_id: 't-1',
  cwd: '/home/ana/shop',
  url: 'https://host.example/s-1',
};
const terminal = { type: 'human', name: 'terminal' };

describe.each(engines)('where questions come from and answers are given on %s', engine => {
  let service: TestApp;
  let tokens: Tokens;
  let agent: TestApp['send'];
  let operator: TestApp['send'];
  beforeAll(async () => {
    service = await startApp(engine);
    tokens = await withTokens(service);
    agent = await tokens.asAgent('place-*', 'builder');
    operator = await tokens.asPerson('operator');
  });
  afterAll(() => service.close());

  let runs = 0;
  const ask = async (fields: object = { source }) => {
    const run_id = `place-${++runs}`;
    const { status, body } = await agent('POST', '/control-signals', signal('guidance_request', { run_id, ...fields }));
    expect(status).toBe(201);
    return body.question as { question_id: string; run_id: string; source: unknown };
  };
  const put = (send: TestApp['send'], id: string, body: object) => send('PUT', `/questions/${id}/answer`, body);
  const events = async (run_id: string, type: string) =>
    (await operator('GET', `/events?run_id=${run_id}&event_type=forum.${type}`)).body.items;

  it('keeps the source of a question, and tells it in the events of its life', async () => {
    const { question_id, run_id } = await ask();
    expect((await operator('GET', `/questions/${question_id}`)).body.source).toEqual(source);
    expect((await operator('GET', `/runs/${run_id}`)).body.open_questions[0].source).toEqual(source);
    await put(operator, question_id, { answer: 'x', answered_in: 'page' });
    for (const type of ['control.signal', 'question.opened', 'question.answered']) {
      const [event] = await events(run_id, type);
      expect(event.payload.source, type).toEqual(source);
    }
    const [, answer] = await events(run_id, 'control.signal');
    expect(answer.payload.answered_in).toBe('page');
    const [answered] = await events(run_id, 'question.answered');
    expect(answered.payload.answered_in).toBe('page');
    expect((await operator('GET', `/questions/${question_id}`)).body.answered_in).toBe('page');
    expect((await ask({})).source).toBeNull();
  });

  it.each([
    ['no host', { session_id: 's-1' }, '/source/host'],
    ['a text that is too long', { host: 'x', cwd: 'x'.repeat(501) }, '/source/cwd'],
    ['an unknown field', { host: 'x', model: 'y' }, '/source/model'],
  ])('refuses a source with %s', async (_, given, pointer) => {
    const body = signal('guidance_request', { run_id: 'place-0', source: given });
    const refused = await agent('POST', '/control-signals', body);
    expectProblem(refused, 'VALIDATION_FAILED');
    expect(refused.body.errors).toMatchObject([{ pointer }]);
  });

  it('refuses an unknown place', async () => {
    const { question_id } = await ask();
    // Only the service knows of a button of a channel.
    for (const answered_in of ['moon', 'telegram']) {
      expectProblem(await put(operator, question_id, { answer: 'x', answered_in }), 'VALIDATION_FAILED');
    }
  });

  it('lets an agent pass on what a person answered in the terminal of its session, by both ways', async () => {
    const given = { answer: 'x', answered_in: 'terminal' };
    const byRoute = await ask();
    const { status, body } = await put(agent, byRoute.question_id, given);
    expect(status).toBe(200);
    expect(body).toMatchObject({ answered_by: terminal, answered_in: 'terminal', answer: 'x' });
    // A repetition is the same answer.
    expect((await put(agent, byRoute.question_id, { ...given, actor: terminal })).status).toBe(200);

    const bySignal = await ask();
    const answer = signal('guidance_answer', { ...given, run_id: bySignal.run_id, in_reply_to: bySignal.question_id });
    const answered = await agent('POST', '/control-signals', answer);
    expect(answered).toMatchObject({ status: 201, body: { question: { answered_by: terminal } } });
    expect(answered.body.signal).toMatchObject({ actor: terminal, answered_in: 'terminal' });
    expect(answered.body.signal).not.toHaveProperty('ownTerminal');
  });

  it('lets it answer nothing else', async () => {
    const { question_id, run_id } = await ask();
    const elsewhere = await ask({ source: { host: 'claude' } });
    const { body: foreign } = await operator(
      'POST',
      '/control-signals',
      signal('guidance_request', { run_id, agent_name: 'other', source }),
    );
    const given = { answer: 'x', answered_in: 'terminal' };
    for (const place of [{}, { answered_in: 'cli' }, { answered_in: 'api' }]) {
      expectProblem(await put(agent, question_id, { answer: 'x', ...place }), 'FORBIDDEN');
      const answer = signal('guidance_answer', { run_id, ...place });
      expectProblem(await agent('POST', '/control-signals', answer), 'FORBIDDEN');
    }
    expectProblem(await put(agent, question_id, { ...given, actor: { type: 'human', name: 'ana' } }), 'ACTOR_MISMATCH');
    expectProblem(await put(agent, elsewhere.question_id, given), 'FORBIDDEN');
    expectProblem(await put(agent, foreign.question.question_id, given), 'FORBIDDEN');
    const named = signal('guidance_answer', { ...given, run_id, in_reply_to: foreign.question.question_id });
    expectProblem(await agent('POST', '/control-signals', named), 'QUESTION_MISMATCH');
    const stranger = await tokens.asAgent('other-run', '*');
    expectProblem(await put(stranger, question_id, given), 'QUESTION_NOT_FOUND');
    expect((await operator('GET', `/questions/${question_id}`)).body.state).toBe('open');
  });

  it('leaves a person its own name in a terminal', async () => {
    const { question_id } = await ask({});
    const { body } = await put(operator, question_id, { answer: 'x', answered_in: 'terminal' });
    expect(body).toMatchObject({ answered_by: { type: 'operator', name: 'ana' }, answered_in: 'terminal' });
  });
});

describe('an answer in a terminal of an open service', () => {
  it('is by the person at it', async () => {
    const service = await startApp('sqlite');
    const { body } = await service.send('POST', '/control-signals', signal('guidance_request', { source }));
    const url = `/questions/${body.question.question_id}/answer`;
    const { body: answered } = await service.send('PUT', url, { answer: 'x', answered_in: 'terminal' });
    expect(answered).toMatchObject({ answered_by: terminal, answered_in: 'terminal' });
    await service.close();
  });
});

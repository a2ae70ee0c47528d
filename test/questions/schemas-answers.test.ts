import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';

const options = ['eu', { label: 'us', description: 'Far away.' }];
const offered = [{ label: 'eu' }, { label: 'us', description: 'Far away.' }];

describe.each(engines)('questions and answers in short on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  let runs = 0;
  const send = (fields: object, type = 'guidance_request') =>
    service.send('POST', '/control-signals', { ...signal(type), run_id: `short-${++runs}`, ...fields });
  const asked = async (fields: object) => (await send(fields)).body.question;
  const put = (id: string, body: object) => service.send('PUT', `/questions/${id}/answer`, body);

  it('takes options that are labels, and stores them as options', async () => {
    const { status, body } = await send({ options: [' eu ', offered[1]] });
    expect(status).toBe(201);
    expect(body.question.options).toEqual(offered);
    expect(body.signal.options).toEqual(offered);
  });

  it.each([
    ['a label twice', ['eu', 'eu'], '/options', 'NOT_UNIQUE'],
    ['a label twice, once as an object', ['eu', { label: 'eu' }], '/options', 'NOT_UNIQUE'],
    ['an empty label', ['eu', ''], '/options/1', 'TOO_SHORT'],
    ['a number', ['eu', 5], '/options/1', 'INVALID_TYPE'],
    ['an object with a wrong label', ['eu', { label: 5 }], '/options/1/label', 'INVALID_TYPE'],
    ['an object without a label', ['eu', { description: 'x' }], '/options/1/label', 'REQUIRED'],
    ['an object with something else', ['eu', { label: 'us', x: 1 }], '/options/1/x', 'UNKNOWN_FIELD'],
  ])('refuses %s', async (_, given, pointer, code) => {
    const refused = await send({ options: given });
    expectProblem(refused, 'VALIDATION_FAILED');
    expect(refused.body.errors).toMatchObject([{ in: 'body', pointer, code }]);
  });

  it('takes a selection without a text, by both ways, and says it in the same order', async () => {
    const byRoute = await asked({ options, multi_select: true });
    const wanted = { answer: 'eu, us', answered_in: 'api' };
    expect((await put(byRoute.question_id, { selected: ['us', 'eu'] })).body).toMatchObject(wanted);
    // The order of a selection does not matter, so this is the same answer.
    expect((await put(byRoute.question_id, { selected: ['eu', 'us'] })).status).toBe(200);
    expectProblem(await put(byRoute.question_id, { selected: ['eu'] }), 'ALREADY_ANSWERED');

    const { question_id, run_id } = await asked({ options });
    const { body } = await send(
      { run_id, in_reply_to: question_id, answer: undefined, selected: ['us'] },
      'guidance_answer',
    );
    expect(body.question).toMatchObject({ answer: 'us', selected: ['us'] });
    expect(body.signal).toMatchObject({ answer: 'us', selected: ['us'] });
    const { items } = (await service.send('GET', `/events?run_id=${run_id}&event_type=forum.question.answered`)).body;
    expect(items[0].payload).toMatchObject({ answer: 'us', selected: ['us'], answered_in: 'api' });
  });

  it('refuses an answer without text and selection', async () => {
    const { question_id, run_id } = await asked({ options });
    const wanted = [{ in: 'body', pointer: '/answer', code: 'REQUIRED' }];
    for (const body of [{}, { selected: [] }]) {
      const refused = await put(question_id, body);
      expectProblem(refused, 'VALIDATION_FAILED');
      expect(refused.body.errors).toMatchObject(wanted);
      const signalled = await send({ run_id, ...body, answer: undefined }, 'guidance_answer');
      expectProblem(signalled, 'VALIDATION_FAILED');
      expect(signalled.body.errors).toMatchObject(wanted);
    }
  });

  it('takes a default that only selects: its text is the labels', async () => {
    const fields = { options, multi_select: true, default_selected: ['us', 'eu'], expires_in_seconds: 3600 };
    const question = await asked(fields);
    expect(question).toMatchObject({ default_answer: 'eu, us', default_selected: ['us', 'eu'] });
    const { body } = await service.send('GET', `/events?run_id=${question.run_id}&event_type=forum.question.opened`);
    expect(body.items[0].payload).toMatchObject({ default_answer: 'eu, us', default_selected: ['us', 'eu'] });
  });
});

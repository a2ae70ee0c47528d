import { describe, expect, it } from 'vitest';
import { defaultText } from '../../src/questions/question.ts';
import { startApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { Expiries, startTimed } from '../helpers/expiry.ts';
import { expectProblem } from '../helpers/problems.ts';
import { aRun } from '../helpers/runs.ts';

const options = [{ label: 'yes' }, { label: 'no' }];

describe('the default of a question', () => {
  it.each([
    ['no default', {}],
    ['free text without options', { default_answer: 'maybe' }],
    ['a label', { options, default_answer: 'yes' }],
    ['a label with white space around it', { options, default_answer: ' yes\n' }],
    ['a selected label', { options, default_selected: ['no'] }],
    ['several labels of a multiple choice', { options, multi_select: true, default_selected: ['no', 'yes'] }],
    ['a selected label that is the answer', { options, default_selected: ['no'], default_answer: 'no' }],
  ])('may be %s', (_name, request) => {
    expect(() => defaultText(request)).not.toThrow();
  });

  it.each([
    ['text that no option has', { options, default_answer: 'maybe' }],
    ['a label that the question does not offer', { options, default_selected: ['maybe'] }],
    ['a label twice', { options, multi_select: true, default_selected: ['no', 'no'] }],
    ['two labels of a single choice', { options, default_selected: ['no', 'yes'] }],
    ['a label without options', { default_selected: ['no'] }],
    ['an answer that is not what it selects', { options, default_selected: ['no'], default_answer: 'yes' }],
  ])('cannot be %s', (_name, request) => {
    expect(() => defaultText(request)).toThrow(expect.objectContaining({ code: 'INVALID_SELECTION' }));
  });

  it('leaves people time to answer', async () => {
    const service = await startApp('sqlite');
    const run = aRun(service.send, 'run-1');
    for (const fields of [
      { expires_in_seconds: 59, default_answer: 'Yes, approved.' },
      { default_answer: 'Yes, approved.' },
      { expires_in_seconds: 1, options, default_selected: ['yes'] },
    ]) {
      const refused = await run.signal('guidance_request', 'builder', fields);
      expectProblem(refused, 'VALIDATION_FAILED');
      expect(refused.body.errors[0].pointer).toBe('/expires_in_seconds');
    }
    expect((await run.signal('guidance_request', 'builder', { expires_in_seconds: 1 })).status).toBe(201);
    const asked = { expires_in_seconds: 60, options, default_selected: ['yes'], default_answer: 'yes' };
    const { body } = await run.signal('guidance_request', 'builder', asked);
    expect(body.question).toMatchObject({ default_answer: 'yes', default_selected: ['yes'] });
    await service.close();
  });

  it('is one of the labels, however it was written', async () => {
    const service = await startApp('sqlite');
    const { signal, ask } = aRun(service.send, 'run-1');
    const fields = { options: [{ label: 'caf\u00e9' }, { label: 'no' }], expires_in_seconds: 60 };
    const written = { ...fields, default_answer: ' cafe\u0301\n' };
    const { question } = (await signal('guidance_request', 'builder', written)).body;
    expect(question.default_answer).toBe('caf\u00e9');
    const [opened] = (await service.send('GET', '/events?event_type=forum.question.opened')).body.items;
    expect(opened.payload.default_answer).toBe('caf\u00e9');
    // Without options it is a text, which stays as it is.
    const free = await ask('builder', { expires_in_seconds: 60, default_answer: ' cafe\u0301\n' });
    expect((await service.send('GET', `/questions/${free}`)).body.default_answer).toBe(' cafe\u0301\n');
    await service.close();
  });

  it('is nobody’s answer: the thread waits until a person posts in it or changes its state', async () => {
    const clock = new ManualClock();
    const expiries = new Expiries();
    const service = await startTimed('sqlite', { clock, expiries });
    const threadOf = async (agent: string) =>
      (await service.send('GET', `/threads?run_id=run-1&agent_name=${agent}`)).body.items[0];
    const run = aRun(service.send, 'run-1');
    const ana = { type: 'operator', name: 'ana' };
    const ids = [];
    for (const agent of ['a', 'b', 'c']) {
      ids.push(await run.ask(agent, { expires_in_seconds: 5, default_answer: 'Yes, approved.' }));
    }
    const later = await run.ask('c');
    clock.advance(5_000);
    for (const id of ids) await expiries.of(id);
    for (const agent of ['a', 'b', 'c']) {
      expect(await threadOf(agent)).toMatchObject({ state: 'waiting_operator', unanswered: true });
    }
    const { thread_id: a } = await threadOf('a');
    await service.send('POST', `/threads/${a}/posts`, { body: 'Seen.', actor: ana, state: 'answered' });
    expect(await threadOf('a')).toMatchObject({ state: 'answered', unanswered: false });
    const { thread_id: b } = await threadOf('b');
    await service.send('PATCH', `/threads/${b}`, { state: 'answered', actor: ana });
    expect(await threadOf('b')).toMatchObject({ state: 'answered', unanswered: false });
    // That the agent withdraws another question is nobody's answer either.
    await service.send('POST', `/questions/${later}/cancel`, { actor: { type: 'agent', name: 'c' } });
    expect(await threadOf('c')).toMatchObject({ state: 'waiting_operator', unanswered: true });
    await run.answer(await run.ask('c'));
    expect(await threadOf('c')).toMatchObject({ state: 'answered', unanswered: false });
    await service.close();
  });
});

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Actor } from '../../src/actor.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { Expiries, startTimed } from '../helpers/expiry.ts';
import { expectProblem } from '../helpers/problems.ts';
import { aRun, reasons } from '../helpers/runs.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { withTokens } from '../helpers/tokens.ts';

const operator = (name: string): Actor => ({ type: 'operator', name });
const YES_NO = [{ label: 'Yes' }, { label: 'No' }];

describe.each(engines)('questions that two people must answer on %s', engine => {
  const clock = new ManualClock();
  const expiries = new Expiries();
  let service: TestApp;
  let runs = 0;
  beforeAll(async () => {
    service = await startTimed(engine, { clock, expiries });
  });
  afterAll(() => service.close());

  /** A run of its own with a question for two. */
  async function forTwo(fields: object = {}) {
    runs += 1;
    const run = aRun(service.send, `two-${runs}`);
    const id = await run.ask('builder', { approvals: 2, options: YES_NO, ...fields });
    const answerAs = (name: string, label: string) =>
      service.send('PUT', `/questions/${id}/answer`, { selected: [label], actor: operator(name) });
    const read = async () => (await service.send('GET', `/questions/${id}`)).body;
    return { run, id, answerAs, read };
  }

  it('are open after the first answer and answered by the same one of a second person', async () => {
    const { run, id, answerAs, read } = await forTwo();
    expect(await read()).toMatchObject({ approvals_required: 2, approvals: [], state: 'open', version: 1 });
    const first = await answerAs('ana', 'Yes');
    const ana = { answered_by: operator('ana'), answer: 'Yes', selected: ['Yes'], answered_in: 'api' };
    expect(first).toMatchObject({
      status: 200,
      body: { state: 'open', version: 2, answer: null, answered_by: null, answered_at: null, approvals: [ana] },
    });
    expect(await read()).toEqual(first.body);
    expect((await service.send('GET', `/questions?run_id=${run.path.slice(6)}`)).body.items).toEqual([first.body]);
    const second = await answerAs('ben', 'Yes');
    const ben = { ...ana, answered_by: operator('ben') };
    expect(second).toMatchObject({
      status: 200,
      body: { state: 'answered', version: 3, answer: 'Yes', selected: ['Yes'], answered_by: operator('ben') },
    });
    expect(second.body.approvals).toMatchObject([ana, ben]);
    expect(await read()).toEqual(second.body);

    const types = (await run.events()).map(({ event_type }) => event_type);
    expect(types).toEqual([
      ...['forum.thread.opened', 'forum.control.signal', 'forum.question.opened', 'forum.state.changed'],
      ...['forum.control.signal', 'forum.question.approved'],
      ...['forum.control.signal', 'forum.question.answered', 'forum.state.changed'],
    ]);
    const asked = { question_id: id, question: 'Which region?', options: YES_NO };
    const given = { answer: 'Yes', selected: ['Yes'], answered_in: 'api' };
    expect(await run.events('forum.question.opened')).toMatchObject([{ payload: { approvals_required: 2 } }]);
    expect(await run.events('forum.question.approved')).toMatchObject([
      { actor: operator('ana'), payload: { ...asked, ...given, approvals_required: 2, missing: 1 } },
    ]);
    expect(await run.events('forum.question.answered')).toMatchObject([
      { actor: operator('ben'), payload: { ...asked, ...given, approved_by: [operator('ana'), operator('ben')] } },
    ]);
    const control = (await service.send('GET', `/control-threads/two-${runs}/builder`)).body;
    expect(control).toMatchObject({ status: 'working', open_questions: [] });
    // A third one who gives the winning answer changes nothing; one who gives another is too late.
    expect((await answerAs('cleo', 'Yes')).body).toEqual(second.body);
    expectProblem(await answerAs('cleo', 'No'), 'ALREADY_ANSWERED');
  });

  it('are answered only by one text: a word beside the same option is another answer', async () => {
    const { id, answerAs, read } = await forTwo();
    await answerAs('ana', 'Yes');
    const send = (body: object) => service.send('PUT', `/questions/${id}/answer`, body);
    await send({ selected: ['Yes'], answer: 'Yes, but not today.', actor: operator('ben') });
    await send({ answer: 'Yes', actor: operator('cleo') });
    expect(await read()).toMatchObject({ state: 'open', approvals: [{}, {}, {}] });
    const several = await forTwo({ multi_select: true });
    const choose = (selected: string[], name: string) =>
      service.send('PUT', `/questions/${several.id}/answer`, { selected, actor: operator(name) });
    await choose(['Yes', 'No'], 'ana');
    expect((await choose(['No', 'Yes'], 'ben')).body).toMatchObject({ state: 'answered', answer: 'No, Yes' });
  });

  it('are answered by texts that differ in white space, and each person may repeat their own', async () => {
    const { id } = await forTwo();
    const answerAs = (name: string, answer: string) =>
      service.send('PUT', `/questions/${id}/answer`, { answer, selected: ['Yes'], actor: operator(name) });
    const texts = { ana: 'Yes', ben: ' Yes\n' };
    for (const [name, text] of Object.entries(texts)) expect((await answerAs(name, text)).status).toBe(200);
    for (const [name, text] of Object.entries(texts)) {
      const { status, body } = await answerAs(name, text);
      expect([status, body.state, body.version]).toEqual([200, 'answered', 3]);
    }
    expectProblem(await answerAs('ana', 'Yes.'), 'ALREADY_ANSWERED');
  });

  it('keep one answer of each person, the last one', async () => {
    const { run, answerAs, read } = await forTwo();
    await answerAs('ana', 'Yes');
    await answerAs('ben', 'No');
    expect(await read()).toMatchObject({ state: 'open', version: 3, approvals: [{ answer: 'Yes' }, { answer: 'No' }] });
    const again = await answerAs('ben', 'No');
    expect(again).toMatchObject({ status: 200, body: { version: 3 } });
    expect(await run.events('forum.question.approved')).toHaveLength(2);
    expect((await answerAs('ana', 'No')).body).toMatchObject({
      ...{ state: 'answered', answer: 'No', answered_by: operator('ana') },
      approvals: [
        { answered_by: operator('ben'), answer: 'No' },
        { answered_by: operator('ana'), answer: 'No' },
      ],
    });
    // What a person has said before and taken back is not the answer.
    expectProblem(await answerAs('ana', 'Yes'), 'ALREADY_ANSWERED');
  });

  it('tell people apart by what names look like, and not by what they act as', async () => {
    const { id, read } = await forTwo();
    const send = (actor: object) => service.send('PUT', `/questions/${id}/answer`, { selected: ['Yes'], actor });
    for (const name of ['ana', 'Ana', 'ＡＮＡ', 'a na']) await send(operator(name));
    await send({ type: 'human', name: 'ANA' });
    expect(await read()).toMatchObject({ state: 'open', version: 2, approvals: [{ answered_by: operator('ana') }] });
    expect((await send({ type: 'human', name: 'ben' })).body.state).toBe('answered');
  });

  it('count nobody twice in an open service: those who give no name are one person', async () => {
    const { id, read } = await forTwo();
    const send = () => service.send('PUT', `/questions/${id}/answer`, { selected: ['Yes'] });
    const [first, second] = [await send(), await send()];
    expect([first.body.state, second.body.version]).toEqual(['open', 2]);
    expect(await read()).toMatchObject({ approvals: [{ answered_by: operator('operator') }] });
  });

  it('are answered by nobody who cannot be told from another person', async () => {
    const { run, id, answerAs, read } = await forTwo();
    await answerAs('ana', 'Yes');
    const send = (body: object) => service.send('PUT', `/questions/${id}/answer`, { selected: ['Yes'], ...body });
    const refused = [
      await send({ actor: { type: 'agent', name: 'builder' } }),
      await send({ actor: { type: 'system', name: 'deploy' } }),
      await send({ answered_in: 'terminal' }),
      await send({ answered_in: 'link', actor: operator('ben') }),
      await run.signal('guidance_answer', 'builder', { in_reply_to: id, actor: { type: 'agent', name: 'builder' } }),
    ];
    for (const answer of refused) {
      expectProblem(answer, 'FORBIDDEN');
      expect(answer.body.detail).toMatch(/^Two people must answer this question, each in their own name; \S.*\.$/);
    }
    const command = signal('guidance_answer', {
      ...{ run_id: `two-${runs}`, in_reply_to: id, answer: 'Yes', selected: ['Yes'], actor: operator('ben') },
    });
    const published = await service.send('POST', '/outbox', {
      topic: 'forum.commands.control_signal',
      payload: command,
    });
    const message = async () => (await service.send('GET', `/outbox/${published.body.message_id}`)).body;
    await expect.poll(async () => (await message()).status).toBe('dead');
    expect((await message()).deliveries[0].last_error).toMatch(/FORBIDDEN: .*a message does not prove who sent it/);
    expect(await read()).toMatchObject({ state: 'open', version: 2 });
  });

  it('have no default, and at most two people', async () => {
    const ask = (fields: object) =>
      service.send('POST', '/control-signals', signal('guidance_request', { options: YES_NO, ...fields }));
    const withDefault = { approvals: 2, expires_in_seconds: 60 };
    for (const [name, value] of Object.entries({ default_answer: 'Yes', default_selected: ['Yes'] })) {
      const refused = await ask({ ...withDefault, [name]: value });
      expectProblem(refused, 'VALIDATION_FAILED');
      expect(refused.body.errors).toMatchObject([{ pointer: `/${name}` }]);
    }
    for (const approvals of [0, 3, 1.5, '2']) expectProblem(await ask({ approvals }), 'VALIDATION_FAILED');
    expect((await ask({ approvals: 1, expires_in_seconds: 60, default_answer: 'Yes' })).status).toBe(201);
  });

  it('end by a cancellation, an expiry or a later question as ever, whatever was approved', async () => {
    const { id, answerAs, run } = await forTwo();
    await answerAs('ana', 'Yes');
    await service.send('POST', `/questions/${id}/cancel`);
    const refused = await answerAs('ben', 'Yes');
    expectProblem(refused, 'QUESTION_CLOSED');
    const replaced = await forTwo();
    await replaced.answerAs('ana', 'Yes');
    await run.ask('builder', {});
    const later = await aRun(service.send, `two-${runs}`).ask('builder', { supersedes: replaced.id, approvals: 2 });
    expect(await replaced.read()).toMatchObject({ state: 'superseded', approvals: [{}] });
    expect((await service.send('GET', `/questions/${later}`)).body.approvals).toEqual([]);
    const late = await forTwo({ expires_in_seconds: 5 });
    await late.answerAs('ana', 'Yes');
    clock.advance(5_000);
    await expiries.of(late.id);
    expect(await late.read()).toMatchObject({ state: 'expired', answer: null, approvals: [{ answer: 'Yes' }] });
    expectProblem(await late.answerAs('ben', 'Yes'), 'QUESTION_CLOSED');
  });

  it('let a wait for the end go on when one person has answered, and one for a version end', async () => {
    const { id, answerAs } = await forTwo();
    const ended = service.send('GET', `/questions/${id}?wait=30`);
    const changed = service.send('GET', `/questions/${id}?wait=30&after_version=1`);
    await answerAs('ana', 'Yes');
    expect((await changed).body).toMatchObject({ state: 'open', version: 2 });
    // After the first approval, too, a wait is for the end.
    const later = service.send('GET', `/questions/${id}?wait=30`);
    await answerAs('ben', 'Yes');
    expect([(await ended).body.state, (await later).body.state]).toEqual(['answered', 'answered']);
  });

  it('say to the gate how far they are and who is missing', async () => {
    const { run, id, answerAs } = await forTwo();
    const detail = async () => {
      const { gate } = await run.snapshot();
      expect(reasons(gate)[0]).toMatchObject({ code: 'OPEN_QUESTION', question_id: id });
      return gate.reasons[0].detail.replace(`builder waits for an answer to ${id} `, '');
    };
    expect(await detail()).toBe('(0 of 2, missing: two people).');
    await answerAs('ana', 'Yes');
    expect(await detail()).toBe('(1 of 2, missing: one more person other than ana).');
    expect((await run.close()).body.reasons[0].detail).toContain('1 of 2');
    await answerAs('ben', 'No');
    expect(await detail()).toBe('(1 of 2, missing: one more person who agrees with one of ana and ben).');
    const [head] = (await run.snapshot()).open_questions;
    expect(head).toMatchObject({ approvals_required: 2, approvals: [{ answer: 'Yes' }, { answer: 'No' }] });
    await answerAs('ben', 'Yes');
    expect((await run.snapshot()).gate.reasons[0].code).toBe('MISSING_COMPLETION');
  });

  it('are one short sentence of the gate, however many people with long names have answered', async () => {
    const { id, run } = await forTwo();
    for (let number = 0; number < 10; number += 1) {
      const body = { answer: `${number}`, actor: operator(`${number}${'😀'.repeat(199)}`) };
      expect((await service.send('PUT', `/questions/${id}/answer`, body)).status).toBe(200);
    }
    const [{ detail }] = (await run.snapshot()).gate.reasons;
    expect(detail.length).toBeLessThan(300);
    expect(detail).toMatch(/\(1 of 2, missing: one more person who agrees with one of 0😀+…\)\.$/u);
  });

  it('show the beginning of long answers where others stand beside them, and ten answers at most', async () => {
    const { id, run, read } = await forTwo({ options: undefined });
    const answer = (name: string, text: string) =>
      service.send('PUT', `/questions/${id}/answer`, { answer: text, actor: operator(name) });
    for (let number = 1; number <= 12; number += 1) await answer(`person ${number}`, `${number}`.padEnd(600, '.'));
    const { approvals } = await read();
    expect(approvals.map((one: { answered_by: Actor }) => one.answered_by.name)).toEqual(
      Array.from({ length: 10 }, (_, index) => `person ${index + 3}`),
    );
    const [head] = (await run.snapshot()).open_questions;
    expect(head.approvals[0]).toMatchObject({ answer: '3'.padEnd(500, '.'), answer_truncated: true });
    // One of them who says something else takes nobody's place.
    expect((await answer('person 4', 'Other.')).body.approvals.map((one: { answer: string }) => one.answer[0])).toEqual(
      [...['3', '5', '6', '7', '8', '9', '1', '1', '1', 'O']],
    );
    // The answer of the first has made room: it has to be given again.
    expect((await answer('person 20', '1'.padEnd(600, '.'))).body.state).toBe('open');
    expect((await answer('person 1', '1'.padEnd(600, '.'))).body.state).toBe('answered');
  });

  it('have one effect of a repeated request, also under a key', async () => {
    const { id, run } = await forTwo();
    const answer = (name: string) =>
      service.send(
        'POST',
        '/control-signals',
        signal('guidance_answer', {
          ...{ run_id: `two-${runs}`, in_reply_to: id, selected: ['Yes'], answer: undefined, actor: operator(name) },
        }),
        { 'idempotency-key': `two-${runs}-${name}` },
      );
    const first = await answer('ana');
    expect(first).toMatchObject({ status: 201, body: { question: { state: 'open', version: 2 } } });
    expect((await answer('ana')).body.signal).toEqual(first.body.signal);
    // Without its key, too, the same answer of one person is the one that is stored.
    const repeated = await run.signal('guidance_answer', 'builder', {
      ...{ in_reply_to: id, selected: ['Yes'], answer: undefined, actor: operator('ana') },
    });
    expect(repeated).toMatchObject({ status: 200, body: { signal: first.body.signal, question: { version: 2 } } });
    const second = await answer('ben');
    expect(second).toMatchObject({ status: 201, body: { question: { state: 'answered' } } });
    expect((await answer('ben')).body).toMatchObject({ signal: second.body.signal, question: { state: 'answered' } });
    expect((await answer('ana')).body.signal).toEqual(first.body.signal);
    expect(await run.events('forum.control.signal')).toHaveLength(3);
  });

  it('take two people at once, and end once', async () => {
    // Where they can, two processes take them.
    const database = { url: service.url, drop: async () => {} };
    const second = engine === 'sqlite' ? service : await startApp(engine, { database });
    for (let round = 0; round < 10; round += 1) {
      const { run, id, read } = await forTwo();
      const names = ['ana', 'ben', 'cleo', 'ana', 'ben', 'dora'];
      const answers = await Promise.all(
        names.map((name, index) => {
          const body = { selected: [index % 2 === 0 ? 'Yes' : 'No'], actor: operator(name) };
          return (index < 3 ? service : second).send('PUT', `/questions/${id}/answer`, body);
        }),
      );
      expect(answers.every(({ status }) => status === 200 || status === 409)).toBe(true);
      expect((await read()).state).toBe('answered');
      expect(await run.events('forum.question.answered')).toHaveLength(1);
      const agreed = (await read()).approvals.filter((one: { answer: string }) => one.answer === 'Yes');
      expect(agreed.length === 2 || (await read()).answer === 'No').toBe(true);
    }
    if (second !== service) await second.close();
  });

  it('are refused with a version that an approval has outdated', async () => {
    const { id, answerAs } = await forTwo();
    const { headers } = await service.send('GET', `/questions/${id}`);
    const seen = { 'if-match': String(headers.etag) };
    await answerAs('ana', 'Yes');
    const body = { selected: ['Yes'], actor: operator('ben') };
    expectProblem(await service.send('PUT', `/questions/${id}/answer`, body, seen), 'PRECONDITION_FAILED');
  });
});

describe.each(engines)('people with tokens and a question for two on %s', engine => {
  let service: TestApp;
  let tokens: Awaited<ReturnType<typeof withTokens>>;
  beforeAll(async () => {
    service = await startApp(engine);
    tokens = await withTokens(service);
  });
  afterAll(() => service.close());

  const asOperator = async (name: string) =>
    tokens.as((await tokens.issue({ role: 'operator', actor: operator(name) })).token);

  it('are as many as their tokens have names, and no agent is one of them', async () => {
    const agent = await tokens.asAgent('run-1', 'builder');
    const source = { host: 'claude', session_id: 's-1' };
    const asked = await agent('POST', '/control-signals', signal('guidance_request', { approvals: 2, source }));
    const { question_id } = asked.body.question;
    const path = `/questions/${question_id}/answer`;
    const [ana, anaToo, ben] = [await asOperator('ana'), await asOperator('Ana'), await asOperator('ben')];
    expect((await ana('PUT', path, { answer: 'Yes.' })).body).toMatchObject({ state: 'open', version: 2 });
    expect((await anaToo('PUT', path, { answer: 'Yes.' })).body).toMatchObject({ state: 'open', version: 2 });
    expectProblem(await ana('PUT', path, { answer: 'Yes.', actor: operator('ben') }), 'ACTOR_MISMATCH');
    expectProblem(await agent('PUT', path, { answer: 'Yes.' }), 'FORBIDDEN');
    // For a question of one person, the agent may pass on what its terminal was told.
    const terminal = await agent('PUT', path, { answer: 'Yes.', answered_in: 'terminal' });
    expectProblem(terminal, 'FORBIDDEN');
    expect(terminal.body.detail).toContain('an agent passes on');
    // A message may name anybody.
    const payload = signal('guidance_answer', { in_reply_to: question_id, answer: 'Yes.', actor: operator('ben') });
    await tokens.admin('POST', '/outbox', { topic: 'forum.commands.control_signal', payload });
    await tokens.admin('POST', '/bus/process');
    expect((await agent('GET', `/questions/${question_id}`)).body).toMatchObject({ state: 'open', version: 2 });
    const waiting = agent('GET', `/questions/${question_id}?wait=30`);
    expect((await ben('PUT', path, { answer: 'Yes.' })).body).toMatchObject({ answered_by: operator('ben') });
    expect((await waiting).body).toMatchObject({ state: 'answered', approvals: [{}, {}] });
  });
});

it.each(engines)('a question for one person costs no statement about approvals on %s', async engine => {
  const service = await startApp(engine);
  onTestFinished(() => service.close());
  await sqlBeside(service.url, 'drop table question_approvals');
  const run = aRun(service.send, 'run-1');
  const [answered, cancelled] = [await run.ask('builder', { options: YES_NO }), await run.ask('builder')];
  expect((await run.close()).body.code).toBe('GATE_BLOCKED');
  await run.answer(answered, 'Yes');
  await run.answer(answered, 'Yes');
  expect((await service.send('POST', `/questions/${cancelled}/cancel`)).status).toBe(200);
  await run.finish('builder');
  expect((await run.close()).status).toBe(200);
  for (const path of ['/questions', `/questions/${answered}`, run.path, `${run.path}/export`]) {
    expect((await service.send('GET', path)).status).toBe(200);
  }
  await expect.poll(async () => (await service.send('DELETE', run.path)).status).toBe(204);
});

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { region } from '../helpers/hooks.ts';
import { expectProblem } from '../helpers/problems.ts';
import { listen } from '../helpers/socket.ts';
import { withTokens } from '../helpers/tokens.ts';

const tool_input = { questions: [region] };
const permission = {
  hook_event_name: 'PermissionRequest',
  session_id: 's-1',
  prompt_id: 'p-1',
  tool_name: 'AskUserQuestion',
  tool_input,
};
const prompt = { hook_event_name: 'UserPromptSubmit', session_id: 's-1', prompt: 'Go on.' };

describe.each(engines)('POST /hooks/claude on %s', engine => {
  let service: TestApp;
  let url: string;
  beforeAll(async () => {
    service = await startApp(engine);
    url = `http://127.0.0.1:${await listen(service.app)}`;
  });
  afterAll(() => service.close());

  const fire = (run: string, event: object, signal?: AbortSignal) =>
    fetch(`${url}/hooks/claude?run=${run}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(event),
      ...(signal && { signal }),
    });
  const questions = async (run: string) => (await service.send('GET', `/questions?run_id=${run}`)).body.items;
  const asked = async (run: string) => {
    await expect.poll(() => questions(run), { timeout: 20_000 }).toMatchObject([{ state: 'open' }]);
    return (await questions(run))[0].question_id as string;
  };
  const answer = (id: string, selected: string) =>
    service.send('PUT', `/questions/${id}/answer`, { selected: [selected], actor: { type: 'human', name: 'ana' } });

  it('holds a question until people answer it', async () => {
    const asking = fire('ask', permission);
    await answer(await asked('ask'), 'eu-west-1');
    const answered = await asking;
    expect(answered.status).toBe(200);
    expect(await answered.json()).toEqual({
      hookSpecificOutput: {
        hookEventName: 'PermissionRequest',
        decision: {
          behavior: 'allow',
          updatedInput: { ...tool_input, answers: { 'Which region?': 'eu-west-1' } },
        },
      },
    });
    await expect.poll(() => questions('ask')).toMatchObject([{ acknowledged_at: expect.any(String) }]);
    expect((await fire('ask', prompt)).status).toBe(204);
  });

  it('withdraws the question when the host closes the connection', async () => {
    const host = new AbortController();
    const asking = fire('leave', permission, host.signal).catch(() => {});
    await asked('leave');
    host.abort();
    await asking;
    await expect
      .poll(() => questions('leave'), { timeout: 20_000 })
      .toMatchObject([{ state: 'cancelled', acknowledged_at: expect.any(String) }]);
  });

  it('ends when the terminal has answered', async () => {
    const asking = fire('terminal', permission);
    await asked('terminal');
    const answers = { 'Which region?': 'us-east-1' };
    const tool_response = { ...tool_input, answers, annotations: {} };
    const post = { ...permission, hook_event_name: 'PostToolUse', tool_use_id: 'toolu_1', tool_response };
    expect((await fire('terminal', post)).status).toBe(204);
    expect((await asking).status).toBe(204);
    expect(await questions('terminal')).toMatchObject([{ answered_in: 'terminal', selected: ['us-east-1'] }]);
  });

  it('tells news once', async () => {
    const signal = { schema_version: 1, control_type: 'guidance_request', run_id: 'news', agent_name: 'claude' };
    const { question } = (await service.send('POST', '/control-signals', { ...signal, question: 'Deploy?' })).body;
    await service.send('PUT', `/questions/${question.question_id}/answer`, { answer: 'Yes.' });
    const told = await Promise.all(Array.from({ length: 4 }, () => fire('news', prompt)));
    expect(told.map(({ status }) => status).sort()).toEqual([200, 204, 204, 204]);
    await expect.poll(() => questions('news')).toMatchObject([{ acknowledged_at: expect.any(String) }]);
  });

  it('takes what a tool has returned, whatever numbers and names it holds and however much it is', async () => {
    const fireText = (text: string) =>
      fetch(`${url}/hooks/claude?run=tools`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: `{"hook_event_name":"PostToolBatch","session_id":"s-1","tool_calls":[${text}]}`,
      });
    const odd =
      '{"tool_input":{"id":1234567890123456789,"id":1e400,"__proto__":{"a":1},"constructor":{"prototype":{}}}}';
    expect((await fireText(odd)).status).toBe(204);
    expect((await fireText(`"${'x'.repeat(1_000_000)}"`)).status).toBe(204);
    expect((await fireText(`"${'x'.repeat(1_048_576)}"`)).status).toBe(413);
  });

  it('needs a run, and takes any event that it does not know', async () => {
    expectProblem(await service.send('POST', '/hooks/claude', prompt), 'VALIDATION_FAILED');
    expect((await fire('none', { hook_event_name: 'Other', session_id: 's-1' })).status).toBe(204);
  });
});

it('takes run and agent from the token, and is for that agent only', async () => {
  const service = await startApp('sqlite');
  const tokens = await withTokens(service);
  const builder = await tokens.asAgent('run-1', 'builder');
  const signal = { schema_version: 1, control_type: 'guidance_request', run_id: 'run-1', agent_name: 'builder' };
  const { question } = (await builder('POST', '/control-signals', { ...signal, question: 'Deploy?' })).body;
  await tokens.admin('PUT', `/questions/${question.question_id}/answer`, { answer: 'Yes.' });
  const told = await builder('POST', '/hooks/claude', prompt);
  expect(told.body.hookSpecificOutput.additionalContext).toBe(
    `Answer to ${question.question_id} by root: Yes. (question: Deploy?)`,
  );
  expectProblem(await builder('POST', '/hooks/claude?agent=tester', prompt), 'FORBIDDEN');
  expectProblem(await (await tokens.asPerson('viewer'))('POST', '/hooks/claude?run=run-1', prompt), 'FORBIDDEN');
  await service.close();
});

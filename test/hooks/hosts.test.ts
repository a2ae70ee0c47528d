import { beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { hostSession, region } from '../helpers/hooks.ts';
import { listen } from '../helpers/socket.ts';

/* Inputs in the shapes of Codex CLI 0.171.0 and Gemini CLI 0.61.0; those of Cursor and Copilot CLI are from their documentation. */

let service: TestApp;
let url: string;

beforeAll(async () => {
  service = await startApp('sqlite', { config: { ROLE: 'all' } });
  url = `http://127.0.0.1:${await listen(service.app)}`;
  return () => service.close();
});

describe('Codex', () => {
  const turn = { turn_id: 't-1', model: 'gpt-5.4', permission_mode: 'default' };

  it.each(['SessionStart', 'UserPromptSubmit', 'PostToolUse'])('gets news at %s', async hook_event_name => {
    const session = await hostSession('codex', service, url);
    const id = await session.news();
    expect(await session.fire({ ...turn, hook_event_name })).toEqual({
      hookSpecificOutput: {
        hookEventName: hook_event_name,
        additionalContext: `Answer to ${id} by ana: Yes. (question: Deploy?)`,
      },
    });
  });

  it('goes on at the end of a turn, at most eight times in a row', async () => {
    const session = await hostSession('codex', service, url);
    const stop = async (stop_hook_active: boolean) => {
      await session.news();
      return session.fire({ ...turn, hook_event_name: 'Stop', stop_hook_active });
    };
    expect(await stop(false)).toMatchObject({ decision: 'block', reason: expect.stringMatching(/^Answer to q_/) });
    for (let again = 2; again <= 8; again += 1) expect(await stop(true)).toBeDefined();
    expect(await stop(true)).toBeUndefined();
  });

  it('gets the answer to its question as the reason of a refusal', async () => {
    const session = await hostSession('codex', service, url);
    const { multiSelect: _, ...asked } = region;
    const questions = [{ id: 'region', ...asked, isOther: true, isSecret: false }];
    const input = { ...turn, hook_event_name: 'PreToolUse', tool_name: 'request_user_input', tool_use_id: 'call_1' };
    const asking = session.fire({ ...input, tool_input: { questions } });
    const { question_id, source } = await session.asked();
    expect(source).toMatchObject({ host: 'codex', session_id: 's-1', tool_use_id: 'call_1' });
    await session.answer(question_id, { selected: ['eu-west-1'] });
    expect(await asking).toEqual({
      hookSpecificOutput: {
        hookEventName: 'PreToolUse',
        permissionDecision: 'deny',
        permissionDecisionReason: `Answer to ${question_id} by ana: eu-west-1`,
      },
    });
    // A secret must not be typed into the page of another service.
    const secret = [{ id: 'key', question: 'Which key?', isSecret: true, options: null }];
    expect(await session.fire({ ...input, tool_input: { questions: secret } })).toBeUndefined();
  });

  it('asks for approvals only while the person is away', async () => {
    const session = await hostSession('codex', service, url);
    const input = { ...turn, hook_event_name: 'PermissionRequest', tool_name: 'Bash' };
    const tool_input = { command: 'rm -rf build', description: 'Clean' };
    expect(await session.fire({ ...input, tool_input })).toBeUndefined();
    const decided = async (turn_id: string, answer: object) => {
      const asking = session.fire({ ...input, turn_id, tool_input }, { env: { FORUMBUS_AWAY: '1' } });
      const question = await session.asked();
      expect(question).toMatchObject({ question: 'Allow Bash: rm -rf build', context: 'Clean\n\nrm -rf build' });
      await session.answer(question.question_id, { ...answer });
      return (await asking).hookSpecificOutput;
    };
    expect(await decided('t-1', { selected: ['Allow'] })).toEqual({
      hookEventName: 'PermissionRequest',
      decision: { behavior: 'allow' },
    });
    expect(await decided('t-2', { selected: ['Deny'], answer: 'Too much.' })).toEqual({
      hookEventName: 'PermissionRequest',
      decision: { behavior: 'deny', message: 'Denied by ana: Deny (Too much.)' },
    });
  });
});

describe('Gemini CLI', () => {
  it.each(['SessionStart', 'BeforeAgent', 'AfterTool'])('gets news at %s', async hook_event_name => {
    const session = await hostSession('gemini', service, url);
    const id = await session.news();
    expect(await session.fire({ hook_event_name })).toEqual({
      hookSpecificOutput: {
        hookEventName: hook_event_name,
        additionalContext: `Answer to ${id} by ana: Yes. (question: Deploy?)`,
      },
    });
  });

  it('goes on after its turn', async () => {
    const session = await hostSession('gemini', service, url);
    const id = await session.news();
    expect(await session.fire({ hook_event_name: 'AfterAgent', stop_hook_active: false })).toEqual({
      decision: 'deny',
      reason: `Answer to ${id} by ana: Yes. (question: Deploy?)`,
    });
    expect(await session.fire({ hook_event_name: 'AfterAgent', stop_hook_active: true })).toBeUndefined();
  });

  it('gets the answers to its questions as the reason of a refusal', async () => {
    const session = await hostSession('gemini', service, url);
    const questions = [
      { ...region, type: 'choice' },
      { question: 'Now?', header: 'When', type: 'yesno' },
    ];
    const asking = session.fire({ hook_event_name: 'BeforeTool', tool_name: 'ask_user', tool_input: { questions } });
    await expect.poll(() => session.questions('&state=open')).toHaveLength(2);
    const [first, second] = await session.questions();
    expect(second.options).toEqual([{ label: 'Yes' }, { label: 'No' }]);
    await session.answer(first.question_id, { selected: ['us-east-1'] });
    await session.answer(second.question_id, { selected: ['No'] });
    expect(await asking).toEqual({
      decision: 'deny',
      reason: [
        `Answer to ${first.question_id} by ana: us-east-1 (question: Which region?)`,
        `Answer to ${second.question_id} by ana: No (question: Now?)`,
      ].join('\n'),
    });
  });
});

it('Cursor gets news as a follow-up of a turn that is complete, below its own limit', async () => {
  const session = await hostSession('cursor', service, url);
  const stop = { hook_event_name: 'stop', conversation_id: 'c-1', generation_id: 'g-1', workspace_roots: ['/'] };
  const id = await session.news();
  expect(await session.fire({ ...stop, status: 'aborted', loop_count: 0 })).toBeUndefined();
  expect(await session.fire({ ...stop, status: 'completed', loop_count: 4 })).toBeUndefined();
  expect(await session.fire({ ...stop, status: 'completed', loop_count: 0 })).toEqual({
    followup_message: `Answer to ${id} by ana: Yes. (question: Deploy?)`,
  });
});

describe('Copilot CLI', () => {
  it.each(['sessionStart', 'notification'])('gets news at %s, whose input does not name the event', async event => {
    const session = await hostSession('copilot', service, url);
    const id = await session.news();
    expect(await session.fire({ sessionId: 'c-1', timestamp: 1 }, { args: [event] })).toEqual({
      additionalContext: `Answer to ${id} by ana: Yes. (question: Deploy?)`,
    });
  });

  it('goes on at the end of a turn, seven times in a row', async () => {
    const session = await hostSession('copilot', service, url);
    const stop = async () => {
      await session.news();
      return session.fire({ sessionId: 'c-1', stopReason: 'end_turn' }, { args: ['agentStop'] });
    };
    for (let again = 1; again <= 7; again += 1) expect(await stop()).toMatchObject({ decision: 'block' });
    expect(await stop()).toBeUndefined();
    expect(await stop()).toMatchObject({ decision: 'block' });
  });
});

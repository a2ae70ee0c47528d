import { expect, it } from 'vitest';
import { resourcesOf } from '../../src/audit/resources.ts';

const nothing = { params: {}, query: {}, body: undefined, answer: undefined };

it('takes the path before the answer, and the answer before the body', () => {
  const body = { run_id: 'of the body', agent_name: 'builder', question: 'Which region?' };
  const answer = { signal: { run_id: 'of the answer', signal_id: 'sig_1' }, question: { question_id: 'q_1' } };
  expect(resourcesOf({ ...nothing, body, answer })).toEqual({
    run_id: 'of the answer',
    agent_name: 'builder',
    signal_id: 'sig_1',
    question_id: 'q_1',
  });
  expect(resourcesOf({ ...nothing, params: { run_id: 'of the path' }, body, answer }).run_id).toBe('of the path');
});

it('takes the agent of a query, and the arguments of a tool', () => {
  const body = {
    method: 'tools/call',
    params: { name: 'answer', arguments: { question_id: 'q_1', answer: 'Europe.' } },
  };
  expect(resourcesOf({ ...nothing, query: { run: 'run-1', agent: 'builder' }, body })).toEqual({
    run_id: 'run-1',
    agent_name: 'builder',
    question_id: 'q_1',
    tool: 'answer',
  });
});

it('takes the id of a token that somebody has sent in full, and not its secret', () => {
  const params = { token_id: `fbt_0123456789abcdef_${'5e3a'.repeat(16)}` };
  expect(resourcesOf({ ...nothing, params })).toEqual({ token_id: 'fbt_0123456789abcdef_***' });
});

it('takes nothing that is no name', () => {
  const odd = { run_id: 7, thread_id: '', name: 'x'.repeat(1000), token: 'fbt_1_2', body: 'zebra' };
  expect(resourcesOf({ params: { token: 'secret' }, query: null, body: odd, answer: [odd] })).toEqual({});
  expect(resourcesOf({ params: null, query: 'x', body: 'x', answer: null })).toEqual({});
});

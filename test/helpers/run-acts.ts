import fc from 'fast-check';
import type { Answer, TestApp } from './app.ts';
import { signal } from './signals.ts';

/** What can happen in a run, with `agent` and `choice` to say to what. */
const kinds = [
  'ask',
  'supersede',
  'answer',
  'cancel',
  'acknowledge',
  'complete',
  'pass',
  'fail',
  'attempt',
  'brief',
  'post',
  'priority',
  'mark',
  'close thread',
  'close run',
] as const;

export interface Act {
  kind: (typeof kinds)[number];
  agent: number;
  choice: number;
}

const AGENTS = ['builder', 'tester'];
const ana = { type: 'human', name: 'ana' };

/** Acts in any order; the ends of threads and runs are rare, since little happens after them. */
export const acts = fc.array(
  fc.record({
    kind: fc.oneof(
      { weight: 20, arbitrary: fc.constantFrom(...kinds.slice(0, -2)) },
      { weight: 1, arbitrary: fc.constantFrom(...kinds.slice(-2)) },
    ),
    agent: fc.nat(AGENTS.length - 1),
    choice: fc.nat(3),
  }),
  { minLength: 5, maxLength: 16 },
);

/** A run in which acts are tried; many of them are refused, which is an act as well. */
export function runOf(send: TestApp['send'], run_id: string) {
  const questions: string[] = [];
  const signalled = (control_type: string, agent: number, fields: object = {}) =>
    send('POST', '/control-signals', signal(control_type, { run_id, agent_name: AGENTS[agent], ...fields }));
  const thread = async (agent: number): Promise<string> => {
    const { body } = await send('GET', `/control-threads/${run_id}/${AGENTS[agent]}`);
    return `/threads/${body.thread_id ?? 'none'}`;
  };
  const ask = async (agent: number, fields: object): Promise<Answer> => {
    const asked = await signalled('guidance_request', agent, fields);
    if (asked.status === 201) questions.push(asked.body.question.question_id);
    return asked;
  };

  const doings: Record<Act['kind'], (agent: number, choice: number) => Promise<Answer>> = {
    ask: (agent, choice) => ask(agent, choice === 0 ? { priority: 'high' } : {}),
    supersede: (agent, choice) => ask(agent, { supersedes: some(choice) }),
    answer: (_, choice) => send('PUT', `/questions/${some(choice)}/answer`, { answer: 'Europe.' }),
    cancel: (_, choice) => send('POST', `/questions/${some(choice)}/cancel`),
    acknowledge: (_, choice) => send('POST', `/questions/${some(choice)}/acknowledge`),
    complete: agent => signalled('completion', agent),
    pass: agent => signalled('validation', agent),
    fail: agent => signalled('validation', agent, { status: 'failed' }),
    attempt: agent => send('POST', `/control-threads/${run_id}/${AGENTS[agent]}/attempts`),
    brief: (_, choice) =>
      send('PUT', `/runs/${run_id}`, choice === 0 ? { agents: AGENTS } : { done_criteria: `It is ${choice}.` }),
    post: async (agent, choice) =>
      send('POST', `${await thread(agent)}/posts`, {
        body: 'x',
        actor: choice === 0 ? ana : { type: 'agent', name: 'builder' },
      }),
    priority: async (agent, choice) =>
      send('PATCH', await thread(agent), { priority: ['low', 'normal', 'high', 'urgent'][choice], actor: ana }),
    mark: async agent => send('PUT', `${await thread(agent)}/reads/human:ana`, {}),
    'close thread': async agent => send('PATCH', await thread(agent), { state: 'closed', actor: ana }),
    'close run': () => send('POST', `/runs/${run_id}/close`),
  };
  /** The id of a question of the run, if there is one. */
  const some = (choice: number) => questions.at(-1 - choice) ?? questions[0] ?? 'q_0';

  return {
    questions,
    agents: AGENTS,
    thread,
    act: ({ kind, agent, choice }: Act) => doings[kind](agent, choice),
  };
}

import { expect } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import type { Overrides } from '../../src/services.ts';
import { startApp, type TestApp } from './app.ts';
import { fresh } from './posts.ts';
import { signal } from './signals.ts';
import { withTokens } from './tokens.ts';

/** Stands in every text of what no agent of run-1 may see. */
export const SECRET = 'zebra';

/** One of everything in a run. */
async function things(
  admin: TestApp['send'],
  anyAgent: TestApp['send'],
  run_id: string,
  agent_name: string,
  text: string,
) {
  const made = async (send: TestApp['send'], url: string, body: unknown) => {
    const answer = await send('POST', url, body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    return answer.body;
  };
  const asked = () =>
    made(
      anyAgent,
      '/control-signals',
      signal('guidance_request', { run_id, agent_name, question: text, ticket: text }),
    );
  const { signal: sent, question, thread: control } = await asked();
  const { thread_id } = await made(admin, '/threads', {
    title: text,
    body: text,
    run_id,
    thread_id: `${fresh()}-${run_id}`,
  });
  const ended = (await asked()).question.question_id;
  await admin('POST', `/questions/${ended}/cancel`);
  return {
    signal_id: sent.signal_id as string,
    question_id: question.question_id as string,
    ended: ended as string,
    control: control.thread_id as string,
    thread_id: thread_id as string,
  };
}

/** A service with two runs and a thread without one, and the token of an agent of the first. */
export async function boundAgent(engine: Engine, overrides: Overrides = {}) {
  const config = { POLL_INTERVAL_MS: '60000', RATE_LIMIT_PER_MINUTE: '0' };
  const service = await startApp(engine, { config, overrides });
  const tokens = await withTokens(service);
  const { admin } = tokens;
  const anyAgent = await tokens.asAgent('*', '*');
  const own = await things(admin, anyAgent, 'run-1', 'builder', 'lion');
  const tester = await things(admin, anyAgent, 'run-1', 'tester', 'lion');
  const foreign = await things(admin, anyAgent, 'run-2', 'builder', `${SECRET} lion`);
  const loose = (await admin('POST', '/threads', { title: `${SECRET} lion`, body: SECRET })).body.thread_id as string;
  await admin('PUT', '/runs/run-2', { title: SECRET });
  await admin('PUT', '/runs/run-1', { title: 'lion' });
  const { token } = await tokens.issue({ role: 'agent', runs: 'run-1', agents: 'builder' });
  return {
    service,
    tokens,
    token,
    agent: tokens.as(token),
    /** What belongs to the agent itself, to another agent in its run, to another run, and to none. */
    own,
    tester,
    foreign,
    loose,
  };
}

type BoundAgent = Awaited<ReturnType<typeof boundAgent>>;
export type Things = BoundAgent['own'];

import { Type } from 'typebox';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { Strict } from '../../src/http/schemas.ts';
import type { SignalVersion } from '../../src/signals/command.ts';
import { startApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';

/** A toy: version 2 has other words for a question and for completion. */
const v2: SignalVersion = {
  version: 2,
  schema: Strict({
    schema_version: Type.Literal(2),
    run: Type.String(),
    agent: Type.String(),
    ask: Type.Optional(Type.String()),
    done: Type.Optional(Type.String()),
  }),
  toCommand(body) {
    const { run: run_id, agent: agent_name, ask, done } = body as Record<'run' | 'agent' | 'ask' | 'done', string>;
    const envelope = { schema_version: 2, run_id, agent_name };
    return ask === undefined
      ? { ...envelope, control_type: 'completion', summary: done }
      : { ...envelope, control_type: 'guidance_request', question: ask };
  },
};

async function serviceOf(engine: Engine) {
  const service = await startApp(engine, { overrides: { signalVersions: [v2] } });
  onTestFinished(service.close);
  return service;
}

describe.each(engines)('a second schema version of signals on %s', engine => {
  it('is taken beside the first one, over HTTP and as a command, and read in one form', async () => {
    const { send } = await serviceOf(engine);
    const asked = await send('POST', '/control-signals', {
      schema_version: 2,
      run: 'r',
      agent: 'a',
      ask: 'Which region?',
    });
    expect(asked).toMatchObject({
      status: 201,
      body: {
        signal: { schema_version: 2, control_type: 'guidance_request', question: 'Which region?' },
        question: { question: 'Which region?', state: 'open' },
        thread: { state: 'waiting_operator' },
      },
    });
    const first = { schema_version: 1, control_type: 'completion', run_id: 'r', agent_name: 'b' };
    expect((await send('POST', '/control-signals', first)).status).toBe(201);
    const payload = { schema_version: 2, run: 'r', agent: 'a', done: 'Deployed.' };
    const topic = 'forum.commands.control_signal';
    expect((await send('POST', '/outbox', { message_id: 'm1', topic, payload })).status).toBe(201);
    await send('POST', '/bus/process', {});
    const posts = await send('GET', `/threads/${asked.body.thread.thread_id}/posts`);
    expect(posts.body.items.map((post: { body: string }) => post.body)).toEqual(['Which region?', 'Deployed.']);
  });

  it('is judged by its own schema, and an unknown one by none', async () => {
    const { send } = await serviceOf(engine);
    const refusal = async (body: object) => (await send('POST', '/control-signals', body)).body;
    expect(await refusal({ schema_version: 2, run: 'r' })).toMatchObject({
      code: 'VALIDATION_FAILED',
      errors: [{ pointer: '/agent', code: 'REQUIRED' }],
    });
    expect(await refusal({ schema_version: 1, control_type: 'completion', run_id: 'r' })).toMatchObject({
      code: 'VALIDATION_FAILED',
      errors: [{ pointer: '/agent_name', code: 'REQUIRED' }],
    });
    expect(await refusal({ schema_version: 3 })).toMatchObject({
      code: 'UNSUPPORTED_SCHEMA_VERSION',
      supported: [1, 2],
    });
  });
});

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import openapi from '../../openapi/openapi.json' with { type: 'json' };
import { startApp, type TestApp } from '../helpers/app.ts';
import { commands } from '../helpers/commands.ts';
import { withoutTrace } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { type Example, exampleRequests } from '../helpers/operations.ts';
import { deadly, fresh } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { people, type Tokens, withTokens } from '../helpers/tokens.ts';

interface Operation {
  operationId: string;
  requestBody?: { content: Record<string, { schema: { $ref: string } }> };
}

/** Every operation whose body may say who acts. */
const signed = Object.values(openapi.paths)
  .flatMap(methods => Object.values(methods) as Operation[])
  .filter(({ requestBody }) => {
    const ref = requestBody?.content['application/json']?.schema.$ref ?? '';
    // What a union holds has an actor, or none of it.
    const name = ref.replace('#/components/schemas/', '').replace('ControlSignalV1', 'CompletionSignal');
    const schema = (openapi.components.schemas as Record<string, { properties?: object }>)[name];
    return Object.hasOwn(schema?.properties ?? {}, 'actor') && name !== 'NewToken';
  })
  .map(({ operationId }) => operationId);

/** Those that an agent may send, too. */
const agents = ['sendControlSignal', 'cancelQuestion', 'acknowledgeQuestion', 'openThread', 'addPost'];

const ana = people.operator;

describe.each(engines)('who acts on %s', engine => {
  let service: TestApp;
  let tokens: Tokens;
  let examples: Record<string, () => Promise<Example>>;
  let operator: TestApp['send'];
  let builder: TestApp['send'];
  beforeAll(async () => {
    const config = { SELF_VALIDATION: 'forbid' };
    service = await startApp(engine, { config, overrides: { handlers: [deadly] } });
    tokens = await withTokens(service);
    operator = await tokens.asPerson('operator');
    builder = await tokens.asAgent('run-1', 'builder');
    // Whatever is there before is by somebody who is none of those that the tests look for.
    examples = exampleRequests(tokens.admin, 'operator:ana', service.url);
  });
  afterAll(() => service.close());

  const example = async (operation: string) => {
    const made = await examples[operation]?.();
    if (!made) throw new Error(`There is no example of ${operation}.`);
    return made;
  };
  const sent = (send: TestApp['send'], { method, url, body }: Example, actor?: object) =>
    send(method, url, actor ? { ...body, actor } : body);
  /** The events that a request makes. */
  const eventsOf = async (request: () => Promise<unknown>) => {
    const latest = async (after: number) => (await tokens.admin('GET', `/events?limit=200&after=${after}`)).body.items;
    let after = 0;
    for (let page = await latest(0); page.length > 0; page = await latest(after)) after = page.at(-1).sequence;
    await request();
    return (await latest(after)) as { actor: object }[];
  };

  it('is said in the bodies of eleven operations', () => {
    expect(signed).toHaveLength(11);
    expect(signed).toEqual(
      expect.arrayContaining([...agents, 'changeThread', 'fileBrief', 'closeRun', 'startAttempt', 'withdrawAgent']),
    );
  });

  it.each(signed)('in %s is the actor of the token, whether the request says so or not', async operation => {
    for (const actor of [undefined, ana]) {
      const made = await example(operation);
      const events = await eventsOf(async () => expect((await sent(operator, made, actor)).status).toBeLessThan(300));
      expect(events.length).toBeGreaterThan(0);
      for (const event of events) expect(event.actor).toEqual(ana);
    }
  });

  it.each(signed)('in %s is nobody else, and nothing is stored of such a request', async operation => {
    const made = await example(operation);
    await withoutTrace(service.url, async () => {
      for (const actor of [
        { type: 'operator', name: 'bob' },
        { type: 'operator', name: 'Ana' },
        { type: 'human', name: 'ana' },
        { type: 'agent', name: 'ana' },
        { type: 'system', name: 'forumbus' },
      ]) {
        expectProblem(await sent(operator, made, actor), 'ACTOR_MISMATCH');
      }
    });
  });

  it.each(agents)('in %s is the agent of the token, and no other one', async operation => {
    const own = { type: 'agent', name: 'builder' };
    for (const actor of [undefined, own, { type: 'agent', name: ' builder ' }]) {
      const made = await example(operation);
      const events = await eventsOf(async () => expect((await sent(builder, made, actor)).status).toBeLessThan(300));
      for (const event of events) expect(event.actor).toEqual(own);
    }
    const made = await example(operation);
    await withoutTrace(service.url, async () => {
      for (const actor of [
        { type: 'agent', name: 'tester' },
        { type: 'operator', name: 'builder' },
        { type: 'human', name: 'builder' },
        { type: 'system', name: 'builder' },
      ]) {
        expectProblem(await sent(builder, made, actor), 'ACTOR_MISMATCH');
      }
    });
  });

  it('is the one of several agents whom the request is about, or names', async () => {
    const fleet = await tokens.asAgent('run-1', 'night-*');
    const send = (fields: object) => fleet('POST', '/control-signals', signal('completion', fields));
    const actorOf = async (fields: object) => (await send(fields)).body.signal.actor;
    expect(await actorOf({ agent_name: 'night-1' })).toEqual({ type: 'agent', name: 'night-1' });
    const other = { type: 'agent', name: 'night-2' };
    expect(await actorOf({ agent_name: 'night-1', actor: other })).toEqual(other);
    expectProblem(await send({ agent_name: 'night-1', actor: { type: 'agent', name: 'day' } }), 'ACTOR_MISMATCH');
    // A thread is about nobody, so somebody has to be named.
    const talk = { title: 'Region', body: 'Which one?', run_id: 'run-1' };
    const unnamed = await fleet('POST', '/threads', talk);
    expectProblem(unnamed, 'VALIDATION_FAILED');
    expect(unnamed.body.errors).toMatchObject([{ pointer: '/actor', code: 'REQUIRED' }]);
    expect((await fleet('POST', '/threads', { ...talk, actor: other })).body.opened_by).toEqual(other);
  });

  it('stands on posts and answers', async () => {
    const { thread_id } = (await builder('POST', '/threads', { title: 'a', body: 'b', run_id: 'run-1' })).body;
    await operator('POST', `/threads/${thread_id}/posts`, { body: 'c' });
    const posts = (await operator('GET', `/threads/${thread_id}/posts`)).body.items;
    expect(posts.map((post: { actor: object }) => post.actor)).toEqual([{ type: 'agent', name: 'builder' }, ana]);
    const { question } = (await builder('POST', '/control-signals', signal('guidance_request'))).body;
    const answered = await operator('PUT', `/questions/${question.question_id}/answer`, { answer: 'x' });
    expect(answered.body.answered_by).toEqual(ana);
  });

  it('marks what has been seen in its own name', async () => {
    const made = await example('markThreadSeen');
    expect((await sent(operator, made)).status).toBe(200);
    await withoutTrace(service.url, async () => {
      for (const viewer of ['operator:bob', 'human:ana', 'agent:ana', 'ana', 'operator', 'operator:', 'operatorana']) {
        const url = made.url.replace(/[^/]+$/, encodeURIComponent(viewer));
        expectProblem(await sent(operator, { ...made, url }), 'ACTOR_MISMATCH');
      }
    });
    expect((await operator('GET', '/threads?queue=unseen&viewer=human:vera')).status).toBe(200);
  });

  it('does not validate its own work, where that is forbidden', async () => {
    const validation = (fields: object = {}) => signal('validation', fields);
    const refused = await withoutTrace(service.url, () => builder('POST', '/control-signals', validation()));
    expectProblem(refused, 'SELF_VALIDATION');
    const own = { actor: { type: 'agent', name: 'builder' } };
    expectProblem(await builder('POST', '/control-signals', validation(own)), 'SELF_VALIDATION');
    expect((await operator('POST', '/control-signals', validation())).status).toBe(201);
    // A token for all agents may act as any of them, so whom it names makes no difference.
    const fleet = await tokens.asAgent('run-1', '*');
    await withoutTrace(service.url, async () => {
      for (const name of ['builder', 'tester', 'nobody', 'Builder', 'ｂｕｉｌｄｅｒ']) {
        const given = validation({ actor: { type: 'agent', name } });
        expectProblem(await fleet('POST', '/control-signals', given), 'SELF_VALIDATION');
      }
      const invisible = validation({ actor: { type: 'agent', name: 'build\u200ber' } });
      expectProblem(await fleet('POST', '/control-signals', invisible), 'VALIDATION_FAILED');
      expectProblem(await fleet('POST', '/control-signals', validation()), 'SELF_VALIDATION');
    });

    const bus = commands(tokens.admin);
    const ids = [
      await bus.publish('control_signal', validation()),
      await bus.publish('control_signal', validation(own)),
      await bus.publish('control_signal', validation({ actor: { type: 'human', name: 'vera' } })),
    ];
    await bus.drain();
    const [first, second, third] = await Promise.all(ids.map(bus.message));
    for (const message of [first, second]) {
      expect(message).toMatchObject({ status: 'dead', last_error: expect.stringContaining('SELF_VALIDATION') });
    }
    expect(third.status).toBe('sent');
  });

  it('validates only whom its token names beyond its own agents', async () => {
    const reviewing = async (agents: string, validates?: string, runs = 'run-1') => {
      const send = tokens.as(
        (await tokens.issue({ role: 'agent', runs, agents, ...(validates && { validates }) })).token,
      );
      return (fields: object = {}) => send('POST', '/control-signals', signal('validation', fields));
    };
    const reviewer = await reviewing('reviewer', 'builder*');
    const accepted = await reviewer({ status: 'failed' });
    expect(accepted.status).toBe(201);
    expect(accepted.body.signal.actor).toEqual({ type: 'agent', name: 'reviewer' });
    expect(accepted.body.control.validation.actor).toEqual({ type: 'agent', name: 'reviewer' });
    expect((await reviewer({ agent_name: 'builder-2' })).status).toBe(201);
    const team = await reviewing('review-*', 'builder');
    expect((await team({ actor: { type: 'agent', name: 'review-1' } })).status).toBe(201);
    const all = await reviewing('build*', '*');
    const unnamed = await reviewing('reviewer');
    expect((await all({ agent_name: 'tester', actor: { type: 'agent', name: 'builder' } })).status).toBe(201);

    await withoutTrace(service.url, async () => {
      expectProblem(await reviewer({ agent_name: 'tester' }), 'FORBIDDEN');
      expectProblem(await reviewer({ agent_name: 'Builder' }), 'FORBIDDEN');
      expectProblem(await reviewer({ agent_name: 'reviewer' }), 'SELF_VALIDATION');
      expectProblem(await reviewer({ run_id: 'run-2' }), 'FORBIDDEN');
      expectProblem(await reviewer({ actor: { type: 'agent', name: 'builder' } }), 'ACTOR_MISMATCH');
      expectProblem(await unnamed(), 'FORBIDDEN');
      expectProblem(await team(), 'VALIDATION_FAILED');
      for (const agent_name of ['builder', 'builder-2']) {
        for (const name of ['builder', 'builder-2']) {
          expectProblem(await all({ agent_name, actor: { type: 'agent', name } }), 'SELF_VALIDATION');
        }
      }
    });
    // To validate is all that it may do for them.
    const send = tokens.as((await tokens.issue({ role: 'agent', runs: 'run-1', agents: 'r', validates: '*' })).token);
    for (const type of ['completion', 'guidance_request', 'guidance_answer']) {
      expectProblem(await send('POST', '/control-signals', signal(type)), 'FORBIDDEN');
    }
  });

  it('opens threads for itself and for nobody, but not in the name of another agent', async () => {
    const talk = { title: 'Region', body: 'Which one?', run_id: 'run-1' };
    expect((await builder('POST', '/threads', { ...talk, agent_name: 'builder' })).status).toBe(201);
    expect((await operator('POST', '/threads', { ...talk, agent_name: 'tester' })).status).toBe(201);
    await withoutTrace(service.url, async () => {
      for (const agent_name of ['tester', 'Builder', 'builder2']) {
        expectProblem(await builder('POST', '/threads', { ...talk, agent_name }), 'FORBIDDEN');
      }
      expectProblem(
        await builder('POST', '/threads', { ...talk, run_id: 'run-2', agent_name: 'builder' }),
        'FORBIDDEN',
      );
    });
  });

  it('is an admin, where a message says itself who acts', async () => {
    const command = (name: string) => ({ topic: `forum.commands.${name}`, payload: {} });
    await withoutTrace(service.url, async () => {
      for (const name of ['control_signal', 'open_thread', 'close_thread', 'unknown']) {
        expectProblem(await operator('POST', '/outbox', command(name)), 'FORBIDDEN');
      }
    });
    expect((await tokens.admin('POST', '/outbox', command('open_thread'))).status).toBe(201);
    expect((await operator('POST', '/outbox', { topic: 'forum.commands', payload: {} })).status).toBe(201);
  });
});

describe('without a token', () => {
  it('whoever validates is told by the actor alone, however it is spelled', async () => {
    const service = await startApp('sqlite', { config: { SELF_VALIDATION: 'forbid' } });
    const validation = (agent_name: string, actor?: object) =>
      service.send('POST', '/control-signals', signal('validation', { agent_name, ...(actor && { actor }) }));
    await withoutTrace(service.url, async () => {
      for (const name of ['builder', 'Builder', 'BUİLDER'.replace('İ', 'I'), 'ｂuilder', 'buil der']) {
        expectProblem(await validation('builder', { type: 'agent', name }), 'SELF_VALIDATION');
      }
      expectProblem(await validation('caf\u00e9', { type: 'agent', name: 'cafe\u0301' }), 'SELF_VALIDATION');
      expectProblem(await validation('builder'), 'SELF_VALIDATION');
    });
    for (const actor of [
      { type: 'agent', name: 'reviewer' },
      { type: 'human', name: 'builder' },
    ]) {
      expect((await validation('builder', actor)).status).toBe(201);
    }
    await service.close();
  });

  it('whoever opens, posts or changes says who acts', async () => {
    const service = await startApp('sqlite');
    const examples = exampleRequests(
      (method, url, body) => service.send(method, url, { ...(body as object), actor: ana }),
      'human:ana',
      service.url,
    );
    for (const operation of ['openThread', 'addPost', 'changeThread'] as const) {
      const { method, url, body } = await examples[operation]();
      const answer = await withoutTrace(service.url, () => service.send(method, url, body));
      expectProblem(answer, 'VALIDATION_FAILED');
      expect(answer.body.errors).toEqual([{ in: 'body', pointer: '/actor', code: 'REQUIRED', detail: 'is required' }]);
      expect(
        (await service.send(method, url, { ...body, actor: { type: 'agent', name: fresh() } })).status,
      ).toBeLessThan(300);
    }
    await service.close();
  });
});

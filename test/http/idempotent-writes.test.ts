import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import openapi from '../../openapi/openapi.json' with { type: 'json' };
import type { ProblemCode } from '../../src/errors.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { type Bytes, deadly, fresh, keyed, operations, type Post, type Posts, posts } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

const overrides = { handlers: [deadly] };
/** Takes a body of any kind, so that only the path tells the request apart. */
const ELSEWHERE = '/bus/topics/forum.integration.elsewhere/pause';
const TABLES = [
  'events',
  'messages',
  'deliveries',
  'questions',
  'threads',
  'control_threads',
  'runs',
  'idempotency_keys',
];

interface Operation {
  operationId: string;
  parameters?: { name: string }[];
}

/**
 * A bulk replay works in many short transactions, of which only the last stores the key: one that fails inside leaves
 * what it had replayed before, and sent again it goes on with those that are left.
 */
const inOneTransaction = operations.filter(operation => operation !== 'replayMessages');

it('is tried on every operation that may have one', () => {
  const all = Object.values(openapi.paths).flatMap(path => Object.values(path) as Operation[]);
  const declared = all.filter(({ parameters = [] }) => parameters.some(({ name }) => name === 'idempotency-key'));
  // Tokens have tests of their own: the first one shuts everybody out who has none.
  expect([...operations, 'revokeToken'].sort()).toEqual(declared.map(({ operationId }) => operationId).sort());
});

it('may be had by every POST that writes', () => {
  const all = Object.values(openapi.paths).flatMap(path => ('post' in path ? [path.post.operationId] : []));
  // The acts of hooks and the tools of MCP have keys of their own.
  // Logins and secrets are told once: a lost one is made again.
  const secrets = [
    'createLoginLink',
    'logIn',
    'openSession',
    'createToken',
    'rotateToken',
    'createWebhook',
    'rotateWebhookSecret',
  ];
  const others = [...secrets, 'processMessages', 'revokeToken', 'pingWebhook', 'callClaudeHook', 'callMcp'];
  const deletes = ['deleteSubscription', 'deleteWebhook'];
  expect([...operations, ...others].sort()).toEqual([...all, ...deletes].sort());
});

describe.each(engines)('an idempotency key on %s', engine => {
  let service: TestApp;
  let make: Posts;
  beforeAll(async () => {
    service = await startApp(engine, { overrides });
    make = posts(service);
  });
  afterAll(() => service.close());

  const expectRefused = (answer: Bytes, code: ProblemCode) => {
    expectProblem({ ...answer, body: JSON.parse(answer.body) }, code);
    expect(answer.replayed).toBe(false);
  };
  const problem = (answer: Bytes) => JSON.parse(answer.body);
  /** The messages that a bulk replay is about. */
  const messagesOf = async ({ body }: Post) => (await service.send('GET', `/outbox?topic=${body?.topic}`)).body.items;
  /** The rows that `work` adds. */
  const growth = async (work: () => Promise<unknown>) => {
    const before = await dump(service.url);
    await work();
    const after = await dump(service.url);
    return TABLES.map(table => [table, (after[table]?.length ?? Number.NaN) - (before[table]?.length ?? Number.NaN)]);
  };

  it.each(operations)('gives %s one effect, and the same answer again', async operation => {
    const post: Post = await make[operation]();
    const key = fresh();
    const before = await dump(service.url);
    const first = await keyed(service, key, post);
    expect(first.status, first.body).toBeLessThan(300);
    expect(first.replayed).toBe(false);
    const stored = await dump(service.url);
    expect(stored).not.toEqual(before);

    const text = post.body && `\n ${JSON.stringify(reversed(post.body), null, 2)} `;
    for (const again of [
      await keyed(service, key, post),
      await keyed(service, `"${key}"`, post),
      await keyed(service, key, post, text),
    ]) {
      expect(again).toEqual({ ...first, replayed: true });
    }
    expectRefused(
      await keyed(service, key, { ...post, body: { ...post.body, ...post.change } }),
      'IDEMPOTENCY_KEY_REUSED',
    );
    expectRefused(await keyed(service, key, { ...post, method: 'POST', url: ELSEWHERE }), 'IDEMPOTENCY_KEY_REUSED');
    expect(await dump(service.url)).toEqual(stored);
  });

  it.each(operations)('gives %s one effect when twenty come at once', async operation => {
    const once: Post = await make[operation]();
    const single = await growth(() => keyed(service, fresh(), once));
    const post: Post = await make[operation]();
    const key = fresh();
    let answers: Bytes[] = [];
    const together = await growth(async () => {
      answers = await Promise.all(Array.from({ length: 20 }, () => keyed(service, key, post)));
    });
    expect(together).toEqual(single);
    const worked = answers.filter(({ replayed }) => !replayed);
    expect(worked).toHaveLength(1);
    expect(worked[0]?.status).toBeLessThan(300);
    const bytes = new Set(answers.map(({ replayed: _, ...answer }) => JSON.stringify(answer)));
    expect(bytes.size).toBe(1);
  });

  /** Runs `work` while no key can be stored. */
  const withoutKeys = async (work: () => Promise<void>) => {
    const broken = {
      sqlite: `create trigger broken before insert on idempotency_keys begin select raise(abort, 'broken'); end`,
      postgres: 'alter table idempotency_keys add constraint broken check (status = 0) not valid',
    };
    const mended = {
      sqlite: 'drop trigger broken',
      postgres: 'alter table idempotency_keys drop constraint broken',
    };
    await sqlBeside(service.url, broken[engine]);
    try {
      await work();
    } finally {
      await sqlBeside(service.url, mended[engine]);
    }
  };

  it.each(inOneTransaction)('leaves nothing of a %s that fails inside', async operation => {
    const post: Post = await make[operation]();
    const key = fresh();
    const before = await dump(service.url);
    await withoutKeys(async () => {
      expectRefused(await keyed(service, key, post), 'INTERNAL_ERROR');
      expect(await dump(service.url)).toEqual(before);
    });
    const again = await keyed(service, key, post);
    expect(again.status).toBeLessThan(300);
    expect(again.replayed).toBe(false);
  });

  it('leaves no answer of a replayMessages that fails inside, only what it has replayed', async () => {
    const post = await make.replayMessages();
    const key = fresh();
    const keys = (await dump(service.url)).idempotency_keys;
    await withoutKeys(async () => {
      expectRefused(await keyed(service, key, post), 'INTERNAL_ERROR');
      expect((await dump(service.url)).idempotency_keys).toEqual(keys);
    });
    expect(await messagesOf(post)).toMatchObject([{ status: 'pending', generation: 2 }]);
    const again = await keyed(service, key, post);
    expect(again).toMatchObject({ status: 200, body: '{"replayed":0}', replayed: false });
    expect(await messagesOf(post)).toMatchObject([{ status: 'pending', generation: 2 }]);
  });

  it('counts what a bulk replay has replayed, whichever of the requests under it was first', async () => {
    for (let round = 0; round < 5; round += 1) {
      const post = await make.replayMessages();
      const key = fresh();
      const answers = await Promise.all(Array.from({ length: 20 }, () => keyed(service, key, post)));
      expect(answers.map(({ body }) => body)).toEqual(answers.map(() => '{"replayed":1}'));
    }
  });

  it('of two bulk replays at once answers one and refuses the other, and neither replays a message twice', async () => {
    const two = [await make.replayMessages(), await make.replayMessages()];
    const key = fresh();
    const answers = await Promise.all(two.map(post => keyed(service, key, post)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 422]);
    for (const [index, post] of two.entries()) {
      const [message, ...others] = await messagesOf(post);
      expect(others).toEqual([]);
      const answer = answers[index] as Bytes;
      if (answer.status === 200) {
        expect(answer).toMatchObject({ body: '{"replayed":1}', replayed: false });
        expect(message).toMatchObject({ status: 'pending', generation: 2 });
      } else {
        // The key was free when it began, so it may have replayed before it found the key taken.
        expectRefused(answer, 'IDEMPOTENCY_KEY_REUSED');
        expect([
          ['dead', 1],
          ['pending', 2],
        ]).toContainEqual([message.status, message.generation]);
      }
    }
  });

  it('is the same whatever white space stands around names that are trimmed', async () => {
    const key = fresh();
    const run_id = fresh();
    const first = await keyed(service, key, { url: '/control-signals', body: signal('completion', { run_id }) });
    const body = signal('completion', { run_id: ` ${run_id}\n`, agent_name: '\tbuilder ' });
    expect(await keyed(service, key, { url: '/control-signals', body })).toEqual({ ...first, replayed: true });
  });

  it.each([
    ['of 255 characters', 'x'.repeat(255)],
    ['of 255 characters in quotes', `"${'x'.repeat(254)}y"`],
    ['of one character', '!'],
    ['with punctuation', `~{|}:/?#[]@!$&'()*+,;=`],
  ])('may be one %s', async (_, key) => {
    const post = await make.openThread();
    const first = await keyed(service, key, post);
    expect(first.status).toBe(201);
    expect(await keyed(service, key, post)).toEqual({ ...first, replayed: true });
  });

  it.each([
    ['nothing', ''],
    ['nothing in quotes', '""'],
    ['256 characters', 'x'.repeat(256)],
    ['256 characters in quotes', `"${'x'.repeat(256)}"`],
    ['two words', 'a b'],
    ['two words in quotes', '"a b"'],
    ['a tab', 'a\tb'],
    ['letters beyond ASCII', 'schlüssel'],
    ['letters beyond Latin-1', 'ключ'],
    ['a quote before it', '"abc'],
    ['a quote behind it', 'abc"'],
    ['only a quote', '"'],
  ])('may not be %s', async (_, key) => {
    const post = await make.openThread();
    const before = await dump(service.url);
    const answer = await keyed(service, key, post);
    expectRefused(answer, 'VALIDATION_FAILED');
    expect(problem(answer).errors).toMatchObject([{ in: 'headers', pointer: '/idempotency-key' }]);
    expect(await dump(service.url)).toEqual(before);
  });

  it('is stored for no refused request, which may be sent again under it', async () => {
    const run_id = fresh();
    await service.send('POST', '/control-signals', signal('completion', { run_id }));
    const key = fresh();
    const close = { url: `/runs/${run_id}/close`, body: {} };
    const refused: [Pick<Post, 'url' | 'body'>, ProblemCode][] = [
      [close, 'GATE_BLOCKED'],
      [{ url: '/questions/q_0/cancel', body: {} }, 'QUESTION_NOT_FOUND'],
      [{ url: '/outbox/msg_0/replay' }, 'MESSAGE_NOT_FOUND'],
      [{ url: '/control-signals', body: signal('guidance_answer', { run_id }) }, 'NO_OPEN_QUESTION'],
      [{ url: '/control-signals', body: signal('completion', { schema_version: 2 }) }, 'UNSUPPORTED_SCHEMA_VERSION'],
      [{ url: '/threads', body: { title: 'x' } }, 'VALIDATION_FAILED'],
      [{ url: '/outbox', body: { topic: 'forum.events.x', payload: 1 } }, 'RESERVED_TOPIC'],
    ];
    const before = await dump(service.url);
    for (const [post, code] of refused) expectRefused(await keyed(service, key, post), code);
    expect(await dump(service.url)).toEqual(before);

    await service.send('POST', '/control-signals', signal('validation', { run_id }));
    const closed = await keyed(service, key, close);
    expect(closed).toMatchObject({ status: 200, replayed: false });
    expect(await keyed(service, key, close)).toEqual({ ...closed, replayed: true });
  });

  it.each(['PUT', 'PATCH', 'GET'] as const)('means nothing on a %s, even if it is none', async method => {
    const { thread_id } = (await service.send('POST', '/threads', (await make.openThread()).body)).body;
    const requests = {
      PUT: [`/runs/${fresh()}`, { title: 'x' }, { title: 'y' }],
      PATCH: [`/threads/${thread_id}`, { priority: 'high', actor: { type: 'human', name: 'ana' } }],
      GET: [`/threads/${thread_id}`],
    } as const;
    const [url, ...bodies] = requests[method];
    const keys = (await dump(service.url)).idempotency_keys;
    for (const key of ['own', 'own', 'a b', '']) {
      for (const body of bodies.length > 0 ? bodies : [undefined]) {
        const { statusCode, headers } = await service.app.inject({
          method,
          url,
          headers: { 'idempotency-key': key },
          ...(body && { payload: body }),
        });
        expect(statusCode).toBeLessThan(300);
        expect(headers['idempotency-replayed']).toBeUndefined();
      }
    }
    expect((await dump(service.url)).idempotency_keys).toEqual(keys);
  });
});

/** The same value with the members of all objects in the opposite order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, part]) => [name, reversed(part)]),
  );
}

import fc from 'fast-check';
import type { InjectOptions } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import openapi from '../../openapi/openapi.json' with { type: 'json' };
import { type Answer, startApp, type TestApp } from '../helpers/app.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { ownLists } from '../helpers/lists.ts';
import { BODY_LIMIT, post, REST, refusedBytes, refusedRequests } from '../helpers/malformed-requests.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { exchange, listen } from '../helpers/socket.ts';
import { sqlBeside } from '../helpers/sql.ts';

type Body = { $ref?: string; examples?: unknown[] };
type Schemas = Record<string, Body>;

describe('a problem document', () => {
  let service: TestApp;
  let port: number;
  beforeAll(async () => {
    service = await startApp('sqlite');
    port = await listen(service.app);
  });
  afterAll(() => service.close());

  const inject = async (options: InjectOptions): Promise<Answer> => {
    const answer = await service.app.inject(options);
    return { status: answer.statusCode, headers: answer.headers, body: answer.json() };
  };

  it.each(refusedRequests)('answers %s', async (_, request, code) => {
    const answer = await inject(request);
    expectProblem(answer, code);
    expect(answer.body.request_id).toBe(answer.headers['x-request-id']);
  });

  it.each([
    ['POST', '/questions', 'GET, HEAD'],
    ['DELETE', '/questions/q-1?limit=1', 'GET, HEAD'],
    ['POST', '/questions/q%2F1/answer', 'PUT'],
    ['PATCH', '/runs/run-1', 'DELETE, GET, HEAD, PUT'],
    ['PUT', '/assets/page.css', 'GET, HEAD'],
    ['PUT', '/mcp', 'POST'],
  ] as const)('says which methods a path takes instead of %s: %s', async (method, url, allow) => {
    const answer = await inject({ method, url });
    expectProblem(answer, 'METHOD_NOT_ALLOWED');
    expect(answer.headers.allow).toBe(allow);
    expect(answer.body.detail).toBe(`${url.split('?')[0]} takes ${allow}, not ${method}.`);
  });

  it('refuses text that is too large for a number, whatever the parameter', async () => {
    for (const url of [
      '/events?after=1e400',
      '/events?limit=1e400',
      '/threads?limit=-1e400',
      '/questions/q-1?wait=1e400',
    ]) {
      expectProblem(await inject({ method: 'GET', url }), 'VALIDATION_FAILED');
    }
  });

  it('accepts JSON with a charset, and a body just below the limit', async () => {
    const headers = { 'content-type': 'Application/JSON; charset=UTF-8' };
    const body = JSON.stringify(signal('completion')).padEnd(BODY_LIMIT);
    expect((await service.app.inject(post(body, headers))).statusCode).toBe(201);
  });

  it('needs no body where every field may be left out', async () => {
    const started = await service.app.inject({ method: 'POST', url: '/control-threads/run-1/builder/attempts' });
    expect(started.statusCode).toBe(201);
  });

  it.each(refusedBytes)('answers on a real socket: %s', async (_, bytes, code) => {
    const { status, headers, body } = await exchange(port, bytes);
    expect(Number(headers['content-length'])).toBe(Buffer.byteLength(body));
    expectProblem({ status, headers, body: JSON.parse(body) }, code);
  });

  // Whether such a request is refused or the expectation ignored (RFC 9110 allows both), it is a problem document.
  it('answers on a real socket: an expectation that cannot be met', async () => {
    const { status, headers } = await exchange(port, `GET /nowhere HTTP/1.1\r\nExpect: miracles\r\n${REST}`);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(headers['content-type']).toBe('application/problem+json');
  });

  it('is followed by service as usual on a new connection', async () => {
    await exchange(port, 'hello\r\n\r\n');
    expect((await exchange(port, `GET /livez HTTP/1.1\r\n${REST}`)).status).toBe(200);
  });

  describe('and its request id', () => {
    it.each([
      ['an id', 'abc-123'],
      ['a W3C trace id', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
      ['128 characters', 'x'.repeat(128)],
      ['punctuation', '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~'],
    ])("are the caller's own: %s", async (_, id) => {
      const answer = await inject({ url: '/nowhere', headers: { 'x-request-id': id } });
      expect(answer.headers['x-request-id']).toBe(id);
      expect(answer.body.request_id).toBe(id);
      const fine = await inject({ url: '/livez', headers: { 'x-request-id': id } });
      expect(fine.headers['x-request-id']).toBe(id);
    });

    it.each([
      ['empty', ''],
      ['129 characters', 'x'.repeat(129)],
      ['with a space', 'a b'],
      ['with a tab', 'a\tb'],
      ['with a letter outside ASCII', 'caf\u00e9'],
      ['sent twice', 'a\r\nX-Request-Id: b'],
    ])("are the service's if the caller's is %s", async (_, id) => {
      const request = `GET /nowhere HTTP/1.1\r\nX-Request-Id: ${id}\r\n${REST}`;
      const { headers, body } = await exchange(port, Buffer.from(request, 'latin1'));
      expect(headers['x-request-id']).toMatch(/^[\x21-\x7e]{1,128}$/);
      expect(id).not.toContain(headers['x-request-id']);
      expect(JSON.parse(body).request_id).toBe(headers['x-request-id']);
    });

    it('differ from request to request', async () => {
      const ids = await Promise.all(
        Array.from({ length: 50 }, async () => (await inject({ url: '/x' })).body.request_id),
      );
      expect(new Set(ids).size).toBe(50);
    });
  });

  /** Every operation of the document, with a valid body, so that nothing but the query can be wrong. */
  const operations = Object.entries(openapi.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
  it.each(operations)('refuses an unknown query parameter: $method $path', async ({ method, path, operation }) => {
    const { requestBody } = operation as { requestBody?: { content: Record<string, { schema: Body }> } };
    const schema = requestBody?.content['application/json']?.schema;
    const name = schema?.$ref?.split('/').at(-1);
    const payload = (name ? (openapi.components.schemas as Schemas)[name] : schema)?.examples?.[0];
    const answer = await inject({
      method: method as 'GET',
      // What also a token has for an id.
      url: `${path.replaceAll(/\{\w+\}/g, '0123456789abcdef')}?colour=red`,
      ...(payload !== undefined && { payload: payload as object }),
    });
    expectProblem(answer, 'VALIDATION_FAILED');
    expect(answer.body.errors).toEqual([
      { in: 'query', pointer: '/colour', code: 'UNKNOWN_FIELD', detail: expect.any(String) },
    ]);
  });
});

describe.each(engines)('lists on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const get = (url: string) => service.send('GET', url);
  const { names, fresh, walk } = ownLists((method, url, body) => service.send(method, url, body));

  it.each(names)('%s neither skips nor repeats rows while rows are being added', async name => {
    const seeds = fc.array(fc.nat(1000), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 4 }), seeds, seeds, async (limit, before, during) => {
        const list = fresh(name);
        for (const seed of [0, ...before]) await list.add(seed);
        const existing = (await walk(list.path, 200)).flat().map(list.id);
        const added = [...during];
        const pages = await walk(list.path, limit, async () => {
          const seed = added.shift();
          if (seed !== undefined) await list.add(seed);
        });
        const seen = pages.flat().map(list.id);
        expect(new Set(seen).size).toBe(seen.length);
        expect(seen.filter(id => existing.includes(id))).toEqual(existing);
        // Full pages, and no empty one at the end.
        for (const page of pages.slice(0, -1)) expect(page).toHaveLength(limit);
        expect(pages.at(-1)?.length).toBeGreaterThan(0);
      }),
      { numRuns: 12 },
    );
  });

  // A thread has a post from its beginning.
  it.each(names.filter(name => name !== '/threads/{thread_id}/posts'))(
    '%s answers an empty page if it has no rows',
    async name => {
      expect((await get(fresh(name).path)).body).toEqual({ items: [], next_cursor: null });
    },
  );

  it.each(names)('%s answers 50 rows unless a limit says otherwise', async name => {
    const list = fresh(name);
    for (let seed = 0; seed < 51; seed += 1) await list.add(seed);
    expect((await get(list.path)).body.items).toHaveLength(50);
    expect((await get(`${list.path}&limit=51`)).body.items).toHaveLength(51);
    expect((await get(`${list.path}&limit=200`)).body.items.length).toBeGreaterThan(50);
  });

  it('walk over the longest names there are', async () => {
    const longest = ['😀', '😁', '!'].map(character => character.repeat(200));
    for (const name of longest) {
      await service.send('POST', '/control-signals', signal('completion', { run_id: name, agent_name: name }));
    }
    const rows = (await walk('/control-threads?', 1)).flat();
    expect(rows.map(row => row.run_id)).toEqual(expect.arrayContaining(longest));
  });

  describe.each(names)('%s', name => {
    let path: string;
    let cursor: string;
    beforeAll(async () => {
      const list = fresh(name);
      path = list.path;
      for (const seed of [1, 2, 3]) await list.add(seed);
      cursor = (await get(`${path}&limit=1`)).body.next_cursor;
    });

    it.each(['0', '201', '-1', '1.5', 'abc', '', '1&limit=2', '%00', '1e99'])('refuses limit=%s', async limit => {
      const answer = await get(`${path}&limit=${limit}`);
      expectProblem(answer, 'VALIDATION_FAILED');
      for (const item of answer.body.errors) expect(item).toMatchObject({ in: 'query', pointer: '/limit' });
    });

    const encoded = (text: string) => Buffer.from(text).toString('base64url');
    it.each([
      ['nothing', ''],
      ['a word', 'next'],
      ['punctuation', '!!!'],
      ['NUL', '%00'],
      ['text that is no key', encoded('hello')],
      ['an empty key', encoded('[]')],
      ['an object', encoded('{}')],
      ['a key of another shape', encoded('[[1],[2]]')],
      ['a key with null', encoded('[null,null]')],
      ['a number that is too large', encoded('[1e300]')],
      ['a fraction', encoded('[0.5]')],
      ['SQL', encoded(`["'; drop table events; --"]`)],
      ['very much', 'A'.repeat(4096)],
    ])('refuses a cursor of %s', async (_, garbage) => {
      expectProblem(await get(`${path}&cursor=${garbage}`), 'INVALID_CURSOR');
    });

    it('refuses its own cursor, cut short or lengthened', async () => {
      expect((await get(`${path}&cursor=${cursor}`)).status).toBe(200);
      for (let length = 1; length < cursor.length; length += 1) {
        expectProblem(await get(`${path}&cursor=${cursor.slice(0, length)}`), 'INVALID_CURSOR');
      }
      for (const more of ['A', 'AAAA', '=', '%20']) {
        expectProblem(await get(`${path}&cursor=${cursor}${more}`), 'INVALID_CURSOR');
      }
    });

    it.each(names.filter(other => other !== name))('refuses a cursor of %s', async other => {
      const list = fresh(other);
      for (const seed of [1, 2]) await list.add(seed);
      const foreign = (await get(`${list.path}&limit=1`)).body.next_cursor;
      expectProblem(await get(`${path}&cursor=${foreign}`), 'INVALID_CURSOR');
    });
  });

  it('read query strings as text: numbers are coerced, names trimmed', async () => {
    const list = fresh('/events');
    for (let row = 0; row < 4; row += 1) await list.add(row);
    const { items } = (await get(list.path)).body;
    const run_id = `%20${items[0].run_id}%09`;
    const { body } = await get(`/events?run_id=${run_id}&after=${items[0].sequence}&limit=2`);
    expect(body.items).toEqual(items.slice(1, 3));
  });

  it.each([
    ['/questions?state=ajar', '/state'],
    ['/questions?priority=HIGH', '/priority'],
    ['/questions?run_id=%20', '/run_id'],
    ['/questions?agent_name=a%00b', '/agent_name'],
    [`/control-threads?run_id=${'x'.repeat(201)}`, '/run_id'],
    ['/control-threads?status=open', '/status'],
    ['/control-threads?run_id=a&run_id=b', '/run_id'],
    ['/events?after=-1', '/after'],
    ['/events?after=soon', '/after'],
    ['/events?after=1.5', '/after'],
    ['/events?after=1e30', '/after'],
    ['/events?event_type=%00', '/event_type'],
    ['/events?thread_id=', '/thread_id'],
    ['/outbox?status=lost', '/status'],
    ['/outbox?topic=a..b', '/topic'],
    ['/outbox?message_key=%00', '/message_key'],
  ])('refuse %s', async (url, pointer) => {
    const answer = await get(url);
    expectProblem(answer, 'VALIDATION_FAILED');
    for (const item of answer.body.errors) expect(item).toMatchObject({ in: 'query', pointer });
  });
});

describe.each(engines)('a failure inside on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
    await service.send('POST', '/control-signals', signal('completion'));
    await sqlBeside(service.url, `drop table questions${engine === 'postgres' ? ' cascade' : ''}`);
  });
  afterAll(() => service.close());

  it.each<['GET' | 'POST', string, unknown]>([
    ['GET', '/questions', undefined],
    ['GET', '/questions/q_0', undefined],
    ['POST', '/control-signals', signal('guidance_request')],
    ['POST', '/questions/q_0/cancel', {}],
  ])('leaks nothing and writes nothing: %s %s', async (method, url, body) => {
    const before = await dump(service.url);
    const answer = await service.send(method, url, body);
    expectProblem(answer, 'INTERNAL_ERROR');
    expect(Object.keys(answer.body).sort()).toEqual(['code', 'detail', 'request_id', 'status', 'title', 'type']);
    expect(JSON.stringify(answer.body)).not.toMatch(/questions|table|relation|sql|select|at .*\.ts|node_modules/i);
    expect(await dump(service.url)).toEqual(before);
  });

  it('does not end the service', async () => {
    expect((await service.send('POST', '/control-signals', signal('completion'))).status).toBe(201);
  });
});

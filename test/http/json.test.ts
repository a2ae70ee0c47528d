import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { withoutTrace } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import { exchange, listen } from '../helpers/socket.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const ana = { type: 'human', name: 'ana' };

describe.each(engines)('a JSON body on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const post = async (url: string, payload: string, headers: Record<string, string> = {}) => {
    const answer = await service.app.inject({ method: 'POST', url, payload, headers: { ...JSON_TYPE, ...headers } });
    return { status: answer.statusCode, headers: answer.headers, body: answer.json() };
  };
  const publish = (payload: string, headers = {}) => post('/outbox', `{"topic":"a.b","payload":${payload}}`, headers);

  it.each(['9007199254740993', '1e400', '-1e-400', '[{"deep":[0.1000000000000000055]}]'])(
    'with the number %s is refused, with its place',
    async payload => {
      const refused = await withoutTrace(service.url, () => publish(payload));
      expectProblem(refused, 'NUMBER_NOT_EXACT');
      const pointer = payload.startsWith('[') ? '/payload/0/deep/0' : '/payload';
      expect(refused.body.errors).toEqual([expect.objectContaining({ in: 'body', pointer, code: 'NUMBER_NOT_EXACT' })]);
    },
  );

  it('with a number that does not fit is refused in any other field, too', async () => {
    const body = JSON.stringify(signal('completion', { attempt: 7 })).replace('7', '1.00000000000000000001');
    expectProblem(await post('/control-signals', body), 'NUMBER_NOT_EXACT');
  });

  it.each(['0.1', '1.0', '1e2', '-0', '9007199254740992', '"9007199254740993"', '[1e-5, 0.30000000000000004]'])(
    'with the payload %s is stored as sent',
    async payload => {
      const { status, body } = await publish(payload);
      expect(status).toBe(201);
      expect((await service.send('GET', `/outbox/${body.message_id}`)).body.payload).toEqual(
        JSON.parse(payload === '-0' ? '0' : payload),
      );
    },
  );

  it('with a name twice in one object is refused, with its place', async () => {
    const refused = await withoutTrace(service.url, () => publish('[{"a":1,"\\u0061":2}]'));
    expectProblem(refused, 'VALIDATION_FAILED');
    expect(refused.body.errors).toEqual([expect.objectContaining({ pointer: '/payload/0/a', code: 'NOT_UNIQUE' })]);
  });

  it.each([
    ['{"__proto__":1}', '/payload/__proto__'],
    ['[{"a":1},{"\\u005f_proto__":null}]', '/payload/1/__proto__'],
    ['{"constructor":{"prototype":{}}}', '/payload/constructor/prototype'],
    ['{"a":{"constructor":{"x":1,"prototype":1}}}', '/payload/a/constructor/prototype'],
  ])('with %s is refused, with the place of the name that could change a prototype', async (payload, pointer) => {
    const refused = await withoutTrace(service.url, () => publish(payload));
    expectProblem(refused, 'VALIDATION_FAILED');
    expect(refused.body.errors).toEqual([expect.objectContaining({ in: 'body', pointer, code: 'RESERVED' })]);
    expectProblem(await publish(payload.slice(0, -1)), 'MALFORMED_JSON');
  });

  it.each(['{"constructor":[{"prototype":1}],"prototype":{"constructor":1}}', '["__proto__"]', '{"_proto_":{}}'])(
    'with %s is taken, since it changes no prototype',
    async payload => {
      const { status, body } = await publish(payload);
      expect(status).toBe(201);
      expect((await service.send('GET', `/outbox/${body.message_id}`)).body.payload).toEqual(JSON.parse(payload));
    },
  );

  it.each([
    ['-0', '0'],
    ['"\\ud800"', '"\\udfff"'],
    ['{"a":[1]}', '{"a":1}'],
    ['{"a":"1"}', '{"a":1}'],
    ['[[1],2]', '[1,[2]]'],
    ['{"a,b":1}', '{"a":1,"b":1}'],
    ['null', '{}'],
  ])('with %s is not the request with %s', async (one, other) => {
    const key = { 'idempotency-key': `key-${one}-${other}`.replaceAll(/[^ -~]|"| /g, '') };
    expect((await publish(one, key)).status).toBe(201);
    expectProblem(await publish(other, key), 'IDEMPOTENCY_KEY_REUSED');
    expect((await publish(one, key)).headers['idempotency-replayed']).toBe('true');
  });

  it('that is empty counts as none where it may be left out', async () => {
    const run = { run_id: 'run-empty', agent_name: 'builder' };
    await service.send('POST', '/control-signals', signal('completion', run));
    expect((await post('/control-threads/run-empty/builder/attempts', '')).status).toBeLessThan(300);
    expectProblem(await post('/runs/run-empty/close', ''), 'GATE_BLOCKED');
    expectProblem(await post('/outbox/msg_0/replay', ''), 'MESSAGE_NOT_FOUND');
    for (const url of ['/control-signals', '/outbox', '/threads']) expectProblem(await post(url, ''), 'MALFORMED_JSON');
    expectProblem(await post('/runs/run-empty/close', ' '), 'MALFORMED_JSON');
  });

  it.each(['gzip', 'br', 'identity, gzip', 'GZIP', 'x'])('in the coding %s is refused', async coding => {
    const body = JSON.stringify(signal('completion'));
    const refused = await withoutTrace(service.url, () =>
      post('/control-signals', body, { 'content-encoding': coding }),
    );
    expectProblem(refused, 'UNSUPPORTED_MEDIA_TYPE');
    expect(refused.headers['accept-encoding']).toBe('identity');
  });

  it('in the coding identity is accepted', async () => {
    const body = JSON.stringify(signal('completion', { run_id: 'run-identity' }));
    expect((await post('/control-signals', body, { 'content-encoding': 'Identity' })).status).toBe(201);
  });

  const longest: [url: string, field: string, length: number, body: object][] = [
    ['/control-signals', 'question', 16_384, signal('guidance_request', { run_id: 'l-1' })],
    ['/control-signals', 'context', 65_536, signal('guidance_request', { run_id: 'l-2' })],
    [
      '/control-signals',
      'default_answer',
      16_384,
      signal('guidance_request', { run_id: 'l-3', expires_in_seconds: 600 }),
    ],
    ['/control-signals', 'summary', 16_384, signal('completion', { run_id: 'l-4' })],
    ['/control-signals', 'done_criteria', 16_384, signal('validation', { run_id: 'l-5' })],
    ['/threads', 'title', 500, { title: '', body: 'x', actor: ana }],
    ['/threads', 'body', 65_536, { title: 'x', body: '', actor: ana }],
  ];
  it.each(longest)('to %s may have a %s of its length, and no longer one', async (url, field, length, body) => {
    const text = '😀'.repeat(length / 2) + 'x'.repeat(length / 2);
    const refused = await withoutTrace(service.url, () => service.send('POST', url, { ...body, [field]: `${text}x` }));
    expectProblem(refused, 'VALIDATION_FAILED');
    expect(refused.body.errors).toEqual([expect.objectContaining({ pointer: `/${field}`, code: 'TOO_LONG' })]);
    expect((await service.send('POST', url, { ...body, [field]: text })).status).toBe(201);
  });

  it('may have 50 pieces of evidence, each with a ref of 2,048 characters', async () => {
    const evidence = (count: number, length: number) =>
      signal('completion', { run_id: 'l-6', evidence: Array(count).fill({ kind: 'log', ref: 'x'.repeat(length) }) });
    expectProblem(await service.send('POST', '/control-signals', evidence(51, 1)), 'VALIDATION_FAILED');
    expectProblem(await service.send('POST', '/control-signals', evidence(1, 2049)), 'VALIDATION_FAILED');
    expect((await service.send('POST', '/control-signals', evidence(50, 2048))).status).toBe(201);
  });

  it('takes names in NFC, in bodies, paths and query strings alike', async () => {
    const [nfd, nfc] = ['Zoe\u0308', 'Zo\u00eb'];
    const sent = await service.send('POST', '/control-signals', signal('completion', { run_id: nfd, agent_name: nfd }));
    expect(sent.body.signal).toMatchObject({ run_id: nfc, agent_name: nfc });
    for (const name of [nfd, nfc].map(encodeURIComponent)) {
      expect((await service.send('GET', `/control-threads/${name}/${name}`)).status).toBe(200);
      expect((await service.send('GET', `/control-threads?run_id=${name}`)).body.items).toHaveLength(1);
    }
  });

  it.each(['a\u200bb', 'a\u202eb', 'a\u0007', '\u3164', '.', '..'])('refuses the name %j everywhere', async name => {
    const encoded = encodeURIComponent(name);
    const refusals = [
      service.send('POST', '/control-signals', signal('completion', { run_id: name })),
      service.send('POST', '/control-signals', signal('completion', { actor: { type: 'human', name } })),
      service.send('GET', `/threads?assignee=${encoded}`),
      service.send('GET', `/threads?viewer=${encoded}`),
    ];
    // A client resolves `.` and `..` away.
    if (!name.startsWith('.')) refusals.push(service.send('GET', `/runs/${encoded}`));
    for (const refused of await Promise.all(refusals)) expectProblem(refused, 'VALIDATION_FAILED');
  });
});

describe('a large or malformed request', () => {
  let service: TestApp;
  let port: number;
  beforeAll(async () => {
    service = await startApp('sqlite', { config: { MAX_PAYLOAD_BYTES: '300000' } });
    port = await listen(service.app);
    await service.send('POST', '/tokens', { role: 'admin', actor: { type: 'operator', name: 'ana' } });
  });
  afterAll(() => service.close());

  it.each(['%zz', '%', '%f', '%ff', '%c0%80', '%ED%A0%80', 'a=%e4'])('with the query ?x=%s is refused', async query => {
    for (const path of ['/threads', '/livez', '/nowhere']) {
      const answer = await service.app
        .inject({ url: '/', method: 'GET' })
        .then(() => exchange(port, `GET ${path}?x=${query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`));
      expect([answer.status, JSON.parse(answer.body).code]).toEqual([400, 'MALFORMED_URL']);
    }
  });

  it.each([
    ['a length', 'Content-Length: 10737418240'],
    ['chunks', 'Transfer-Encoding: chunked'],
  ])(
    'without a token that announces an endless body by %s is answered, and its connection closed',
    async (_, header) => {
      for (const path of ['/outbox', '/nowhere', '/livez', '/%zz']) {
        const socket = connect(port, '127.0.0.1').on('error', () => {});
        const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${header}\r\n\r\n`;
        socket.write(head);
        const chunk = header.startsWith('T') ? `10000\r\n${'x'.repeat(65_536)}\r\n` : 'x'.repeat(65_544);
        let answer = '';
        socket.on('data', data => {
          answer += data;
        });
        let sent = 0;
        const closed = new Promise<void>(resolve => socket.once('close', () => resolve()));
        const flood = () => {
          while (!socket.destroyed && socket.write(chunk)) sent += chunk.length;
        };
        socket.on('drain', flood);
        flood();
        await closed;
        expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
        expect(answer.toLowerCase()).toContain('connection: close');
        expect(sent).toBeLessThan(50_000_000);
      }
    },
  );
});

describe('the size of a body', () => {
  it('is 256 KiB, and MAX_PAYLOAD_BYTES for a message', async () => {
    const service = await startApp('sqlite', { config: { MAX_PAYLOAD_BYTES: '400000' } });
    const bodyOf = (size: number, around: object, field: string) => {
      const rest = JSON.stringify({ ...around, [field]: '' }).length;
      return { ...around, [field]: 'x'.repeat(size - rest) };
    };
    const send = (url: string, body: object) => service.send('POST', url, body);
    const message = { topic: 'a.b' };
    expect((await send('/outbox', bodyOf(400_000, message, 'payload'))).status).toBe(201);
    expectProblem(await send('/outbox', bodyOf(400_001, message, 'payload')), 'PAYLOAD_TOO_LARGE');
    const talk = { title: 'x', actor: ana };
    expectProblem(await send('/threads', bodyOf(262_144, talk, 'body')), 'VALIDATION_FAILED');
    expectProblem(await send('/threads', bodyOf(262_145, talk, 'body')), 'PAYLOAD_TOO_LARGE');
    await service.close();
  });
});

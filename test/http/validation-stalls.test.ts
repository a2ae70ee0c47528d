import { once } from 'node:events';
import { Agent, request } from 'node:http';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { listen } from '../helpers/socket.ts';
import { longestTurn } from '../helpers/turns.ts';

/*
 * No request may hold the event loop for long, whatever is in it and whoever sends it. A turn of the loop is measured in
 * CPU time of the main thread, which a busy machine does not prolong. The turn of an ordinary request is the margin.
 */

const LIMIT_MS = 100;
const KIB_256 = 262_144;
const MIB = 1_048_576;

interface Hostile {
  role: string;
  method: string;
  path: string;
  headers: Record<string, string>;
  body: Buffer | undefined;
}

let service: TestApp;
let port: number;
const tokens: Record<string, string> = { nobody: '' };
const agent = new Agent({ keepAlive: true });

beforeAll(async () => {
  service = await startApp('sqlite', { config: { RATE_LIMIT_PER_MINUTE: '0' } });
  port = await listen(service.app);
  const issue = async (role: string, body: object) => {
    const authorization = `Bearer ${tokens.admin}`;
    const answer = await service.send('POST', '/tokens', { role, ...body }, tokens.admin ? { authorization } : {});
    tokens[role] = answer.body.token;
  };
  await issue('admin', { actor: { type: 'operator', name: 'root' } });
  await issue('operator', { actor: { type: 'operator', name: 'ana' } });
  await issue('viewer', { actor: { type: 'human', name: 'eve' } });
  await issue('agent', { runs: 'run-*', agents: '*' });
});
afterAll(async () => {
  agent.destroy();
  await service.close();
});

/** Sends a request: its status, and the longest turn of the loop meanwhile. Milliseconds. */
async function sent(hostile: Hostile): Promise<{ status: number; took: number }> {
  const { value: status, took } = await longestTurn(() => statusOf(hostile));
  return { status, took };
}

async function statusOf({ role, method, path, headers, body }: Hostile): Promise<number> {
  const authorization = `Bearer ${tokens[role]}`;
  const outgoing = request({
    port,
    method,
    path,
    agent,
    headers: { ...(tokens[role] ? { authorization } : {}), ...headers, ...(body && { 'content-length': body.length }) },
  });
  outgoing.end(body);
  const [response] = await once(outgoing, 'response');
  let size = 0;
  for await (const chunk of response) size += chunk.length;
  if (response.statusCode >= 400) expect(size).toBeLessThan(65_536);
  return response.statusCode;
}

/** Elements of which a body has as many as fit. `#` stands for a number of its own. */
const UNITS = [
  '{}',
  '[]',
  '1',
  '-0',
  '"a"',
  '""',
  'null',
  '{"a":1}',
  '{"#":#}',
  '{"kind":"a","ref":"b"}',
  '{"label":"l#"}',
  '"l#"',
  '[[[[1]]]]',
  '1e1',
  '0.30000000000000004',
  '9007199254740993',
  '"\\u0000"',
  '"\\ud800"',
  '"\\u0301"',
  '{"__proto__":1}',
  '{"a":1,"a":2}',
  `${'['.repeat(60)}${']'.repeat(60)}`,
];
const CHARACTERS = [
  'a',
  ' ',
  '\u0301',
  '\u0316\u0301',
  '\u200b',
  '\u200d',
  '\\u0000',
  '\\"',
  '😀',
  '👩‍',
  'क्‍',
  '\u0e31',
  '\u1100',
  '.',
  '0',
];

const repeated = (unit: string, size: number) => unit.repeat(Math.floor(size / Buffer.byteLength(unit)));
const numbered = (unit: string, separator: string, size: number) => {
  const parts: string[] = [];
  for (let length = 0; length < size; length += Buffer.byteLength(unit) + 1) {
    parts.push(unit.replaceAll('#', String(parts.length)));
  }
  return parts.join(separator);
};

/** Marks in the order that takes the longest to normalize, at most as many as a text may have. */
const disordered = (size: number) => {
  const most = Math.min(8190, Math.floor(size / 4));
  return `"x${'\u0301'.repeat(most)}${'\u0316'.repeat(most)}"`;
};

/** A JSON value of about this size. */
const value = (size: number): fc.Arbitrary<string> =>
  fc.oneof(
    fc.constantFrom(...UNITS).map(unit => `[${numbered(unit, ',', size)}]`),
    fc
      .constantFrom('"k#":1', '"k":1', '"#":1', '"a#":{"b":#}', '"\\u006b#":[]')
      .map(unit => `{${numbered(unit, ',', size)}}`),
    fc.constantFrom(...CHARACTERS).map(character => `"${repeated(character, size)}"`),
    fc.constant(disordered(size)),
    fc.constantFrom('[', '{"a":').map(open => repeated(open, size)),
    fc.constant(null).map(() => `${'['.repeat(size / 2)}${']'.repeat(size / 2)}`),
    fc.constantFrom('1', '0', '1e', '-').map(digit => repeated(digit, size)),
  );

/** `POST /outbox` and events of hosts take larger bodies than other routes. */
const sizeOf = (path: string) => (path === '/outbox' || path === HOOK ? MIB : KIB_256);

const HOOK = '/hooks/claude?run=run-1&agent=builder';
const event = (name: string) =>
  `"hook_event_name":"${name}","session_id":"s-1","tool_use_id":"t-1","tool_name":"AskUserQuestion"`;
const signal = (type: string) => `"schema_version":1,"run_id":"run-1","agent_name":"builder","control_type":"${type}"`;
/** Bodies with a place for a value. */
const PLACES: [method: string, path: string, around: (value: string) => string][] = [
  ['POST', '/outbox', text => `{"topic":"a.b","payload":${text}}`],
  ['POST', '/outbox', text => text],
  ['POST', '/control-signals', text => text],
  ['POST', '/control-signals', text => `{${signal('completion')},"evidence":${text}}`],
  ['POST', '/control-signals', text => `{${signal('completion')},"unknown":${text}}`],
  ['POST', '/control-signals', text => `{${signal('guidance_request')},"question":"?","options":${text}}`],
  ['POST', '/control-signals', text => `{${signal('guidance_request')},"question":${text}}`],
  ['POST', '/control-signals', text => `{${signal('guidance_answer')},"answer":"!","selected":${text}}`],
  ['POST', '/control-signals', text => `{${signal('completion')},"ticket":${text}}`],
  ['POST', '/control-signals', text => `{${signal('completion')},"actor":{"type":"agent","name":${text}}}`],
  ['POST', '/threads', text => `{"title":${text},"body":"x"}`],
  ['PUT', '/runs/run-1', text => `{"agents":${text}}`],
  ['PUT', '/runs/run-1', text => `{"done_criteria":${text}}`],
  ['POST', '/control-signals', text => `{${signal('validation')},"status":"passed","done_criteria":${text}}`],
  [
    'POST',
    '/control-signals',
    text => `{${signal('guidance_request')},"question":"?","options":[{"label":"a"}],"default_answer":${text}}`,
  ],
  ['PUT', '/questions/q_0/answer', text => `{"answer":"x","selected":${text}}`],
  ['POST', '/tokens', text => `{"role":"agent","runs":${text},"agents":"*"}`],
  ['POST', HOOK, text => `{${event('PostToolBatch')},"tool_calls":${text}}`],
  ['POST', HOOK, text => `{${event('PreToolUse')},"tool_input":{"questions":${text}}}`],
  [
    'POST',
    HOOK,
    text => `{${event('PostToolUse')},"tool_input":{"questions":${text}},"tool_response":{"annotations":{}}}`,
  ],
  ['POST', HOOK, text => `{${event('PostToolUse')},"tool_response":{"annotations":{},"answers":${text}}}`],
];

const hostileBody: fc.Arbitrary<Hostile> = fc
  .tuple(
    fc.constantFrom('admin', 'operator', 'agent', 'viewer', 'nobody'),
    fc.constantFrom(...PLACES),
    fc.boolean(),
    fc.constantFrom(0.005, 0.02, 0.5, 1),
  )
  .chain(([role, [method, path, around], keyed, share]) =>
    value((sizeOf(path) - 250) * share).map(text => ({
      role,
      method,
      path,
      headers: { 'content-type': 'application/json', ...(keyed && { 'idempotency-key': `k-${text.length}` }) },
      body: Buffer.from(around(text)),
    })),
  );

const hostileUrl: fc.Arbitrary<Hostile> = fc
  .tuple(
    fc.constantFrom('admin', 'agent', 'nobody'),
    fc.constantFrom(
      '/threads',
      '/runs',
      '/questions',
      '/events',
      '/outbox',
      '/livez',
      '/nowhere',
      '/openapi.json',
      '/docs/yaml',
    ),
    fc.constantFrom('a=1', 'limit=1', 'run_id=%CC%81', 'q=%CC%96%CC%81', '#=1', '%ff', 'viewer=%E2%80%8B', 'a[]=1'),
    fc.constantFrom('&', ''),
  )
  .map(([role, path, unit, separator]) => ({
    role,
    method: 'GET',
    path: `${path}?${numbered(unit, separator, 7900).replaceAll('#', '')}`,
    headers: { 'if-none-match': repeated('"a",', 4000), 'accept-version': repeated('1', 1000) },
    body: undefined,
  }));

const ordinary: Hostile = {
  role: 'admin',
  method: 'POST',
  path: '/outbox',
  headers: { 'content-type': 'application/json' },
  body: Buffer.from('{"topic":"a.b","payload":{"text":"Hello."}}'),
};
/** The longest turn of an ordinary request. Milliseconds. */
let margin = 0;
beforeAll(async () => {
  // The first requests compile what the service needs.
  for (let count = 0; count < 20; count += 1) await sent(ordinary);
  for (const [method, path, around] of PLACES) {
    const [headers, body] = [ordinary.headers, Buffer.from(around('[{}]'))];
    await sent({ role: 'admin', method, path, headers, body });
  }
  for (let count = 0; count < 20; count += 1) margin = Math.max(margin, (await sent(ordinary)).took);
});

// All errors of so many values are looked for; of more, the first one only.
it.each([...['1', '""', 'null', '{}', '[]', '{"label":1}', '{"a":1,"b":[2]}', '{"kind":"file"}']])(
  'a list of %s that is just short enough to be checked wholly holds it no longer',
  async value => {
    const values = (value.match(/:|,/g) ?? []).length + 1;
    const text = `[${Array(Math.floor(1950 / values)).fill(value)}]`;
    for (const [method, path, around] of PLACES) {
      const { status, took } = await sent({ ...ordinary, method, path, body: Buffer.from(around(text)) });
      const what = `${method} ${around(value)}`;
      expect(status, what).toBeLessThan(500);
      expect(took, what).toBeLessThan(LIMIT_MS + margin);
    }
  },
);

it('criteria of nothing but marks hold it no longer, however many agents were measured by them', async () => {
  const marks = disordered(KIB_256);
  const post = (path: string, method: string, body: string) =>
    sent({ ...ordinary, method, path, body: Buffer.from(body) });
  for (let agent = 0; agent < 20; agent += 1) {
    const validation = `"schema_version":1,"run_id":"run-marks","agent_name":"a${agent}","control_type":"validation"`;
    const body = `{${validation},"status":"passed","done_criteria":${marks}}`;
    expect((await post('/control-signals', 'POST', body)).status).toBe(201);
  }
  for (const criteria of [marks.replace('x', 'y'), marks, '"plain"']) {
    const { status, took } = await post('/runs/run-marks', 'PUT', `{"done_criteria":${criteria}}`);
    expect(status).toBeLessThan(300);
    expect(took).toBeLessThan(LIMIT_MS + margin);
  }
  expect(
    (await service.send('GET', '/runs/run-marks', undefined, { authorization: `Bearer ${tokens.admin}` })).body,
  ).toMatchObject({ agents_count: 20 });
});

it('no request of any role holds the event loop for longer than 100 ms', async () => {
  let slowest = { took: 0, what: '' };
  await fc.assert(
    fc.asyncProperty(
      fc.oneof({ weight: 5, arbitrary: hostileBody }, { weight: 1, arbitrary: hostileUrl }),
      async hostile => {
        const { status, took } = await sent(hostile);
        const what = `${hostile.role} ${hostile.method} ${hostile.path.slice(0, 60)} ${hostile.body?.subarray(0, 120)}`;
        if (took > slowest.took) slowest = { took, what };
        expect(status, what).toBeLessThan(500);
        expect(took, what).toBeLessThan(LIMIT_MS + margin);
      },
    ),
    { numRuns: Number(process.env.STALL_REQUESTS ?? 150), endOnFailure: true },
  );
  process.stdout.write(`slowest turn ${slowest.took.toFixed(0)} ms (margin ${margin.toFixed(0)}): ${slowest.what}\n`);
}, 120_000);

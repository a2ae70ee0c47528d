import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Forumbus } from '../../src/client/index.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { commandLine } from '../helpers/cli.ts';
import { expectProblem } from '../helpers/problems.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';
import { exchange, listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';
import { bearer, withTokens } from '../helpers/tokens.ts';

const HTML = { accept: 'text/html' };

describe('BASE_PATH=/tools/forumbus/', () => {
  let service: TestApp;
  let port: number;
  let url: string;
  beforeAll(async () => {
    service = await startApp('sqlite', { config: { BASE_PATH: '/tools/forumbus/' } });
    port = await listen(service.app);
    url = `http://127.0.0.1:${port}/tools/forumbus`;
    return () => service.close();
  });
  const get = (path: string, headers = {}) => service.send('GET', path, undefined, headers);

  it('answers below it, and nowhere else', async () => {
    for (const path of ['/livez', '/readyz', '/bus/health', '/metrics', '/runs?limit=1', '/docs/json']) {
      expect((await get(`/tools/forumbus${path}`)).status, path).toBe(200);
      expectProblem(await get(path), 'NOT_FOUND');
    }
    for (const path of [
      '/',
      '/tools',
      '/tools/forumbusx/livez',
      '/tools/other/livez',
      '/.outside',
      '/TOOLS/forumbus/livez',
    ])
      expectProblem(await get(path), 'NOT_FOUND');
    const unknown = await get('/tools/forumbus/nothing?x=1');
    expectProblem(unknown, 'NOT_FOUND');
    expect(unknown.body.detail).toBe('There is no GET /tools/forumbus/nothing.');
    const absolute = `GET ${url}/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
    expect((await exchange(port, absolute)).status).toBe(200);
  });

  it('stands before each Location, also of a repetition, and before the URLs of lists', async () => {
    const send = () =>
      service.send('POST', '/tools/forumbus/control-signals', signal('guidance_request'), { 'idempotency-key': 'one' });
    const [first, again] = [await send(), await send()];
    expect(first.status).toBe(201);
    expect(again.headers['idempotency-replayed']).toBe('true');
    for (const { headers } of [first, again]) {
      expect(headers.location).toMatch(/^\/tools\/forumbus\/control-signals\/sig_/);
      expect((await get(String(headers.location))).status).toBe(200);
    }
    const { run_id, agent_name } = first.body.question;
    const { body: run } = await get(`/tools/forumbus/runs/${run_id}`);
    const { body: agent } = await get(`/tools/forumbus/control-threads/${run_id}/${agent_name}`);
    for (const list of [run.agents_url, run.open_questions_url, agent.open_questions_url]) {
      expect((await get(list)).body.items).toHaveLength(1);
    }
  });

  it('serves the page with all that it loads', async () => {
    const bare = await get('/tools/forumbus?x=1', HTML);
    expect(bare).toMatchObject({ status: 308, headers: { location: '/tools/forumbus/?x=1' } });
    for (const at of ['/tools/forumbus/', '/tools/forumbus/q/q_1']) {
      const { status, body } = await get(at, HTML);
      expect(status).toBe(200);
      const paths = [...String(body).matchAll(/(?:href|src)="([^"]+)"/g)].map(([, path]) => path as string);
      expect(paths.length).toBeGreaterThan(20);
      for (const path of paths) expect((await get(new URL(path, `http://x${at}`).pathname)).status, path).toBe(200);
    }
    expect((await get('/tools/forumbus/sw.js')).status).toBe(200);
  });

  it('serves the document of the API, whose server is there', async () => {
    const { body } = await get('/tools/forumbus/openapi.json');
    expect(new URL(body.servers[0].url, `${url}/openapi.json`).href).toBe(`${url}/`);
    expect((await get('/tools/forumbus/docs', HTML)).status).toBe(200);
  });

  it('works for the client, streams, the command line and hooks over HTTP', async () => {
    const agent = new Forumbus({ url, run_id: 'base', agent_name: 'builder' });
    const asking = agent.ask({ question: 'Which region?', options: ['eu', 'us'] });
    const { path } = await forThisTest(scratchFolder());
    const run = commandLine({ env: { FORUMBUS_URL: url, HOME: path, XDG_STATE_HOME: path }, cwd: path });
    await expect.poll(() => run(['inbox'])).toMatchObject({ out: expect.stringContaining('builder in base') });
    expect(await run(['open', '--print'])).toMatchObject({ out: `${url}/` });
    const { body } = await get('/tools/forumbus/questions?run_id=base');
    expect(await run(['answer', body.items[0].question_id, 'us'])).toMatchObject({ code: 0 });
    expect((await asking).answer).toBe('us');
    const stream = await openStream(url, '?after=0');
    expect((await stream.event()).sequence).toBe(1);

    const event = { hook_event_name: 'UserPromptSubmit', session_id: 's-1', prompt: 'Go on.' };
    const said = await service.send('POST', '/tools/forumbus/hooks/claude?run=base&agent=idle', event);
    expect(said.status).toBe(204);
  });
});

it('a login belongs to the base path, and ends there', async () => {
  const service = await startApp('sqlite', { config: { BASE_PATH: '/forumbus' } });
  onTestFinished(service.close);
  const send: TestApp['send'] = (method, path, body, headers) =>
    service.send(method, `/forumbus${path}`, body, headers);
  const { first } = await withTokens({ ...service, send });
  const page = { host: 'localhost:4010', 'sec-fetch-site': 'same-origin', 'x-forumbus-page': '1' };
  const { headers } = await send('POST', '/page/session', undefined, { ...page, ...bearer(first.token) });
  expect(headers['set-cookie']).toMatch(/; Path=\/forumbus; Max-Age=2592000;/);
  const cookie = String(headers['set-cookie']).split(';')[0] as string;
  expect((await send('GET', '/me', undefined, { ...page, cookie })).status).toBe(200);
  const out = await send('DELETE', '/page/session', undefined, { ...page, cookie });
  expect(out.headers['set-cookie']).toMatch(/; Path=\/forumbus; Max-Age=0;/);
  // The address of the service, after which this comes, has the base path already.
  expect((await send('POST', '/page/links', undefined, bearer(first.token))).body.path).toMatch(/^\/#login=/);
});

import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { bridge } from '../../src/mcp/stdio.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { called, clientOf, questionOf, revisions } from '../helpers/mcp.ts';
import { freePort } from '../helpers/ports.ts';
import { fresh } from '../helpers/posts.ts';
import { withTokens } from '../helpers/tokens.ts';

const script = fileURLToPath(new URL('../helpers/bridge.ts', import.meta.url));

let service: TestApp;
let origin: string;
beforeAll(async () => {
  const mcpHoldTimes = { withProgress: 60_000, silent: 60_000, progressEvery: 20 };
  service = await startApp('sqlite', { overrides: { mcpHoldTimes } });
  origin = await service.app.listen({ port: 0, host: '127.0.0.1' });
});
afterAll(() => service.close());

const urlOf = (run: string) => `${origin}/mcp?run=${run}&agent=builder`;

/** A bridge within this process. */
function bridged(url: string, token?: string) {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const done = bridge({ urlFor: () => url, token, input, output });
  onTestFinished(async () => {
    input.end();
    await done;
  });
  const lines = output.setEncoding('utf8').iterator({ destroyOnReturn: false });
  let rest = '';
  return {
    input,
    output,
    done,
    send: (message: unknown) => input.write(`${typeof message === 'string' ? message : JSON.stringify(message)}\n`),
    /** The next message. */
    async next() {
      while (!rest.includes('\n')) rest += (await lines.next()).value;
      const [line = '', ...more] = rest.split('\n');
      rest = more.join('\n');
      return JSON.parse(line);
    },
  };
}

const call = (id: number, name: string, args: object, meta: object = {}) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: args, _meta: meta },
});

describe('the bridge from stdio', () => {
  it.each(revisions)('serves the official client of revision %s', async revision => {
    const run = fresh();
    const client = clientOf(revision);
    await client.connect(new StdioClientTransport({ command: process.execPath, args: [script, urlOf(run)] }));
    onTestFinished(() => client.close());
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['ask', 'wait', 'signal', 'status']);
    const begun = Promise.withResolvers<string | undefined>();
    const onprogress = ({ message }: { message?: string | undefined }) => begun.resolve(message);
    const asking = called(client, 'ask', { question: 'Größe?' }, { onprogress });
    expect(await begun.promise).toMatch(/^Waiting for a person/);
    const [{ question_id }] = (await service.send('GET', `/questions?run_id=${run}`)).body.items;
    await service.send('PUT', `/questions/${question_id}/answer`, { answer: 'Groß.' });
    expect((await asking).text).toBe('Answered by operator: Groß.');
  });

  it('ends the wait of a call that the host cancels, and answers it no more', async () => {
    const run = fresh();
    const { send, next } = bridged(urlOf(run));
    send(call(1, 'ask', { question: 'Now?' }, { progressToken: 'p' }));
    expect(await next()).toMatchObject({ method: 'notifications/progress', params: { progressToken: 'p' } });
    send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
    send(call(2, 'status', {}));
    let message = await next();
    while (message.method === 'notifications/progress') message = await next();
    expect(message).toMatchObject({ id: 2 });
    // The question is as open as before.
    send(call(3, 'ask', { question: 'Now?', wait_seconds: 0 }));
    expect(questionOf({ meta: (await next()).result._meta })).toBe(
      (await service.send('GET', `/questions?run_id=${run}`)).body.items[0].question_id,
    );
  });

  it('says in one sentence that the service cannot be reached, or refuses', async () => {
    const port = await freePort();
    const away = bridged(`http://127.0.0.1:${port}/mcp`);
    away.send(call(1, 'ask', { question: 'Now?' }));
    expect(await away.next()).toEqual({
      jsonrpc: '2.0',
      id: 1,
      error: {
        code: -32000,
        message: `Forumbus does not answer at http://127.0.0.1:${port} (ECONNREFUSED); start it, or correct FORUMBUS_URL.`,
      },
    });

    const guarded = await startApp('sqlite');
    onTestFinished(guarded.close);
    const url = `${await guarded.app.listen({ port: 0, host: '127.0.0.1' })}/mcp`;
    const { issue } = await withTokens(guarded);
    const { token } = await issue({ role: 'agent', runs: 'run-1', agents: 'builder' });
    const without = bridged(url);
    without.send(call(1, 'status', {}));
    expect(await without.next()).toMatchObject({ id: 1, error: { code: -32000, data: { code: 'UNAUTHORIZED' } } });
    const allowed = bridged(url, token);
    allowed.send(call(1, 'status', {}));
    expect(await allowed.next()).toMatchObject({ id: 1, result: { content: [{ text: /^builder in run-1/ }] } });
  });

  it('passes on what MCP itself refuses, and survives what is no message', async () => {
    const { send, next } = bridged(urlOf(fresh()));
    send('no JSON');
    expect(await next()).toMatchObject({ id: null, error: { code: -32700 } });
    send([]);
    expect(await next()).toMatchObject({ id: null, error: { code: -32600 } });
    send('null');
    expect(await next()).toMatchObject({ id: null, error: { code: -32600 } });
    send('');
    send(call(1, 'fly', {}));
    expect(await next()).toMatchObject({ id: 1, error: { code: -32602 } });
    send({ jsonrpc: '2.0', method: 'notifications/initialized' });
    send({ jsonrpc: '2.0', id: 'x', method: 'tools/list', params: { _meta: { [VERSION]: '2099-01-01' } } });
    expect(await next()).toMatchObject({ id: 'x', error: { code: expect.any(Number) } });
  });

  it('ends with its input, whatever still waits', async () => {
    const { input, output, done, send, next } = bridged(urlOf(fresh()));
    send(call(1, 'ask', { question: 'Now?' }, { progressToken: 1 }));
    await next();
    input.end();
    await done;
    output.end();
    expect(await text(output)).not.toContain('"error"');
  });
});

const VERSION = 'io.modelcontextprotocol/protocolVersion';

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { listen } from '../helpers/socket.ts';
import { blocksOf, pageOf } from './markdown.ts';

const python = spawnSync('python3', ['--version']).status === 0;
const missing = python ? '' : ' (not run: there is no python3 on the PATH)';

/** Passes requests on, and cuts the connection of the first `lost` POSTs once the service has answered. */
async function weakNetwork(target: string, lost: number): Promise<{ url: string; posts: () => number }> {
  let posts = 0;
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method = 'GET', headers, url } = request;
    const passed = Object.entries(headers).filter(([name]) => /^(content-type|idempotency-key)$/.test(name));
    // A wait would hold the answer back, which is lost anyway.
    const isLost = method === 'POST' && ++posts <= lost;
    const answer = await fetch(`${target}${isLost ? String(url).replace('wait=50', 'wait=0') : url}`, {
      method,
      headers: passed as [string, string][],
      ...(chunks.length > 0 && { body: Buffer.concat(chunks) }),
    });
    const body = await answer.text();
    if (isLost) request.socket.destroy();
    else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(body);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, posts: () => posts };
}

it.skipIf(!python)(
  `the Python of docs/client.md asks, waits and answers, once although answers get lost${missing}`,
  async () => {
    const { path } = await forThisTest(scratchFolder());
    const [program, ...others] = blocksOf(pageOf('docs/client.md')).filter(({ language }) => language === 'python');
    expect(others).toEqual([]);
    await writeFile(join(path, 'forumbus.py'), String(program?.code));
    const service = await startApp('sqlite');
    onTestFinished(service.close);
    const network = await weakNetwork(`http://127.0.0.1:${await listen(service.app)}`, 2);
    const run = async (...args: string[]) => {
      const env = { PATH: process.env.PATH, HOME: process.env.HOME, FORUMBUS_URL: network.url };
      const child = spawn('python3', ['forumbus.py', ...args], { cwd: path, env, stdio: ['ignore', 'pipe', 'pipe'] });
      onTestFinished(() => void child.kill('SIGKILL'));
      let output = '';
      for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', text => (output += text));
      const [code] = await once(child, 'close');
      return { code, output };
    };
    const questions = async () => (await service.send('GET', '/questions')).body.items;

    const asking = run('ask', 'Which region?', 'eu-west-1', 'us-east-1');
    await expect.poll(questions, { timeout: 30_000 }).toHaveLength(1);
    // Not before the third POST, so that two answers have been lost.
    await expect.poll(network.posts, { timeout: 30_000 }).toBe(3);
    const [{ question_id }] = await questions();
    expect(await run('answer', question_id, 'eu-west-1')).toEqual({ code: 0, output: 'answered eu-west-1\n' });
    expect(await asking).toEqual({ code: 0, output: 'answered eu-west-1\n' });
    // Asked again, it is the question that has been answered, not another one.
    expect((await run('ask', 'Which region?', 'eu-west-1', 'us-east-1')).output).toBe('answered eu-west-1\n');
    const { items } = (await service.send('GET', '/events?event_type=forum.question.opened')).body;
    expect(items).toHaveLength(1);
    expect(await run('answer', question_id, 'us-east-1')).toMatchObject({
      code: 1,
      output: expect.stringMatching(/^ALREADY_ANSWERED: /),
    });
  },
  120_000,
);

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { freePort } from '../helpers/ports.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';

const nginx = spawnSync('nginx', ['-v']).status === 0;
const reason = nginx ? '' : ' (not run: nginx is not on PATH)';

/** Runs nginx before a service, with its defaults: it buffers answers. */
async function startNginx(port: number): Promise<string> {
  const { path } = await forThisTest(scratchFolder());
  const own = await freePort();
  await mkdir(join(path, 'logs'));
  await writeFile(
    join(path, 'nginx.conf'),
    `daemon off; master_process off; pid ${path}/pid; events {}
     http {
       access_log off;
       ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${path}/${name};`).join(' ')}
       server { listen 127.0.0.1:${own}; location /forumbus/ { proxy_pass http://127.0.0.1:${port}/; } }
     }`,
  );
  const child = spawn('nginx', ['-p', path, '-c', 'nginx.conf', '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', text => (said += text));
  const ended = once(child, 'close');
  onTestFinished(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  const origin = `http://127.0.0.1:${own}/forumbus`;
  await vi.waitFor(async () => expect((await fetch(`${origin}/livez`)).status, said).toBe(200), { timeout: 10_000 });
  return origin;
}

it.runIf(nginx)(`the event stream comes event by event through nginx with its defaults${reason}`, async () => {
  const service = await startApp('sqlite');
  onTestFinished(service.close);
  const origin = await startNginx(await listen(service.app));
  const stream = await openStream(origin);
  for (const summary of ['one', 'two']) {
    await service.send('POST', '/control-signals', signal('completion', { summary }));
    const event = await vi.waitFor(async () => {
      const next = await stream.event();
      expect(next.event_type).toBe('forum.control.signal');
      return next;
    });
    expect(event.payload).toMatchObject({ summary });
  }
});

import { expect, it, onTestFinished, vi } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { freePort } from '../helpers/ports.ts';
import { missing, startNginx } from '../helpers/proxies.ts';
import { signal } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { openStream } from '../helpers/stream.ts';

const reason = missing(['nginx', '-v']);

/** Runs nginx before a service, with its defaults: it buffers answers. */
async function startPlain(port: number): Promise<string> {
  const own = await freePort();
  const origin = `http://127.0.0.1:${own}/forumbus`;
  const server = `server { listen 127.0.0.1:${own}; location /forumbus/ { proxy_pass http://127.0.0.1:${port}/; } }`;
  await startNginx({
    http: () => server,
    answers: async () => expect((await fetch(`${origin}/livez`)).status).toBe(200),
  });
  return origin;
}

it.runIf(reason === '')(`the event stream comes event by event through nginx with its defaults${reason}`, async () => {
  const service = await startApp('sqlite');
  onTestFinished(service.close);
  const origin = await startPlain(await listen(service.app));
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

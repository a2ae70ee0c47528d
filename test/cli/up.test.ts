import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type Background, isAlive, markOf } from '../../src/cli/background.ts';
import { commandLine } from '../helpers/cli.ts';
import { emptyDatabase } from '../helpers/engines.ts';
import { freePort } from '../helpers/ports.ts';
import { forThisTest, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';

let state: string;
let url: string;
let env: Record<string, string>;
let forumbus: ReturnType<typeof commandLine>;

const stored = (): Background => JSON.parse(readFileSync(join(state, 'service.json'), 'utf8'));
const kill = (pid: number) => {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
};

beforeEach(async () => {
  const { path } = await forThisTest(scratchFolder());
  const port = await freePort();
  state = join(path, 'forumbus');
  url = `http://127.0.0.1:${port}`;
  env = {
    PATH: String(process.env.PATH),
    XDG_STATE_HOME: path,
    PORT: String(port),
    FORUMBUS_URL: url,
    MAX_EVENT_LOOP_DELAY_MS: '0',
  };
  forumbus = commandLine({ env, cwd: path });
  onTestFinished(() => {
    if (existsSync(join(state, 'service.json'))) kill(stored().pid);
  });
});

describe('forumbus up and down', () => {
  it('start one service in the background, with its database in the state folder, and stop it', async () => {
    const both = await Promise.all([forumbus(['up']), forumbus(['up'])]);
    // The second one finds the first one at work, or its service.
    expect(both.map(({ code }) => code).sort()).toEqual(expect.arrayContaining([0]));
    expect(await forumbus(['up'])).toMatchObject({ code: 0, out: `Forumbus listens at ${url} already.` });
    expect(await forumbus(['status'])).toMatchObject({ code: 0 });
    const { pid } = stored();
    expect(isAlive(stored())).toBe(true);
    for (const name of ['service.json', 'service.log', 'forumbus.db'])
      expect(statSync(join(state, name)).mode & 0o777).toBe(0o600);
    expect(statSync(state).mode & 0o777).toBe(0o700);
    expect(await forumbus(['down'])).toMatchObject({ code: 0, out: 'Stopped.' });
    expect(markOf(pid)).toBeUndefined();
    expect(readFileSync(join(state, 'service.log'), 'utf8')).toContain('"msg":"stopped"');
    expect(await forumbus(['down'])).toMatchObject({ code: 0, out: 'No service of `forumbus up` runs.' });
  });

  it('start again after a crash, and leave alone what has the old process id', async () => {
    await forumbus(['up']);
    kill(stored().pid);
    await expect.poll(() => isAlive(stored())).toBe(false);
    const stranger = spawn('sleep', ['60']);
    onTestFinished(() => void stranger.kill('SIGKILL'));
    await writeFile(join(state, 'service.json'), JSON.stringify({ ...stored(), pid: stranger.pid }));
    expect(await forumbus(['down'])).toMatchObject({ out: 'No service of `forumbus up` runs.' });
    expect(markOf(stranger.pid as number)).toBeDefined();
    await writeFile(join(state, 'up.lock'), JSON.stringify({ pid: stranger.pid, started: 'before' }));
    expect(await forumbus(['up'])).toMatchObject({
      code: 0,
      out: expect.stringContaining(`listens at ${url}; its log is`),
    });
    expect(await forumbus(['down'])).toMatchObject({ out: 'Stopped.' });
  });

  it('find a service below a path', async () => {
    const below = { env: { BASE_PATH: '/bus/', FORUMBUS_URL: `${url}/bus` } };
    expect(await forumbus(['up'], below)).toMatchObject({
      code: 0,
      out: expect.stringContaining(`listens at ${url}/bus; its log`),
    });
    expect(await forumbus(['status'], below)).toMatchObject({ code: 0 });
    expect(await forumbus(['up'], below)).toMatchObject({ code: 0, out: `Forumbus listens at ${url}/bus already.` });
    expect(await forumbus(['down'])).toMatchObject({ out: 'Stopped.' });
  });

  it('do not lose a service that does not answer', async () => {
    await forumbus(['up']);
    const { pid } = stored();
    process.kill(pid, 'SIGSTOP');
    expect(await forumbus(['up'])).toMatchObject({
      code: 1,
      err: expect.stringMatching(
        new RegExp(`^The service \\(process ${pid}\\) does not answer at ${url}; .*forumbus down`),
      ),
    });
    expect(stored()).toMatchObject({ pid });
    process.kill(pid, 'SIGCONT');
    expect(await forumbus(['down'])).toMatchObject({ out: 'Stopped.' });
  });

  it('do not take another program at the port for the service', async () => {
    const stranger = createServer((_request, response) => response.end('{"status":"ok"}'));
    await once(stranger.listen(Number(env.PORT), '127.0.0.1'), 'listening');
    onTestFinished(() => void stranger.close());
    expect(await forumbus(['up'])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^The service did not start: .*in use/),
    });
  });

  it('do not touch a service that was started in another way', async () => {
    const { url: DATABASE_URL } = await forThisTest(emptyDatabase('sqlite'));
    const service = await startService({ DATABASE_URL, PORT: env.PORT as string });
    expect(await forumbus(['up'])).toMatchObject({ code: 0, out: expect.stringContaining('has not started it') });
    expect(await forumbus(['down'])).toMatchObject({ out: 'No service of `forumbus up` runs.' });
    expect((await service.send('GET', '/livez')).status).toBe(200);
  });

  it('say why the service does not start', async () => {
    expect(await forumbus(['up'], { env: { LOG_LEVEL: 'loud' } })).toEqual({
      code: 1,
      out: '',
      err: expect.stringMatching(/^The service did not start: The setting LOG_LEVEL is wrong/),
    });
    expect(await forumbus(['up'], { env: { PORT: '0' } })).toMatchObject({
      code: 1,
      err: expect.stringContaining('PORT=0'),
    });
  });
});

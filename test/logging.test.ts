import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { forThisTest, NODE_COMPILE_CACHE, startService } from './helpers/process.ts';
import { scratchFolder } from './helpers/scratch.ts';
import { openStream } from './helpers/stream.ts';

const main = join(import.meta.dirname, '../src/main.ts');
const INTERRUPT = '\u0003';
const hasScript = spawnSync('script', ['--version']).status === 0;

/** A service on a pseudo-terminal that `script` of util-linux opens. */
class TerminalService {
  readonly lines: string[] = [];
  readonly #script: ChildProcessByStdio<Writable, Readable, null>;
  readonly #output = new EventEmitter();
  readonly #exited: Promise<number>;

  constructor(database: string) {
    this.#script = spawn('script', ['-qec', `exec '${process.execPath}' '${main}'`, '/dev/null'], {
      // The shell that script starts would otherwise be the one of the test run.
      env: {
        PATH: process.env.PATH,
        SHELL: '/bin/sh',
        TERM: 'xterm',
        NODE_COMPILE_CACHE,
        PORT: '0',
        DATABASE_URL: database,
        MAX_EVENT_LOOP_DELAY_MS: '0',
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    this.#exited = once(this.#script, 'close').then(([code]) => code);
    let rest = '';
    this.#script.stdout.setEncoding('utf8').on('data', (text: string) => {
      const [...complete] = (rest + text).split('\r\n');
      rest = complete.pop() ?? '';
      this.lines.push(...complete.map(line => stripVTControlCharacters(line)));
      this.#output.emit('lines');
    });
    // The terminal goes with script, and the service with its terminal.
    onTestFinished(() => void this.#script.kill('SIGKILL'));
  }

  /** The first line that matches, once it is there. Rejects if the process ends without it. */
  async line(pattern: RegExp): Promise<string> {
    const ended = this.#exited.then(() => 'ended' as const);
    for (;;) {
      const found = this.lines.find(line => pattern.test(line));
      if (found !== undefined) return found;
      const next = await Promise.race([once(this.#output, 'lines'), ended]);
      if (next === 'ended') throw new Error(`No line matches ${pattern}: ${this.lines.join('\n')}`);
    }
  }

  /** Stops the service as Ctrl-C does, and answers its exit code. */
  async interrupt(): Promise<number> {
    this.#script.stdin.write(INTERRUPT);
    return this.#exited;
  }
}

it('writes one line per event and request on a terminal, the address last at the start', async ctx => {
  if (!hasScript) ctx.skip('needs `script` (util-linux) to open a pseudo-terminal');
  const { path } = await forThisTest(scratchFolder());
  const service = new TerminalService(`sqlite:${path}/forumbus.db`);
  const [origin = ''] = /http:\S+$/.exec(await service.line(/ http:/)) ?? [];

  const request = async (target: string, id: string) => {
    const response = await fetch(origin + target, { headers: { 'x-request-id': id } });
    await response.text();
    return response.status;
  };
  expect(await request('/runs?limit=1', 'ok-1')).toBe(200);
  expect(await request('/runs?color=red', 'refused-1')).toBe(400);
  expect(await request('/nothing', 'absent-1')).toBe(404);
  await service.line(/absent-1/);
  const stream = await openStream(origin, '', undefined, { 'x-request-id': 'stream-1' });
  stream.leave();
  await service.line(/stream-1/);
  expect(await service.interrupt()).toBe(0);

  const time = String.raw`^\[\d\d:\d\d:\d\d\.\d{3}\] (?:INFO|WARN) \(\d+\): `;
  const expected = [
    'starting$',
    String.raw`database migrated \{"migrations":\[.*\]\}$`,
    'The service has no tokens: .*$',
    String.raw`Forumbus listens on http://127\.0\.0\.1:\d+$`,
    String.raw`GET /runs 200 \d+ ms ok-1$`,
    String.raw`GET /runs 400 \d+ ms refused-1 VALIDATION_FAILED: query/color: is not a known field$`,
    String.raw`GET /nothing 404 \d+ ms absent-1 NOT_FOUND: There is no GET /nothing\.$`,
    'GET /events/stream 200 stream closed prematurely stream-1$',
    String.raw`stopping \{"signal":"SIGINT"\}$`,
    'stopped$',
  ];
  // The terminal echoes Ctrl-C as ^C.
  const lines = service.lines.map(line => line.replace('^C', ''));
  expect(lines).toEqual(expected.map(pattern => expect.stringMatching(new RegExp(time + pattern))));
});

it('writes the settings and both lines of a request as JSON where stdout is no terminal', async () => {
  const { path } = await forThisTest(scratchFolder());
  const service = await startService({ DATABASE_URL: `sqlite:${path}/forumbus.db` });
  await service.send('GET', '/runs?color=red', undefined, { 'x-request-id': 'refused-1' });
  service.kill('SIGTERM');
  await service.exited;
  expect(await service.line('starting')).toMatchObject({ config: { LOG_LEVEL: 'info', MAX_ATTEMPTS: 12 } });
  expect(service.logs.filter(line => line.request_id === 'refused-1')).toMatchObject([
    { msg: 'incoming request', req: { method: 'GET', url: '/runs?color=red' } },
    { msg: 'request refused', code: 'VALIDATION_FAILED', detail: 'query/color: is not a known field' },
    { msg: 'request completed', res: { statusCode: 400 }, responseTime: expect.any(Number) },
  ]);
});

import { type ChildProcess, execFileSync, type StdioOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { emptyDatabase } from '../helpers/engines.ts';
import { freePort } from '../helpers/ports.ts';
import { forThisTest, NODE_COMPILE_CACHE, send, spawnService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** More than a pipe of Linux holds. Bytes. */
const PIPE = 65_536;
const REQUESTS = 300;
/** Of a kilobyte each: more than wait for a reader. */
const LINES = 6000;
const within = { timeout: 20_000, interval: 20 };

/** A pipe whose reader is this test: it reads nothing unless it is told to. */
async function pipe(): Promise<{ end: number; fill: () => void; readAll: () => string }> {
  const { path } = await forThisTest(scratchFolder());
  execFileSync('mkfifo', [join(path, 'pipe')]);
  const fd = openSync(join(path, 'pipe'), constants.O_RDWR | constants.O_NONBLOCK);
  // Whether it blocks is for its holder to decide, so it is opened for itself.
  const end = openSync(join(path, 'pipe'), constants.O_WRONLY);
  onTestFinished(() => {
    closeSync(fd);
    closeSync(end);
  });
  const drained = (take: () => number) => {
    try {
      while (take() > 0);
    } catch (error) {
      expect(error).toMatchObject({ code: 'EAGAIN' });
    }
  };
  const buffer = Buffer.alloc(PIPE);
  return {
    end,
    fill: () => drained(() => writeSync(fd, Buffer.alloc(4096, '\n'))),
    readAll() {
      let text = '';
      drained(() => {
        const count = readSync(fd, buffer);
        text += buffer.toString('utf8', 0, count);
        return count;
      });
      return text;
    },
  };
}

/** A service at a port of its own, whose log this test may not be able to read. */
async function serve(command: string[], stdio: StdioOptions, env: Record<string, string> = {}) {
  const port = await freePort();
  const { url } = await forThisTest(emptyDatabase('sqlite'));
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE, PORT: String(port), DATABASE_URL: url, ...env },
    stdio,
  });
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const origin = `http://127.0.0.1:${port}`;
  const answers = () => vi.waitFor(async () => expect((await fetch(`${origin}/livez`)).status).toBe(200), within);
  return { child, origin, exited, answers };
}

/** Makes more log lines than a pipe holds: two of each request. */
async function logMuch(origin: string): Promise<void> {
  for (let sent = 0; sent < REQUESTS; sent += 50) {
    await Promise.all(Array.from({ length: 50 }, async () => (await fetch(`${origin}/stats`)).text()));
  }
}

const post = (origin: string) => send(origin, 'POST', '/control-signals', signal('completion'));

describe('a service whose stdout', () => {
  const node = [process.execPath, MAIN];

  it.each(['closed', 'a full disk', 'full from the beginning', 'never read', 'left by its reader'])(
    'is %s starts, answers and stops',
    async how => {
      const reader = await pipe();
      const started = {
        closed: () => serve(['sh', '-c', `exec "$0" "$1" >&-`, ...node], 'ignore'),
        'a full disk': () => serve(['sh', '-c', `exec "$0" "$1" > /dev/full`, ...node], 'ignore'),
        'full from the beginning': () => {
          reader.fill();
          return serve(node, ['ignore', reader.end, 'ignore']);
        },
        'never read': () => serve(node, ['ignore', reader.end, 'ignore']),
        'left by its reader': () => serve(node, ['ignore', 'pipe', 'ignore']),
      }[how] as () => ReturnType<typeof serve>;
      const { child, origin, exited, answers } = await started();
      await answers();
      child.stdout?.destroy();
      await logMuch(origin);
      expect((await post(origin)).status).toBe(201);
      const asked = performance.now();
      child.kill('SIGTERM');
      expect(await exited).toEqual([0, null]);
      expect(performance.now() - asked).toBeLessThan(5000);
    },
    60_000,
  );

  const script = spawnSync('script', ['--version']).status === 0;
  it.runIf(script)(
    `is a terminal that stands still starts, answers and stops${script ? '' : ' (not run: there is no script command)'}`,
    async () => {
      const reader = await pipe();
      const command = ['script', '-qefc', `exec ${node.join(' ')}`, '/dev/null'];
      const { child, origin, exited, answers } = await serve(command, ['ignore', reader.end, 'ignore']);
      await answers();
      await logMuch(origin);
      expect((await post(origin)).status).toBe(201);
      process.kill(childOf(child), 'SIGTERM');
      await vi.waitFor(() => expect(fetch(`${origin}/livez`)).rejects.toThrow(), within);
      // The terminal's other end can only end when it has been read.
      await vi.waitFor(() => {
        reader.readAll();
        expect(child.exitCode ?? child.signalCode).not.toBeNull();
      }, within);
      await exited;
    },
    60_000,
  );
});

function childOf({ pid }: ChildProcess): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
}

describe('a start that cannot succeed', () => {
  const wrong = { PORT: 'abc' };

  it('writes its sentence to a file', async () => {
    const { path } = await forThisTest(scratchFolder());
    const log = openSync(join(path, 'log'), 'w');
    const { exited } = await serve([process.execPath, MAIN], ['ignore', log, 'ignore'], wrong);
    expect(await exited).toEqual([1, null]);
    closeSync(log);
    expect(readFileSync(join(path, 'log'), 'utf8')).toMatch(/^\{.*The setting PORT is wrong.*\}\n$/);
  });

  it('ends though nobody reads it, and though its reader has gone', async () => {
    const reader = await pipe();
    reader.fill();
    const stalled = await serve([process.execPath, MAIN], ['ignore', reader.end, 'ignore'], wrong);
    const left = await serve([process.execPath, MAIN], ['ignore', 'pipe', 'ignore'], wrong);
    left.child.stdout?.destroy();
    expect(await stalled.exited).toEqual([1, null]);
    expect(await left.exited).toEqual([1, null]);
  });
});

it('a command whose reader has gone ends without a stack', async () => {
  const { url } = await forThisTest(emptyDatabase('sqlite'));
  const command = spawnService({ DATABASE_URL: url }, { file: 'commands/token.ts', args: ['generate'] });
  command.closeStdout();
  await command.exited;
  expect(command.stderr).toBe('');
});

it('lines for a reader that reads nothing for long are dropped whole, and counted when it reads again', async () => {
  const program = `
    import { lineWriter, stdoutWritten } from ${JSON.stringify(new URL('../../src/stdout.ts', import.meta.url).href)};
    const stdout = lineWriter(dropped => stdout.write(JSON.stringify({ dropped }) + '\\n'));
    for (let n = 0; n < ${LINES}; n += 1) stdout.write(JSON.stringify({ n, text: 'x'.repeat(1000) }) + '\\n');
    process.stdin.resume().once('end', () => stdoutWritten().then(() => process.exit(0)));
    process.stderr.write('written');`;
  const reader = await pipe();
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['pipe', reader.end, 'pipe'],
  });
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  await once(child.stderr as Readable, 'data');
  let text = '';
  await vi.waitFor(() => {
    text += reader.readAll();
    expect(text.includes('dropped')).toBe(true);
  }, within);
  (child.stdin as Writable).end();
  expect(await exited).toEqual([0, null]);
  text += reader.readAll();
  const lines = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line));
  const { dropped } = lines.pop();
  expect(dropped).toBeGreaterThan(0);
  expect(lines.map(({ n }) => n)).toEqual(Array.from({ length: LINES - dropped }, (_, n) => n));
});

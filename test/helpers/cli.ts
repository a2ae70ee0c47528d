import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { run } from '../../src/cli/run.ts';
import { NODE_COMPILE_CACHE } from './process.ts';

/** What a command line has said, without the last line break, and its exit code. */
export interface Said {
  code: number;
  out: string;
  err: string;
}

interface Place {
  env: Record<string, string>;
  cwd: string;
}

/** Runs command lines in this process, as main.ts runs them, with this environment in this folder. */
export function commandLine({ env, cwd }: Place) {
  return async (args: string[], { input = '', ...more }: { input?: string; env?: Record<string, string> } = {}) => {
    const stdin = new PassThrough();
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    stdin.end(input);
    const read = Promise.all([text(stdout), text(stderr)]);
    const code = await run(args, {
      env: { ...env, ...more.env },
      cwd,
      stdin: stdin as unknown as NodeJS.ReadStream,
      stdout: stdout as unknown as NodeJS.WriteStream,
      stderr: stderr as unknown as NodeJS.WriteStream,
    });
    stdout.end();
    stderr.end();
    const [out, err] = await read;
    return { code, out: out.trimEnd(), err: err.trimEnd() };
  };
}

export const cliMain = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** A real process of the command line. It does not outlive the test. @param input what it reads; nothing if left out */
export function spawnCli(args: string[], { env, cwd }: Place, program = [process.execPath, cliMain], input = '') {
  const [file = '', ...first] = program;
  const child = spawn(file, [...first, ...args], {
    cwd,
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.end(input);
  const ended = Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]).then(
    ([[code], out, err]): Said => ({ code, out: out.trimEnd(), err: err.trimEnd() }),
  );
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, ended };
}

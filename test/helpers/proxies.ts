import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { type AtEnd, forThisTest } from './process.ts';
import { scratchFolder } from './scratch.ts';

/** Which of these programs cannot be started here, as a part of a test's name; empty if all can. */
export function missing(...programs: [name: string, flag: string][]): string {
  const absent = programs.filter(([name, flag]) => spawnSync(name, [flag]).status !== 0).map(([name]) => name);
  return absent.length === 0 ? '' : ` (not run: ${absent.join(', ')} is not on PATH)`;
}

interface Setup {
  /** What its `http` block holds beside logs and temporary files. @param folder of its own */
  http: (folder: string) => string | Promise<string>;
  /** Succeeds once it answers. */
  answers: () => Promise<unknown>;
}

/** Runs nginx in one process, with `access.log` in the folder that it answers. It does not outlive the test. */
export async function startNginx({ http, answers }: Setup, atEnd: AtEnd = onTestFinished): Promise<string> {
  const { path } = await forThisTest(scratchFolder(), atEnd);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    name => `${name}_temp_path ${path}/${name};`,
  );
  await mkdir(join(path, 'logs'));
  await writeFile(
    join(path, 'nginx.conf'),
    `daemon off; master_process off; pid ${path}/pid; events {}
     http { access_log ${path}/access.log; ${temporary.join(' ')}\n${await http(path)} }`,
  );
  await run('nginx', ['-p', path, '-c', 'nginx.conf', '-e', 'stderr'], { answers }, atEnd);
  return path;
}

/** Runs Caddy with a Caddyfile. @param text the file, made for a folder of its own @returns the folder */
export async function startCaddy(
  text: (folder: string) => string | Promise<string>,
  { answers }: Pick<Setup, 'answers'>,
  atEnd: AtEnd = onTestFinished,
): Promise<string> {
  const { path } = await forThisTest(scratchFolder(), atEnd);
  const file = join(path, 'Caddyfile');
  await writeFile(file, await text(path));
  const env = { ...process.env, XDG_DATA_HOME: path, XDG_CONFIG_HOME: path };
  await run('caddy', ['run', '--adapter', 'caddyfile', '--config', file], { answers, env }, atEnd);
  return path;
}

/** Runs a program until the end of the test. Resolves once it answers. */
async function run(
  program: string,
  args: string[],
  { answers, env = process.env }: Pick<Setup, 'answers'> & { env?: NodeJS.ProcessEnv },
  atEnd: AtEnd,
): Promise<void> {
  const child = spawn(program, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', text => (said += text));
  const ended = once(child, 'close');
  atEnd(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  await vi.waitFor(answers, { timeout: 10_000 }).catch(error => {
    throw new Error(`${program} does not answer: ${said}`, { cause: error });
  });
}

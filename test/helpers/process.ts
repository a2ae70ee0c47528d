import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { onTestFinished } from 'vitest';
import type { Answer } from './app.ts';

/** Node keeps what it has compiled there: a suite starts the same files hundreds of times. */
export const NODE_COMPILE_CACHE = join(tmpdir(), 'forumbus-test-compile-cache');

const source = (file: string) => resolve(import.meta.dirname, '../../src', file);

export interface LogLine {
  level: number;
  msg: string;
  [field: string]: unknown;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

interface Setup {
  /** The command's file below src, or the path of another. */
  file?: string;
  args?: string[];
  cwd?: string;
  /** The user that it runs as; only root can choose. */
  uid?: number;
}

/** A real `node src/main.ts`, seen from outside: its log, its port, its end. */
export class ServiceProcess {
  readonly logs: LogLine[] = [];
  /** Lines on stdout that are not JSON. */
  readonly strays: string[] = [];
  stderr = '';
  /** Comes when the process has ended and all of its output has been read. */
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #news = new EventEmitter();
  #over = false;

  constructor(env: Record<string, string>, { file = 'main.ts', args = [], cwd, uid }: Setup) {
    this.#child = spawn(process.execPath, [source(file), ...args], {
      cwd,
      ...(uid !== undefined && { uid, gid: uid }),
      // Nothing of the test run's own environment may decide what the service does.
      // On a machine that is busy with other tests a process is late without having too much to do.
      env: { PATH: process.env.PATH, NODE_COMPILE_CACHE, PORT: '0', MAX_EVENT_LOOP_DELAY_MS: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.exited = once(this.#child, 'close').then(([code, signal]) => {
      this.#over = true;
      this.#news.emit('news');
      return { code, signal };
    });
    createInterface(this.#child.stdout).on('line', line => {
      try {
        this.logs.push(JSON.parse(line));
      } catch {
        this.strays.push(line);
      }
      this.#news.emit('news');
    });
    this.#child.stderr.setEncoding('utf8').on('data', text => {
      this.stderr += text;
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Leaves stdout, as a reader does that has read enough. */
  closeStdout(): void {
    this.#child.stdout.destroy();
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The first log line with this message, as soon as it is there. Rejects if the process ends without it. */
  async line(msg: string): Promise<LogLine> {
    for (;;) {
      const found = this.logs.find(line => line.msg === msg);
      if (found) return found;
      if (this.#over) throw new Error(`The process ended without the log line "${msg}": ${this.output}`);
      await once(this.#news, 'news');
    }
  }

  /** The address it listens on, once it does. */
  async listening(): Promise<string> {
    const { port } = await this.line('listening');
    return `http://127.0.0.1:${port}`;
  }

  async send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer> {
    return send(await this.listening(), method, path, body, headers);
  }

  get output(): string {
    return [...this.logs.map(line => JSON.stringify(line)), ...this.strays, this.stderr].join('\n');
  }
}

/** Takes what ends a thing that was made for one test, or for all tests of a suite. */
export type AtEnd = (end: () => void | Promise<void>) => void;

/** Spawns the service, or another command of src. It does not outlive the test, or whatever else `atEnd` stands for. */
export function spawnService(
  env: Record<string, string>,
  setup: Setup = {},
  atEnd: AtEnd = onTestFinished,
): ServiceProcess {
  const service = new ServiceProcess(env, setup);
  atEnd(async () => {
    service.kill('SIGKILL');
    await service.exited;
  });
  return service;
}

/** Runs a command to its end: `npm run <name> -- <args>`. */
export async function runCommand(
  name: string,
  args: string[],
  env: Record<string, string>,
): Promise<ServiceProcess & Exit> {
  const command = spawnService(env, { file: `commands/${name}.ts`, args });
  return Object.assign(command, await command.exited);
}

/** The same, once it listens. */
export async function startService(
  env: Record<string, string>,
  setup: Setup = {},
  atEnd?: AtEnd,
): Promise<ServiceProcess> {
  const service = spawnService(env, setup, atEnd);
  await service.listening();
  return service;
}

/** Sends one request over a real socket; a `body` goes as JSON. */
export async function send(
  origin: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const json =
    body === undefined
      ? { headers }
      : { body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } };
  const response = await fetch(origin + path, { method, ...json });
  const answered = response.status === 204 ? undefined : await response.json();
  return { status: response.status, headers: Object.fromEntries(response.headers), body: answered };
}

/** Removes something scratch when the test is over. */
export async function forThisTest<T extends { drop: () => Promise<void> }>(
  made: Promise<T>,
  atEnd: AtEnd = onTestFinished,
): Promise<T> {
  const scratch = await made;
  atEnd(() => scratch.drop());
  return scratch;
}

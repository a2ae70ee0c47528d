import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../helpers/ports.ts';
import { type Code, cloneAt } from './code.ts';
import { type Memory, memoryOf } from './memory-of.ts';
import type { Counts } from './statement-counter.ts';

/** How long a process may take until it listens, and until it has ended after SIGTERM. Milliseconds. */
const START_PATIENCE_MS = 120_000;
const STOP_PATIENCE_MS = 20_000;

/** How much of the end of a log is shown when its process has failed. Characters. */
const LOG_SHOWN = 2000;

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
/** The code of this clone. */
const own = cloneAt(here('../..'));

/** The module that handles the messages of a service. */
export type HandlerName = 'none' | 'empty' | 'counting' | 'noting';

export interface ServiceSetup {
  /** Names it in the table of memory. */
  name: string;
  databaseUrl: string;
  /** The code that it runs: by default this clone's. */
  code?: Code | undefined;
  handler?: HandlerName;
  /** Whether it counts its statements. */
  counts?: boolean;
  /** Settings beside those above. */
  env?: Record<string, string>;
  /** Called with what the handler says, from its first word. */
  heard?: (message: never) => void;
}

/** A child process: the service, or a floor that it is compared with. */
export class Subject {
  readonly name: string;
  readonly pid: number;
  /** Of those that listen; loopback. */
  readonly port: number;
  readonly isService: boolean;
  readonly #child: ChildProcess;
  readonly #over: Promise<unknown>;

  constructor(name: string, child: ChildProcess, port: number, isService: boolean) {
    this.name = name;
    this.isService = isService;
    this.pid = child.pid ?? 0;
    this.port = port;
    this.#child = child;
    this.#over = once(child, 'exit');
  }

  /** The next message of the child. */
  async message<T>(): Promise<T> {
    const [message] = await once(this.#child, 'message');
    return message;
  }

  /** Of a service that counts its statements. */
  async counts(): Promise<Counts> {
    const said = this.message<Counts>();
    this.tell({});
    return said;
  }

  hear(listener: (message: never) => void): void {
    this.#child.on('message', listener as (message: unknown) => void);
  }

  tell(message: object): void {
    this.#child.send(message);
  }

  async end(): Promise<void> {
    this.#child.kill('SIGTERM');
    const late = setTimeout(() => this.kill(), STOP_PATIENCE_MS);
    await this.#over;
    clearTimeout(late);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** All child processes of a run. None outlives it, and if one ends by itself the run fails. */
export class Processes {
  /** Rejects when a process has ended though nobody had asked it to. */
  readonly failed: Promise<never>;
  /** What each service used in the end. */
  readonly memory: { name: string; memory: Memory }[] = [];
  readonly #folder: string;
  readonly #logLevel: string;
  readonly #running = new Set<Subject>();
  readonly #programs = new Set<ChildProcess>();
  readonly #fail: (reason: Error) => void;
  #started = 0;

  /** @param folder for logs and handlers */
  constructor(folder: string, logLevel: string) {
    this.#folder = folder;
    this.#logLevel = logLevel;
    const { promise, reject } = Promise.withResolvers<never>();
    this.failed = promise;
    this.#fail = reject;
    promise.catch(() => {});
    process.once('exit', () => this.#endAll());
  }

  /** A real service that takes requests. */
  async service(setup: ServiceSetup): Promise<Subject> {
    const { name, databaseUrl, code = own, handler = 'empty', counts = false, env = {}, heard } = setup;
    const port = await freePort();
    const settings = { DATABASE_URL: databaseUrl, HANDLERS_DIR: this.#handlers(handler), PORT: String(port) };
    const args = [...(counts ? ['--import', here('./statement-counter.ts')] : []), ...code.options, ...code.program];
    const service = this.#spawn(
      name,
      args,
      port,
      { LOG_LEVEL: this.#logLevel, ...settings, ...code.env, ...env },
      true,
    );
    if (heard) service.hear(heard);
    await this.#listening(service);
    return service;
  }

  /** A module of this folder as a process that listens on PORT. */
  async listener(file: string): Promise<Subject> {
    const port = await freePort();
    const env = { PORT: String(port), LOG_LEVEL: this.#logLevel };
    const listener = this.#spawn(file, [...own.options, here(file)], port, { ...own.env, ...env });
    await this.#listening(listener);
    return listener;
  }

  /** A module of this folder as a process that is told what to do; it says when it is ready. */
  async worker(file: string, args: string[]): Promise<Subject> {
    const worker = this.#spawn(file, [...own.options, here(file), ...args], 0, own.env);
    await worker.message();
    return worker;
  }

  /** Ends a process in good order and keeps what memory a service has used. */
  async stop(subject: Subject): Promise<void> {
    if (!this.#running.has(subject)) return;
    const memory = subject.isService ? memoryOf(subject.pid) : undefined;
    if (memory) this.memory.push({ name: subject.name, memory });
    this.#running.delete(subject);
    await subject.end();
  }

  /** Runs a program to its end and answers what it has written to stdout. */
  async program(file: string, args: string[], env: Record<string, string>): Promise<string> {
    const log = openSync(join(this.#folder, 'programs.log'), 'a');
    const stdio: ['ignore', 'pipe', number] = ['ignore', 'pipe', log];
    const program = spawn(process.execPath, [file, ...args], { env: { PATH: process.env.PATH, ...env }, stdio });
    closeSync(log);
    this.#programs.add(program);
    let output = '';
    program.stdout?.setEncoding('utf8').on('data', text => {
      output += text;
    });
    const [code, signal] = await once(program, 'close');
    this.#programs.delete(program);
    if (code === 0) return output;
    const said = readFileSync(join(this.#folder, 'programs.log'), 'utf8').trim();
    throw new Error(`${file} failed (${signal ?? `code ${code}`}). It said:\n${said}`);
  }

  /** Ends all that still runs. */
  async close(): Promise<void> {
    const programs = [...this.#programs].map(program => once(program, 'close'));
    this.#endAll();
    const late = setTimeout(() => {
      for (const program of this.#programs) program.kill('SIGKILL');
    }, STOP_PATIENCE_MS);
    await Promise.all(programs);
    clearTimeout(late);
  }

  #endAll(): void {
    for (const subject of this.#running) subject.kill();
    this.#running.clear();
    // These have processes of their own, and end them.
    for (const program of this.#programs) program.kill('SIGTERM');
  }

  #spawn(name: string, args: string[], port: number, env: Record<string, string>, isService = false): Subject {
    this.#started += 1;
    const log = join(this.#folder, `${this.#started}.log`);
    const output = openSync(log, 'a');
    const child = spawn(process.execPath, args, {
      // Nothing of this process's own environment may decide what the service does.
      env: { PATH: process.env.PATH, ...env },
      stdio: ['ignore', output, output, 'ipc'],
    });
    closeSync(output);
    const subject = new Subject(name, child, port, isService);
    this.#running.add(subject);
    child.once('exit', (code, signal) => {
      if (!this.#running.delete(subject)) return;
      const said = readFileSync(log, 'utf8').trim().slice(-LOG_SHOWN);
      this.#fail(
        new Error(`The process ${name} ended by itself (${signal ?? `code ${code}`}). It said: ${said || 'nothing'}`),
      );
    });
    return subject;
  }

  /** A folder with that handler only. */
  #handlers(handler: HandlerName): string {
    const folder = join(this.#folder, `handlers-${handler}`);
    mkdirSync(folder, { recursive: true });
    if (handler === 'none') return folder;
    const module = new URL(`./${handler}-handler.ts`, import.meta.url);
    writeFileSync(join(folder, 'bench.mjs'), `export * from '${module}';\n`);
    return folder;
  }

  async #listening(subject: Subject): Promise<void> {
    const deadline = performance.now() + START_PATIENCE_MS;
    while (this.#running.has(subject)) {
      const answer = await fetch(`http://127.0.0.1:${subject.port}/readyz`).catch(() => undefined);
      await answer?.arrayBuffer();
      if (answer?.ok) return;
      if (performance.now() > deadline) throw new Error(`The process ${subject.name} does not answer.`);
      await delay(20);
    }
    await this.failed;
  }
}

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Question } from '../../src/client/index.ts';
import type { Host } from './hosts.ts';
import { Model } from './model.ts';
import { commandsLeft, endCommands, killHost } from './processes.ts';
import { type Service, startService } from './service.ts';
import { Terminal } from './terminal.ts';
import { until } from './until.ts';

/** A host starts within this time, also on a busy machine. Milliseconds. */
const START_MS = 60_000;
/** Of a second service. The first one has the port that hosts look for. */
const GUARDED_PORT = 4011;
/** What follows from an act comes within this time. Milliseconds. */
const SOON_MS = 30_000;

type Env = Record<string, string>;

export interface Scenario {
  /** Also the name of the project's folder. */
  name: string;
  /** What it shows, in one line. */
  shows: string;
  run(stage: Stage): Promise<void>;
}

/** A run of a host without a terminal. */
export interface Printing {
  /** Its output so far. */
  readonly out: string;
  ended: Promise<{ code: number | null; out: string; err: string }>;
}

/** A host, its scripted model, its person in another shell, and what can be seen of them. Each scenario has one. */
export class Stage {
  readonly run_id: string;
  readonly model: Model;
  readonly project: string;
  readonly #host: Host;
  readonly #service: Service;
  readonly #folder: string;
  readonly #home: string;
  readonly #children: ChildProcess[] = [];
  #terminal: Terminal | undefined;
  #guarded: Service | undefined;
  /** What the last run without a terminal has said, if it has ended. */
  #said: { out: string; err: string } | undefined;
  #env: Env = {};

  constructor(host: Host, service: Service, folder: string, name: string) {
    this.#host = host;
    this.#service = service;
    this.#folder = folder;
    this.run_id = `${name}@main`;
    this.#home = join(folder, 'home');
    this.project = join(folder, name);
    this.model = new Model(host.dialect);
  }

  /** Prepares the host as a person does who has used it before. */
  async open(): Promise<void> {
    const place = { home: this.#home, project: this.project, model: await this.model.listen() };
    for (const folder of [place.home, place.project, join(this.#folder, 'ana')]) mkdirSync(folder, { recursive: true });
    // Folder and branch are the run. Without a repository here, one around the folder would count.
    spawnSync('git', ['init', '--quiet', '--initial-branch=main', place.project]);
    // A login shell sets a PATH of its own.
    const files = {
      ...this.#host.files(place),
      [join(place.home, '.bash_profile')]: `PATH='${this.#service.bin}':$PATH\n`,
    };
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
    this.#env = {
      PATH: `${this.#service.bin}:${process.env.PATH}`,
      HOME: this.#home,
      TERM: 'xterm-256color',
      LANG: 'C.UTF-8',
      SHELL: '/bin/bash',
      ...this.#host.env(place),
    };
  }

  /** Installs the hooks of Forumbus. */
  install(...args: string[]): void {
    this.#forumbus(['install', this.#host.name, ...args], this.#env, this.project);
  }

  /** The address of the service. */
  get url(): string {
    return this.#service.url;
  }

  /** Starts a service of the scenario's own: tokens would close the other one for the scenarios that follow. */
  async guarded(): Promise<Service> {
    this.#guarded = await startService(this.#folder, GUARDED_PORT);
    return this.#guarded;
  }

  /** The address of the MCP server for the agent. */
  get mcpUrl(): string {
    return `${this.url}/mcp?run=${encodeURIComponent(this.run_id)}&agent=${this.#host.name}`;
  }

  /** Lets Claude Code call the service itself for its questions. */
  writeHttpHooks(): void {
    const url = `${this.#service.url}/hooks/claude?run=${encodeURIComponent(this.run_id)}`;
    const events = ['PermissionRequest', 'PostToolUse', 'PostToolBatch', 'Stop', 'UserPromptSubmit'];
    const hooks = Object.fromEntries(events.map(event => [event, [{ hooks: [{ type: 'http', url, timeout: 600 }] }]]));
    writeFileSync(join(this.project, '.claude/settings.json'), JSON.stringify({ hooks }));
  }

  /** Runs the host without a terminal. */
  print(args: readonly string[], env: Env = {}): Printing {
    const child = spawn(this.#host.program, args, {
      cwd: this.project,
      env: { ...this.#env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.push(child);
    const said = { out: '', err: '' };
    for (const [name, from] of [['out', child.stdout] as const, ['err', child.stderr] as const]) {
      from.setEncoding('utf8').on('data', (text: string) => {
        said[name] += text;
      });
    }
    this.#said = undefined;
    const ended = once(child, 'close').then(([code]) => {
      // One that was killed may end after the next has begun.
      if (child === this.#children.at(-1)) this.#said = said;
      return { code, ...said };
    });
    return {
      get out() {
        return said.out;
      },
      ended,
    };
  }

  /** Runs the host in a terminal. */
  terminal(args: readonly string[], env: Env = {}): Terminal {
    this.#terminal?.close();
    this.#terminal = new Terminal({
      command: [this.#host.program, ...args],
      cwd: this.project,
      env: { ...this.#env, ...env },
      socket: join(this.#folder, 'tmux'),
    });
    return this.#terminal;
  }

  /** Kills the host as if memory had run out: it can tell nobody. */
  kill(): void {
    killHost(this.#host.folder);
  }

  /** The only open question of the run, as soon as it is there. */
  asked(): Promise<Question> {
    return until(
      async () => {
        const { items } = await this.#service.person.questions({ run_id: this.run_id, state: 'open' });
        if (items.length > 1) throw new Error(`${items.length} questions are open.`);
        if (items.length === 0 && this.#said) throw new Error(`The host has ended: ${this.#said.out}${this.#said.err}`);
        const [question] = items;
        if (question && question.agent_name !== this.#host.name) {
          throw new Error(`The question is by ${question.agent_name}, not by ${this.#host.name}.`);
        }
        return question;
      },
      START_MS,
      () => `no question has come; the model was told\n${this.model.turns.at(-1)?.told.slice(-1)}`,
    );
  }

  /** A person answers in another shell. */
  answer(question_id: string, answer: string): void {
    const env = { PATH: this.#env.PATH ?? '', HOME: join(this.#folder, 'ana') };
    this.#forumbus(['answer', question_id, answer], env, env.HOME);
  }

  /** Waits until a question has ended, and compares some of its fields. */
  async is(question_id: string, fields: Partial<Question>): Promise<void> {
    const question = await until(
      async () => {
        const now = await this.#service.person.question(question_id);
        return now.state === 'open' ? undefined : now;
      },
      SOON_MS,
      () => `${question_id} stays open`,
    );
    const found = Object.fromEntries(Object.keys(fields).map(name => [name, question[name as keyof Question]]));
    const [is, should] = [found, fields].map(value => JSON.stringify(value));
    if (is !== should) throw new Error(`${question_id} is ${is}, not ${should}.`);
  }

  /** Checks that the run has one question. */
  async onlyAsked(question_id: string): Promise<void> {
    const { items } = await this.#service.person.questions({ run_id: this.run_id });
    const ids = items.map(item => item.question_id);
    if (ids.join() !== question_id)
      throw new Error(`The run has the questions ${ids.join(', ')}, not ${question_id} only.`);
  }

  /** Waits until the model has been told a text. */
  async told(text: string, ms = START_MS): Promise<void> {
    await until(
      () => this.model.count(text) > 0,
      ms,
      () => `the model is not told "${text}", but\n${this.model.turns.at(-1)?.told.slice(-1)}`,
    );
  }

  /** Waits until the model has at most so many steps of its script left. */
  async played(left = 0): Promise<void> {
    await until(
      () => this.model.left <= left,
      START_MS,
      () => `the model has ${this.model.left} steps left; it was told\n${this.model.turns.at(-1)?.told.slice(-1)}`,
    );
  }

  /** Checks that the model was not told a text. */
  async neverTold(text: string): Promise<void> {
    await this.played();
    if (this.model.count(text) > 0) throw new Error(`The model was told "${text}".`);
  }

  /** Checks that the model was told a text once, and that nothing of the run is left to be told. */
  async toldOnce(text: string): Promise<void> {
    await this.told(text);
    const agent = `${this.#service.url}/control-threads/${encodeURIComponent(this.run_id)}/${this.#host.name}/inbox`;
    let left = '';
    await until(
      async () => {
        left = await (await fetch(agent)).text();
        return JSON.parse(left).items.length === 0;
      },
      SOON_MS,
      () => `the inbox still has ${left}`,
    );
    const count = this.model.count(text);
    if (count !== 1)
      throw new Error(`The model was told "${text}" ${count} times:\n${this.model.turns.at(-1)?.told.join('\n')}`);
  }

  /** Checks that no hook and no command outlives what it served. @param expected those that may go on */
  async nothingRuns(expected = /^$/): Promise<void> {
    const left = () => commandsLeft().filter(command => !expected.test(command));
    await until(
      () => left().length === 0,
      SOON_MS,
      () => `still running: forumbus ${left().join(', forumbus ')}`,
    );
  }

  /** Ends all processes of the scenario, and writes down what the model was told. */
  async close(): Promise<void> {
    this.#terminal?.close();
    this.kill();
    for (const child of this.#children) child.kill('SIGKILL');
    endCommands();
    this.model.close();
    writeFileSync(join(this.#folder, 'turns.json'), JSON.stringify(this.model.turns, null, 2));
    await this.#guarded?.stop();
  }

  #forumbus(args: string[], env: Env, cwd: string): void {
    const { status, stderr } = spawnSync(join(this.#service.bin, 'forumbus'), args, { env, cwd, encoding: 'utf8' });
    if (status !== 0) throw new Error(`\`forumbus ${args.join(' ')}\` fails: ${stderr}`);
  }
}

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** How long a process may take to end when it is asked to. Milliseconds. */
const STOP_PATIENCE_MS = 15_000;
/** How many processes may end by themselves before no other is started in their place. The run has failed at the first. */
const ENDS_BORNE = 5;

/** One real `node src/main.ts`. */
export class Service {
  readonly pid: number;
  readonly startedAt = Date.now();
  /** When it said that it listens; epoch milliseconds. */
  listeningAt: number | undefined;
  origin = '';
  /** A stopped process takes connections and answers nothing. */
  stopped = false;
  /** How often it had to give a lane its head. */
  mended = 0;
  staleAcks = 0;
  /** Its place in the fleet, which a successor takes over. */
  readonly slot: number;
  readonly exited: Promise<void>;
  readonly listening: Promise<void>;
  /** Whether its end was asked for. */
  #expected = false;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;

  constructor(slot: number, env: Record<string, string>, log: WriteStream, onUnexpectedEnd: (reason: string) => void) {
    this.slot = slot;
    this.#child = spawn(process.execPath, [MAIN], {
      // Whoever runs this may have Node keep what it has compiled.
      env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.pid = this.#child.pid ?? 0;
    this.#child.stderr.pipe(log, { end: false });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.listening = promise;
    createInterface(this.#child.stdout).on('line', line => {
      log.write(`${line}\n`);
      if (line.includes('"stale ack')) this.staleAcks += 1;
      if (line.includes('"gave a head to lanes')) this.mended += 1;
      if (!line.includes('"listening"')) return;
      const { port, time } = JSON.parse(line);
      this.origin = `http://127.0.0.1:${port}`;
      this.listeningAt = time;
      resolve();
    });
    this.exited = once(this.#child, 'close').then(([code, signal]) => {
      if (!this.#expected) onUnexpectedEnd(`process ${this.pid} ended by itself (${signal ?? `code ${code}`})`);
    });
  }

  get isUp(): boolean {
    const { exitCode, signalCode } = this.#child;
    return this.origin !== '' && !this.stopped && exitCode === null && signalCode === null && !this.#expected;
  }

  signal(signal: NodeJS.Signals): void {
    if (signal === 'SIGKILL' || signal === 'SIGTERM') this.#expected = true;
    this.stopped = signal === 'SIGSTOP';
    this.#child.kill(signal);
  }
}

/** The processes, and which of them can be spoken to. */
export class Fleet {
  /** Every process that there has been. */
  readonly past: Service[] = [];
  /** Processes that ended though nobody had asked them to. */
  readonly unexpected: string[] = [];
  readonly #env: (slot: number, started: number) => Record<string, string>;
  readonly #log: WriteStream;
  readonly #cancelled: AbortSignal;
  #running: Service[] = [];
  #closing = false;
  #change = Promise.withResolvers<void>();

  /** @param env of a process in a slot; `started` counts those before it */
  constructor(folder: string, env: (slot: number, started: number) => Record<string, string>, cancelled: AbortSignal) {
    this.#env = env;
    this.#cancelled = cancelled;
    cancelled.addEventListener('abort', () => this.changed());
    this.#log = createWriteStream(join(folder, 'services.log'));
    // The last net, also under Ctrl-C: no process outlives this one.
    process.once('exit', () => this.killAll());
  }

  get up(): Service[] {
    return this.#running.filter(service => service.isUp);
  }

  /** The running process of a slot. */
  inSlot(slot: number): Service | undefined {
    return this.#running.find(service => service.slot === slot);
  }

  /** Whether so many processes have ended by themselves that the run is over. */
  get hasFailed(): boolean {
    return this.unexpected.length >= ENDS_BORNE || this.#cancelled.aborted;
  }

  /** Starts one process in a slot and answers when it listens. */
  async start(slot: number): Promise<Service> {
    const service: Service = new Service(slot, this.#env(slot, this.past.length), this.#log, reason => {
      this.unexpected.push(reason);
      this.#running = this.#running.filter(other => other !== service);
      if (this.unexpected.length < ENDS_BORNE && !this.#closing && !this.#cancelled.aborted) void this.start(slot);
    });
    this.#running.push(service);
    this.past.push(service);
    await Promise.race([service.listening, service.exited]);
    this.changed();
    return service;
  }

  /** Ends a process, and starts another one in its place at once. */
  async replace(service: Service, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<Service> {
    service.signal(signal);
    const late = setTimeout(() => service.signal('SIGKILL'), STOP_PATIENCE_MS);
    await service.exited;
    clearTimeout(late);
    this.#running = this.#running.filter(other => other !== service);
    return this.start(service.slot);
  }

  /** Tells those who wait for a process that one may be there now. */
  changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  /** A process that can be spoken to, as soon as there is one. */
  async anyUp(pick: (up: Service[]) => Service): Promise<Service> {
    for (;;) {
      this.#cancelled.throwIfAborted();
      const { up } = this;
      if (up.length > 0) return pick(up);
      if (this.unexpected.length >= ENDS_BORNE) throw new Error(`No process stays up: ${this.unexpected[0]}.`);
      await this.#change.promise;
    }
  }

  /** Asks all to end and waits for them. */
  async stop(): Promise<void> {
    this.#closing = true;
    for (const service of this.#running) service.signal('SIGTERM');
    const late = setTimeout(() => this.killAll(), STOP_PATIENCE_MS);
    await Promise.all(this.#running.map(service => service.exited));
    clearTimeout(late);
    this.#log.end();
  }

  killAll(): void {
    for (const service of this.#running) service.signal('SIGKILL');
  }
}

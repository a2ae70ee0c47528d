import { expect } from 'vitest';
import type { Answer } from './app.ts';
import { expectProblem } from './problems.ts';
import { type ServiceProcess, send } from './process.ts';
import { signal } from './signals.ts';

/** Signals that several clients send without a pause, each under an idempotency key of its own. */
export class Load {
  /** The signals that were acknowledged, by their keys. */
  readonly acknowledged = new Map<string, string>();
  /** Keys of requests that were refused with 503 or not answered. */
  readonly open = new Set<string>();
  /** The longest that a request has taken. Milliseconds. */
  slowest = 0;
  readonly #origin: string;
  readonly #clients: Promise<void>[];
  #going = true;
  #sent = 0;

  constructor(origin: string, clients = 8) {
    this.#origin = origin;
    this.#clients = Array.from({ length: clients }, (_, client) => this.#send(client));
  }

  async stop(): Promise<void> {
    this.#going = false;
    await Promise.all(this.#clients);
  }

  /** Sends again, under its key, what has no answer. */
  async repeat(): Promise<void> {
    for (const key of [...this.open]) await this.#one(key);
    expect([...this.open]).toEqual([]);
  }

  async #send(client: number): Promise<void> {
    while (this.#going) {
      this.#sent += 1;
      await this.#one(`${client}-${this.#sent}`);
    }
  }

  async #one(key: string): Promise<void> {
    const [client] = key.split('-');
    const begun = performance.now();
    const body = signal('completion', { run_id: `run-${client}`, summary: key });
    this.open.add(key);
    const answer = await send(this.#origin, 'POST', '/control-signals', body, { 'idempotency-key': key });
    this.slowest = Math.max(this.slowest, performance.now() - begun);
    if (answer.status === 201) {
      this.acknowledged.set(key, answer.body.signal.signal_id);
      this.open.delete(key);
    } else expectUnavailable(answer);
  }
}

/** A 503 that says when to come back, or that the outcome is unknown, so that a repetition could have a second effect. */
export function expectUnavailable(answer: Answer): void {
  expectProblem(answer, 'SERVICE_UNAVAILABLE');
  if (answer.headers['retry-after'] === undefined) expect(answer.body).toMatchObject({ outcome: 'unknown' });
  else expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
}

/** What is stored of a load: each signal once, and all that were acknowledged. */
export async function expectStored(service: ServiceProcess, load: Load): Promise<void> {
  const stored = new Map<string, string>();
  for (let after = 0; ; ) {
    const path = `/events?event_type=forum.control.signal&limit=200&after=${after}`;
    const { items } = (await service.send('GET', path)).body;
    for (const { payload } of items) {
      if (!/^\d+-\d+$/.test(payload.summary)) continue;
      expect(stored.has(payload.summary), `${payload.summary} is stored twice`).toBe(false);
      stored.set(payload.summary, payload.signal_id);
    }
    if (items.length < 200) break;
    after = items.at(-1).sequence;
  }
  for (const [key, id] of load.acknowledged) expect(stored.get(key), key).toBe(id);
  const unknown = [...stored.keys()].filter(key => !load.acknowledged.has(key) && !load.open.has(key));
  expect(unknown).toEqual([]);
}

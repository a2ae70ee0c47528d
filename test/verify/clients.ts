import { setTimeout as delay } from 'node:timers/promises';
import type { Fleet } from './fleet.ts';
import type { Options } from './options.ts';
import type { Random } from './random.ts';

/** A signal that was answered with 201. */
export interface Acknowledged {
  signal_id: string;
  sequence: number;
  thread_id: string;
  correlation_id: string;
}

/** A request hangs while its process is stopped; much longer than that, and it is given up. Milliseconds. */
const PATIENCE_MS = 30_000;
/** Before a client sends again that got no 201: a server that is down must not be flooded. Milliseconds. */
const PAUSE_MS = 20;

/** Clients that send until enough signals have been acknowledged, and what they were told. */
export class Clients {
  /** In the order of the answers; within a lane that is the order in which they were sent. */
  readonly acknowledged: Acknowledged[] = [];
  readonly latencies: number[] = [];
  /** The correlation id of every signal that was sent; each is sent once. */
  readonly sent = new Set<string>();
  /** Sent, and not known whether stored: no answer, or a 503. */
  readonly unknown = new Set<string>();
  /** Answers that no valid signal should get. */
  readonly wrong: string[] = [];
  readonly #options: Options;
  readonly #fleet: Fleet;
  readonly #random: Random;
  #begun = 0;
  #allowed = 0;
  #change = Promise.withResolvers<void>();

  constructor(options: Options, fleet: Fleet, random: Random) {
    this.#options = options;
    this.#fleet = fleet;
    this.#random = random;
  }

  /** Answers when all signals have been acknowledged. */
  async run(): Promise<void> {
    const { clients, lanes } = this.#options;
    const all = Array.from({ length: lanes }, (_, lane) => lane);
    await Promise.all(
      Array.from({ length: clients }, async (_, client) => {
        const own = all.filter(lane => lane % clients === client);
        while (this.#begun < this.#options.signals) {
          if (this.#begun >= this.#allowed) {
            await this.#change.promise;
            continue;
          }
          this.#begun += 1;
          while (!(await this.#send(this.#random.pick(own)))) await delay(PAUSE_MS);
        }
      }),
    );
  }

  /** Up to how many signals may be sent by now, so that the load lasts as long as the disruption. */
  allow(count: number): void {
    this.#allowed = count;
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  /** Sends one new signal. False if it was not acknowledged. */
  async #send(lane: number): Promise<boolean> {
    const service = await this.#fleet.anyUp(up => this.#random.pick(up));
    const correlation_id = `verify-${this.sent.size + 1}`;
    this.sent.add(correlation_id);
    const begun = performance.now();
    try {
      const response = await fetch(`${service.origin}/control-signals`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(this.#signal(lane, correlation_id)),
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const body = (await response.json()) as { signal: Acknowledged; code?: string; detail?: string };
      if (response.status === 201) {
        this.latencies.push(performance.now() - begun);
        const { signal_id, sequence, thread_id } = body.signal;
        this.acknowledged.push({ signal_id, sequence, thread_id, correlation_id });
        return true;
      }
      if (response.status !== 503) this.wrong.push(`${correlation_id}: ${response.status} ${body.code} ${body.detail}`);
    } catch {
      // The connection broke, and with it the answer.
    }
    this.unknown.add(correlation_id);
    return false;
  }

  #signal(lane: number, correlation_id: string): Record<string, unknown> {
    const agent = { run_id: `verify-run-${lane % 7}`, agent_name: `agent-${lane}` };
    const common = { schema_version: 1, ...agent, correlation_id };
    return this.#random.next() < 0.7
      ? { ...common, control_type: 'completion', summary: 'Done, as far as this agent can tell.' }
      : { ...common, control_type: 'guidance_request', question: 'Which region?' };
  }
}

import { setTimeout as delay } from 'node:timers/promises';
import type { Fleet } from './fleet.ts';
import type { Random } from './random.ts';

const PAUSE_MS = 300;
const PATIENCE_MS = 30_000;

/** The operator of the bus: replays or discards each delivery that blocks its lane, and replays the other dead ones last. */
export class Operator {
  /** Answers that it should not get. */
  readonly wrong: string[] = [];
  readonly counts = { replayed: 0, discarded: 0 };
  readonly #fleet: Fleet;
  readonly #random: Random;
  #stopped = false;

  constructor(fleet: Fleet, random: Random) {
    this.#fleet = fleet;
    this.#random = random;
  }

  /** Looks for blocked lanes until `stop`. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      await this.#unblock();
      await delay(PAUSE_MS);
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  async #unblock(): Promise<void> {
    const stats = await this.#request('GET', '/outbox/stats');
    const lanes = (stats?.blocked_lanes ?? []) as { message_id: string; consumer: string }[];
    for (const { message_id, consumer } of lanes) {
      const act = this.#random.next() < 0.5 ? 'replay' : 'discard';
      const done = await this.#request('POST', `/outbox/${message_id}/${act}?consumer=${consumer}`);
      if (done) this.counts[act === 'replay' ? 'replayed' : 'discarded'] += 1;
    }
  }

  /** Replays what is dead and blocks nothing. */
  async replayDead(): Promise<void> {
    let answer = await this.#request('POST', '/outbox/replay', { status: 'dead' });
    // A process that was stopped may shed load for a while; a request that was cut off may have been heard.
    while (!answer && this.wrong.length === 0) {
      await delay(PAUSE_MS);
      answer = await this.#request('POST', '/outbox/replay', { status: 'dead' });
    }
    this.counts.replayed += Number(answer?.replayed ?? 0);
  }

  /** The body of a 2xx; undefined without one. */
  async #request(method: string, path: string, body?: object): Promise<Record<string, unknown> | undefined> {
    try {
      const service = await this.#fleet.anyUp(up => this.#random.pick(up));
      const response = await fetch(`${service.origin}${path}`, {
        method,
        ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const answer = (await response.json()) as Record<string, unknown>;
      if (response.ok) return answer;
      // A repeat after an answer that did not come finds it done.
      const borne = response.status === 503 || answer.code === 'MESSAGE_STATUS_CONFLICT';
      if (!borne) this.wrong.push(`${method} ${path}: ${response.status} ${answer.code} ${answer.detail}`);
    } catch (error) {
      if (this.#fleet.hasFailed) throw error;
    }
    return undefined;
  }
}

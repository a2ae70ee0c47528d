import type { Clock } from '../clock.ts';
import type { Database } from '../db/database.ts';
import type { Logger } from '../logging.ts';
import type { AgentName, Control } from './service.ts';

/** A wait or read of an agent is stored at most once in this time. Milliseconds. */
const RENEW_MS = 30_000;
/** Sightings are gathered for this long, so that one write stores those of all agents. Milliseconds. */
const GATHER_MS = 1000;

interface Dependencies {
  db: Pick<Database, 'write'>;
  control: Pick<Control, 'seen'>;
  clock: Clock;
  log: Logger;
}

/** Stores that agents wait and read, at most once in 30 seconds per agent. No request waits for it. */
export class Sightings {
  readonly #deps: Dependencies;
  /** When agents were last noted, by their names. What is older than {@link RENEW_MS} is dropped. */
  readonly #noted = new Map<string, number>();
  #seen = new Map<string, AgentName & { at: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(dependencies: Dependencies) {
    this.#deps = dependencies;
  }

  /** Notes that an agent waits or reads. */
  note({ run_id, agent_name }: AgentName): void {
    const now = this.#deps.clock.now();
    const key = JSON.stringify([run_id, agent_name]);
    if (now - (this.#noted.get(key) ?? Number.NEGATIVE_INFINITY) < RENEW_MS) return;
    this.#noted.set(key, now);
    this.#seen.set(key, { run_id, agent_name, at: now });
    this.#timer ??= setTimeout(() => void this.#store(), GATHER_MS).unref();
  }

  /** Drops the sightings of the last second. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#seen.clear();
  }

  async #store(): Promise<void> {
    const seen = this.#seen;
    this.#seen = new Map();
    this.#timer = undefined;
    const { db, control, clock, log } = this.#deps;
    for (const [key, at] of this.#noted) if (clock.now() - at >= RENEW_MS) this.#noted.delete(key);
    try {
      const touches = [...seen.values()].map(({ run_id }) => `run ${run_id}` as const);
      await db.write(
        async tx => {
          for (const { at, ...agent } of seen.values()) control.seen(tx, agent, at, RENEW_MS);
        },
        { touches },
      );
    } catch (error) {
      // Debug only: the next wait is noted again, and requests report an unavailable database themselves.
      log.debug({ err: error }, 'could not store when agents were last seen');
    }
  }
}

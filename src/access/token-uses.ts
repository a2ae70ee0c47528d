import type { Clock } from '../clock.ts';
import type { Database } from '../db/database.ts';
import type { Logger } from '../logging.ts';
import { setUsed, type TokenRow } from './repository.ts';

/** A stored `last_used_at` is renewed after this time. Milliseconds. */
const RENEW_MS = 60_000;
/** Uses are gathered for this long, so that one write stores those of all tokens. Milliseconds. */
const GATHER_MS = 1000;

interface Dependencies {
  db: Pick<Database, 'write'>;
  clock: Clock;
  log: Logger;
}

/** Stores when tokens were last used: at most once a minute per token, and never while a request waits for it. */
export class TokenUses {
  readonly #deps: Dependencies;
  #uses = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(dependencies: Dependencies) {
    this.#deps = dependencies;
  }

  /** Notes the use of a valid token. */
  note({ token_id, last_used_at }: Pick<TokenRow, 'token_id' | 'last_used_at'>): void {
    const now = this.#deps.clock.now();
    if (last_used_at !== null && now - last_used_at < RENEW_MS) return;
    this.#uses.set(token_id, now);
    this.#timer ??= setTimeout(() => void this.#store(), GATHER_MS).unref();
  }

  /** Drops the uses of the last second. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#uses.clear();
  }

  async #store(): Promise<void> {
    const uses = this.#uses;
    this.#uses = new Map();
    this.#timer = undefined;
    try {
      await this.#deps.db.write(async tx => {
        for (const [tokenId, at] of uses) setUsed(tx, tokenId, at, RENEW_MS);
      });
    } catch (error) {
      // Debug only: the next use is noted again, and requests report an unavailable database themselves.
      this.#deps.log.debug({ err: error }, 'could not store the last use of tokens');
    }
  }
}

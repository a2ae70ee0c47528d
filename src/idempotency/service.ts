import type { Clock } from '../clock.ts';
import type { Database, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import { deleteKeys, findKey, type KeyRow, putKey } from './repository.ts';

/** How long an answer is kept under its key. Milliseconds. */
const KEPT_MS = 24 * 3_600_000;
/** Keys that one transaction deletes. */
const DELETE_BATCH = 500;

/** A request that may come again. Keys belong to the caller who uses them. */
export interface RepeatableRequest {
  caller: string;
  key: string;
  /** Tells requests apart: the same for the same method, path and body. */
  fingerprint: string;
}

/** An answer as it left the service. */
export interface StoredAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** What was answered to requests with an idempotency key, so that a repeated one has no second effect. */
export function createIdempotencyKeys({ db, clock }: { db: Database; clock: Clock }) {
  /** @throws Refusal IDEMPOTENCY_KEY_REUSED */
  function stored(row: KeyRow | undefined, { key, fingerprint }: RepeatableRequest): StoredAnswer | undefined {
    if (!row || row.created_at <= clock.now() - KEPT_MS) return undefined;
    if (row.fingerprint !== fingerprint) {
      throw new Refusal('IDEMPOTENCY_KEY_REUSED', `The idempotency key ${key} was used for another request.`);
    }
    return { status: row.status, headers: JSON.parse(row.headers), body: row.body };
  }

  async function find(tx: Tx, request: RepeatableRequest): Promise<StoredAnswer | undefined> {
    return stored(await findKey(tx, request.caller, request.key), request);
  }

  function put(tx: Tx, request: RepeatableRequest, answer: StoredAnswer): void {
    const { caller, key: idempotency_key, fingerprint } = request;
    const { status, headers, body } = answer;
    const row = { caller, idempotency_key, fingerprint, status, headers: JSON.stringify(headers), body };
    putKey(tx, { ...row, created_at: clock.now() });
  }

  return {
    put,

    /** The answer to this request, if it was made before. @throws Refusal IDEMPOTENCY_KEY_REUSED */
    find,

    /**
     * The answer to this request: the stored one, or that of `work`, stored in the transaction of its effect.
     * Writes take turns, so of requests that come together one works and the others find its answer.
     * @throws Refusal IDEMPOTENCY_KEY_REUSED, and what `work` throws; nothing is stored then
     */
    async once(
      tx: Tx,
      request: RepeatableRequest,
      work: () => Promise<StoredAnswer>,
    ): Promise<{ answer: StoredAnswer; replayed: boolean }> {
      const known = await find(tx, request);
      if (known) return { answer: known, replayed: true };
      const answer = await work();
      put(tx, request, answer);
      return { answer, replayed: false };
    },

    /** Forgets the keys that are too old, a few at a time. */
    async deleteOld(): Promise<void> {
      const before = clock.now() - KEPT_MS;
      while ((await db.write(tx => deleteKeys(tx, before, DELETE_BATCH))) === DELETE_BATCH);
    },
  };
}

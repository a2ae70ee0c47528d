import type { Clock } from '../clock.ts';
import type { Database, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import {
  deleteKeys,
  ERASED_STATUS,
  eraseStoredAnswers,
  findKey,
  hasOldKeys,
  type KeyRow,
  putKey,
} from './repository.ts';

/** The lifetime of a stored answer. Milliseconds. */
const LIFETIME_MS = 24 * 3_600_000;
/** The number of keys that one transaction deletes at most. */
const DELETE_BATCH = 500;

/** A request that its caller may repeat. Each caller has its own keys. */
export interface RepeatableRequest {
  caller: string;
  key: string;
  /** Equal for requests with the same method, path and body. */
  fingerprint: string;
  /** Whether the key alone names the request: it may come again with another body. */
  keyNamesIt?: boolean;
}

/** The largest body that is stored. Bytes. */
const STORED_BYTES = 16_384;

/** The answer that the service sent. Without a body, the answer was given in another form; its reference stands for it. */
export interface Sent {
  status: number;
  headers: Record<string, string>;
  body: string | null;
  /** Identifies the effect of the request, from which the route can build the body again. */
  reference?: string | undefined;
  /** What the answer is about: it is erased with the texts of the run. */
  about?: { run_id?: string | undefined; thread_id?: string | undefined } | undefined;
}

/** An answer as stored. The body of a large one is null; its reference stands for it. */
export interface StoredAnswer extends Omit<Sent, 'body'> {
  body: string | null;
}

export type IdempotencyKeys = ReturnType<typeof createIdempotencyKeys>;

/**
 * Stores the answers to requests with an idempotency key, or references to their effects. So a repeated request has no
 * second effect.
 */
export function createIdempotencyKeys({ db, clock }: { db: Database; clock: Clock }) {
  /** The answer in a row, unless it has expired. @throws Refusal IDEMPOTENCY_KEY_REUSED */
  function answerIn(
    row: KeyRow | undefined,
    { key, fingerprint, keyNamesIt }: RepeatableRequest,
  ): StoredAnswer | undefined {
    if (!row || row.created_at <= clock.now() - LIFETIME_MS) return undefined;
    if (row.fingerprint !== fingerprint && !keyNamesIt) {
      throw new Refusal('IDEMPOTENCY_KEY_REUSED', `The idempotency key ${key} belongs to another request.`);
    }
    if (row.erasing || row.status === ERASED_STATUS) {
      throw new Refusal('RUN_ERASED', 'The request was answered before, and its run was erased since.');
    }
    const { status, body, reference } = row;
    const headers = JSON.parse(row.headers);
    return reference === null ? { status, headers, body } : { status, headers, body: body || null, reference };
  }

  async function find(tx: Tx, request: RepeatableRequest): Promise<StoredAnswer | undefined> {
    return answerIn(await findKey(tx, request.caller, request.key), request);
  }

  function put(tx: Tx, request: RepeatableRequest, answer: Sent): void {
    const { caller, key: idempotency_key, fingerprint } = request;
    const { status, headers, body, reference, about: { run_id = null, thread_id = null } = {} } = answer;
    // What a key costs must not depend on what else the answer shows.
    const isLarge = reference !== undefined && Buffer.byteLength(body ?? '') > STORED_BYTES;
    const stored = { body: isLarge ? '' : (body ?? ''), reference: reference ?? null };
    const row = { caller, idempotency_key, fingerprint, status, headers: JSON.stringify(headers), ...stored };
    putKey(tx, { ...row, created_at: clock.now(), run_id, thread_id });
  }

  return {
    /** Stores the answer to a request. */
    put,

    /** The stored answer to this request, if there is one. @throws Refusal IDEMPOTENCY_KEY_REUSED */
    find,

    /**
     * Returns the stored answer, or runs `work` and stores its answer in the same transaction. Writes with the same key
     * follow one another. So of concurrent equal requests the first runs `work` and the others get its answer.
     * @throws Refusal IDEMPOTENCY_KEY_REUSED, and any error of `work`; then no answer is stored
     */
    async once<S extends Sent>(
      tx: Tx,
      request: RepeatableRequest,
      work: () => Promise<S>,
    ): Promise<{ replayed: true; answer: StoredAnswer } | { replayed: false; answer: S }> {
      const known = await find(tx, request);
      if (known) return { replayed: true, answer: known };
      const answer = await work();
      put(tx, request, answer);
      return { replayed: false, answer };
    },

    /** Erases up to `limit` answers about a run; a repeated request is refused. @returns how many */
    erase: (tx: Tx, run_id: string, limit: number): Promise<number> => eraseStoredAnswers(tx, run_id, limit),

    /** Deletes expired keys, in batches. */
    async deleteOld(): Promise<void> {
      const before = clock.now() - LIFETIME_MS;
      // A write that changes nothing would still stop those of all processes.
      while (await hasOldKeys(db.read, before)) await db.write(tx => deleteKeys(tx, before, DELETE_BATCH));
    },
  };
}

import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Database, Tx } from '../db/database.ts';
import type { Touched, WriteOptions } from '../db/group-commit.ts';
import { nameIn } from '../text.ts';
import { etagOf } from './etags.ts';
import { badHeader } from './problems.ts';

/** The answer of a write, before it is serialized. */
interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
  /**
   * Identifies the effect of the write. An answer that is too large to store is built again from it (see `Rebuild`).
   * Routes whose answers may be large set it.
   */
  reference?: string;
}

/** A serialized answer, as it is sent. */
interface Sent {
  status: number;
  headers: Record<string, string>;
  body: string;
  reference?: string | undefined;
  /** What the answer is about. */
  about?: About | undefined;
}

/** A run, or a thread that may be of one. */
interface About {
  run_id?: string | undefined;
  thread_id?: string | undefined;
}

/** An answer as stored. The body of a large one is null; its reference stands for it. */
interface StoredAnswer extends Omit<Sent, 'body'> {
  body: string | null;
}

/** Builds the body of an answer from its reference: the same effect, beside the current state. */
type Rebuild = (tx: Tx, reference: string) => Promise<unknown>;

/** A request with an idempotency key. `fingerprint` hashes its method, its path, and its body with normalized names. */
interface RepeatableRequest {
  caller: string;
  key: string;
  fingerprint: string;
  keyNamesIt?: boolean;
}

/** A write that is a request of HTTP in another form. */
interface Twin {
  /** The idempotency key of the request. It alone names it, so the body of a repetition may differ. */
  key: string;
  /** The path of the POST, without a query. */
  path: string;
  body: unknown;
  touches: readonly Touched[];
}

/** The effect of a write, without a body: `reference` identifies it. */
interface Effect extends Omit<Sent, 'body'> {
  body: null;
  reference: string;
}

interface Keys {
  find(tx: Tx, request: RepeatableRequest): Promise<StoredAnswer | undefined>;
  once<S extends Sent | Effect>(
    tx: Tx,
    request: RepeatableRequest,
    work: () => Promise<S>,
  ): Promise<{ replayed: true; answer: StoredAnswer } | { replayed: false; answer: S }>;
  put(tx: Tx, request: RepeatableRequest, answer: Sent): void;
}

/** Records requests that change something, in the transaction of the change. */
interface Trail {
  record(tx: Tx, request: FastifyRequest, status: number, answer: unknown): void;
}

export type IdempotentWrites = ReturnType<typeof createIdempotentWrites>;

/** Only HTTP writes may be shed under load: the caller can retry, the worker cannot. */
const SHEDDABLE = { sheddable: true } as const;

/** Methods that need a key: repeated without one, a POST has another effect, and a DELETE finds nothing. */
const KEYED = ['POST', 'DELETE'];

/** The header of every POST that writes, and of the DELETEs that answer 404 when there is nothing left to delete. */
export const IdempotentHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      description:
        'Makes the request safe to retry for 24 hours: the same key and body get the same answer, without a second effect.',
    }),
  ),
});

/**
 * Runs the writes of routes, one transaction per request. With an idempotency key the transaction also stores the
 * answer, and a retry gets it byte for byte. Of an answer above 16 KiB it stores a reference to the effect. A retry
 * gets the same effect from it, beside the current state.
 */
export function createIdempotentWrites({ db, keys, trail }: { db: Database; keys: Keys; trail: Trail }) {
  /** As `work`, and records what it has changed. */
  function recorded<T>(
    request: FastifyRequest,
    work: (tx: Tx) => Promise<T>,
    resultOf: (value: T) => { status: number; answer: unknown },
  ): (tx: Tx) => Promise<T> {
    return async tx => {
      const value = await work(tx);
      if (!tx.hasWritten) return value;
      const { status, answer } = resultOf(value);
      trail.record(tx, request, status, answer);
      return value;
    };
  }

  /**
   * As {@link write}, but does not send the answer.
   * @param touches as in `WriteOptions`, without the idempotency key
   */
  async function execute(
    request: FastifyRequest,
    reply: FastifyReply,
    work: (tx: Tx) => Promise<Answer>,
    touches?: readonly Touched[],
    rebuild?: Rebuild,
  ): Promise<{ answer: Sent; replayed: boolean }> {
    const repeatable = repeatableRequest(request);
    const act = recorded(request, work, ({ status, body }) => ({ status, answer: body }));
    if (!repeatable) {
      const answer = await writeFor(db, request, act, { ...SHEDDABLE, touches });
      return { answer: serialized(reply, answer), replayed: false };
    }
    const once = async (tx: Tx) => {
      const { answer, replayed } = await keys.once(tx, repeatable, async () => serialized(reply, await act(tx)));
      return { answer: await whole(tx, reply, answer, rebuild), replayed };
    };
    const { caller, key } = repeatable;
    return writeFor(db, request, once, {
      ...SHEDDABLE,
      touches: touches && [...touches, `key ${caller} ${key}` as const],
    });
  }

  // Fastify lets a handler return a reply that it has sent, but its types demand a body that fits the schema.
  function send(reply: FastifyReply, { answer, replayed }: { answer: Sent; replayed: boolean }): undefined {
    if (replayed) reply.header('idempotency-replayed', 'true');
    return reply
      .code(answer.status)
      .headers(answer.headers)
      .type('application/json; charset=utf-8')
      .serializer((text: string) => text)
      .send(answer.body) as unknown as undefined;
  }

  return {
    execute,
    send,

    /**
     * Runs `work` in a transaction, for an answer that is not its value, as those of MCP.
     * @param options `status` of the answer, and `touches` as in `WriteOptions`
     */
    perform<T>(
      request: FastifyRequest,
      work: (tx: Tx) => Promise<T>,
      { status = 200, touches }: { status?: number } & Pick<WriteOptions, 'touches'> = {},
    ): Promise<T> {
      const act = recorded(request, work, answer => ({ status, answer }));
      return writeFor(db, request, act, { ...SHEDDABLE, touches });
    },

    /**
     * As {@link execute}, for answers in another form: the same request over HTTP with the same key gets the same effect.
     * @returns the reference of the effect
     */
    async performOnce(
      request: FastifyRequest,
      { key, path, body, touches }: Twin,
      work: (tx: Tx) => Promise<Omit<Effect, 'body'>>,
    ): Promise<string> {
      const caller = request.caller.keyOwner;
      const repeatable = { caller, key, fingerprint: fingerprintOf('POST', path, body), keyNamesIt: true };
      const act = recorded(request, work, ({ status }) => ({ status, answer: body }));
      const once = async (tx: Tx) => {
        const { answer } = await keys.once(tx, repeatable, async () => ({ ...(await act(tx)), body: null }));
        if (answer.reference === undefined) throw new Error(`The answer of the key ${key} has no reference.`);
        return answer.reference;
      };
      return writeFor(db, request, once, { ...SHEDDABLE, touches: [...touches, `key ${caller} ${key}` as const] });
    },

    /**
     * Runs `work` in a transaction and sends its answer.
     * @param options `touches` as in `WriteOptions`, without the idempotency key
     * @throws Refusal VALIDATION_FAILED, IDEMPOTENCY_KEY_REUSED, and any of `work`; then nothing is stored
     */
    async write(
      request: FastifyRequest,
      reply: FastifyReply,
      work: (tx: Tx) => Promise<Answer>,
      { touches, rebuild }: { rebuild?: Rebuild } & Pick<WriteOptions, 'touches'> = {},
    ): Promise<undefined> {
      return send(reply, await execute(request, reply, work, touches, rebuild));
    },

    /**
     * Replaces the stored answer of a committed request: later retries get the new one. If a concurrent retry has already
     * replaced it, the answer of that retry wins.
     * @returns the answer to send
     */
    async revise(request: FastifyRequest, reply: FastifyReply, committed: Sent, answer: Answer): Promise<Sent> {
      const revised = serialized(reply, answer);
      const repeatable = repeatableRequest(request);
      if (!repeatable) return revised;
      return db.write(async tx => {
        const stored = await keys.find(tx, repeatable);
        if (stored && isWhole(stored) && stored.body !== committed.body) return stored;
        keys.put(tx, repeatable, revised);
        return revised;
      });
    },
  };
}

// In quotes, or bare without a quote at either end.
const KEY = /^(?:"([\x21-\x7e]{1,255})"|((?!")[\x21-\x7e]{1,255}(?<!")))$/;

/** Serializes an answer with the schema of its status, as Fastify does. */
function serialized(reply: FastifyReply, { status, body, headers = {}, reference }: Answer): Sent {
  const etag = etagOf(body);
  const all = etag === undefined ? headers : { ...headers, etag };
  const { run_id = nameAt(body, 'run_id') } = reply.request.params as About;
  const about = { run_id, thread_id: run_id === undefined ? nameAt(body, 'thread_id') : undefined };
  return { status, headers: all, body: String(reply.code(status).serialize(body)), reference, about };
}

/**
 * The depth at which a run is sought in an answer. It covers the event of a message, and the question of a list's first
 * item.
 */
const DEPTH = 3;

/** The first name in a member of an answer. It is that of a run or a thread, also where a payload says it in another form. */
function nameAt(value: unknown, member: string, depth = DEPTH): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const own = nameIn((value as Record<string, unknown>)[member]);
  if (own !== undefined) return own;
  if (depth === 0) return undefined;
  for (const part of Array.isArray(value) ? value.slice(0, 1) : Object.values(value)) {
    const found = nameAt(part, member, depth - 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isWhole(answer: StoredAnswer): answer is Sent {
  return answer.body !== null;
}

/** The answer with its body, built again if only a reference is stored. */
async function whole(tx: Tx, reply: FastifyReply, answer: StoredAnswer, rebuild?: Rebuild): Promise<Sent> {
  if (isWhole(answer)) return answer;
  const { status, headers, reference = '' } = answer;
  if (!rebuild) throw new Error(`The answer of ${reference} cannot be built again.`);
  return serialized(reply, { status, headers, body: await rebuild(tx, reference), reference });
}

/** @throws Refusal VALIDATION_FAILED if the idempotency key is malformed */
function repeatableRequest(request: FastifyRequest): RepeatableRequest | undefined {
  const { 'idempotency-key': header } = request.headers;
  if (header === undefined || !KEYED.includes(request.method)) return undefined;
  const [, quoted, bare] = KEY.exec(String(header)) ?? [];
  const key = quoted ?? bare;
  if (key === undefined) {
    throw badHeader('idempotency-key', 'must be 1 to 255 visible ASCII characters, in quotes or bare');
  }
  const { method, url, body, caller } = request;
  return { caller: caller.keyOwner, key, fingerprint: fingerprintOf(method, targetOf(url), body) };
}

function fingerprintOf(method: string, target: string, body: unknown): string {
  const content = `${method} ${target}\n${body === undefined ? '' : canonical(body)}`;
  return createHash('sha256').update(content).digest('base64url');
}

/** The path and the query, without how long the caller waits: a retry may wait for longer. */
function targetOf(url: string): string {
  const [path = '', text = ''] = url.split('?');
  const query = new URLSearchParams(text);
  query.delete('wait');
  query.sort();
  return query.size === 0 ? path : `${path}?${query}`;
}

/** JSON with sorted members: a retry may send them in another order. Unlike JSON.stringify, it keeps the sign of zero. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? '-0' : JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  const members = value as Record<string, unknown>;
  const names = Object.keys(members).sort();
  return `{${names.map(name => `${JSON.stringify(name)}:${canonical(members[name])}`).join()}}`;
}

/** Writes for the request: events and messages are stored with its token, messages with its trace as well. */
function writeFor<T>(
  db: Database,
  { trace, caller }: FastifyRequest,
  work: (tx: Tx) => Promise<T>,
  options: WriteOptions,
): Promise<T> {
  const { tokenId } = caller;
  if (!trace) return db.write(work, { ...options, tokenId });
  // Group commit may run this work in a transaction begun by another request, in the context of that request.
  return db.write(tx => trace.run(() => work(tx)), { ...options, tokenId, traceparent: trace.traceparent });
}

import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Database, Tx } from '../db/database.ts';
import type { Touched, WriteOptions } from '../db/group-commit.ts';
import { etagOf } from './etags.ts';
import { badHeader } from './problems.ts';

/** The answer of a write, before it is serialized. */
interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

/** A serialized answer, as it is stored and sent. */
interface StoredAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** A request with an idempotency key. `fingerprint` hashes its method, its path, and its body with normalized names. */
interface RepeatableRequest {
  caller: string;
  key: string;
  fingerprint: string;
}

interface Keys {
  find(tx: Tx, request: RepeatableRequest): Promise<StoredAnswer | undefined>;
  once(
    tx: Tx,
    request: RepeatableRequest,
    work: () => Promise<StoredAnswer>,
  ): Promise<{ answer: StoredAnswer; replayed: boolean }>;
  put(tx: Tx, request: RepeatableRequest, answer: StoredAnswer): void;
}

export type IdempotentWrites = ReturnType<typeof createIdempotentWrites>;

/** Only HTTP writes may be shed under load: the caller can retry, the worker cannot. */
const SHEDDABLE = { sheddable: true } as const;

/** The header of every POST that writes. */
export const IdempotentHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      description:
        'Makes the request safe to retry for 24 hours: the same key and body get the same answer, without a second effect.',
    }),
  ),
});

/**
 * Runs the writes of routes, one transaction per request. With an idempotency key the transaction also stores the answer,
 * and a retry gets it byte for byte.
 */
export function createIdempotentWrites({ db, keys }: { db: Database; keys: Keys }) {
  /**
   * As {@link write}, but does not send the answer.
   * @param touches as in `WriteOptions`, without the idempotency key
   */
  async function execute(
    request: FastifyRequest,
    reply: FastifyReply,
    work: (tx: Tx) => Promise<Answer>,
    touches?: readonly Touched[],
  ) {
    const repeatable = repeatableRequest(request);
    if (!repeatable) {
      const answer = await writeInTrace(db, request, work, { ...SHEDDABLE, touches });
      return { answer: serialized(reply, answer), replayed: false };
    }
    const once = (tx: Tx) => keys.once(tx, repeatable, async () => serialized(reply, await work(tx)));
    const { caller, key } = repeatable;
    return writeInTrace(db, request, once, {
      ...SHEDDABLE,
      touches: touches && [...touches, `key ${caller} ${key}` as const],
    });
  }

  // Fastify lets a handler return a reply that it has sent, but its types demand a body that fits the schema.
  function send(reply: FastifyReply, { answer, replayed }: { answer: StoredAnswer; replayed: boolean }): undefined {
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
     * Runs `work` in a transaction and sends its answer.
     * @throws Refusal VALIDATION_FAILED, IDEMPOTENCY_KEY_REUSED, and any of `work`; then nothing is stored
     */
    async write(request: FastifyRequest, reply: FastifyReply, work: (tx: Tx) => Promise<Answer>): Promise<undefined> {
      return send(reply, await execute(request, reply, work));
    },

    /**
     * Replaces the stored answer of a committed request: later retries get the new one. If a concurrent retry has already
     * replaced it, the answer of that retry wins.
     * @returns the answer to send
     */
    async revise(
      request: FastifyRequest,
      reply: FastifyReply,
      committed: StoredAnswer,
      answer: Answer,
    ): Promise<StoredAnswer> {
      const revised = serialized(reply, answer);
      const repeatable = repeatableRequest(request);
      if (!repeatable) return revised;
      return db.write(async tx => {
        const stored = await keys.find(tx, repeatable);
        if (stored && stored.body !== committed.body) return stored;
        keys.put(tx, repeatable, revised);
        return revised;
      });
    },
  };
}

// In quotes, or bare without a quote at either end.
const KEY = /^(?:"([\x21-\x7e]{1,255})"|((?!")[\x21-\x7e]{1,255}(?<!")))$/;

/** Serializes an answer with the schema of its status, as Fastify does. */
function serialized(reply: FastifyReply, { status, body, headers = {} }: Answer): StoredAnswer {
  const etag = etagOf(body);
  const all = etag === undefined ? headers : { ...headers, etag };
  return { status, headers: all, body: String(reply.code(status).serialize(body)) };
}

/** @throws Refusal VALIDATION_FAILED if the idempotency key is malformed */
function repeatableRequest(request: FastifyRequest): RepeatableRequest | undefined {
  const { 'idempotency-key': header } = request.headers;
  if (header === undefined || request.method !== 'POST') return undefined;
  const [, quoted, bare] = KEY.exec(String(header)) ?? [];
  const key = quoted ?? bare;
  if (key === undefined) {
    throw badHeader('idempotency-key', 'must be 1 to 255 visible ASCII characters, in quotes or bare');
  }
  const [path] = request.url.split('?');
  const content = `${request.method} ${path}\n${request.body === undefined ? '' : canonical(request.body)}`;
  return {
    caller: request.caller.keyOwner,
    key,
    fingerprint: createHash('sha256').update(content).digest('base64url'),
  };
}

/** JSON with sorted members: a retry may send them in another order. Unlike JSON.stringify, it keeps the sign of zero. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return Object.is(value, -0) ? '-0' : JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  const members = value as Record<string, unknown>;
  const names = Object.keys(members).sort();
  return `{${names.map(name => `${JSON.stringify(name)}:${canonical(members[name])}`).join()}}`;
}

/** Writes within the request's trace: messages that the write publishes store its traceparent. */
function writeInTrace<T>(
  db: Database,
  { trace }: FastifyRequest,
  work: (tx: Tx) => Promise<T>,
  options: WriteOptions,
): Promise<T> {
  if (!trace) return db.write(work, options);
  // Group commit may run this work in a transaction begun by another request, in the context of that request.
  return db.write(tx => trace.run(() => work(tx)), { ...options, traceparent: trace.traceparent });
}

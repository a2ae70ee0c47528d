import type { FastifyRequest } from 'fastify';
import { type Actor, actorText, parseActor } from '../actor.ts';
import { type Clock, toTimestamp } from '../clock.ts';
import { type Page, readPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import type { Logger } from '../logging.ts';
import {
  type AuditRow,
  deleteUpTo,
  insertEntry,
  latestEntry,
  listEntries,
  type NewAuditRow,
  nextEntries,
} from './repository.ts';
import { resourcesOf } from './resources.ts';
import type { AuditEntry, AuditQuery } from './schemas.ts';

/** Requests that no transaction of theirs records are gathered for this long, so that one write stores them. Milliseconds. */
const GATHER_MS = 2000;
/** Different ones that one such write stores; the others are put together in one entry. */
const GATHERED_MOST = 10;
/** Entries that one transaction deletes at most, and transactions per run of the job. */
const RETENTION_BATCH = 500;
const RETENTION_BATCHES = 20;

/** The operation of an entry for requests of which there were too many. */
const MANY = '*';

/** Operations that act in several transactions, or in none of ours. */
const SEVERAL = ['pingWebhook', 'processMessages', 'replayMessages'];

/** Whether no one transaction is the effect of a request. */
export function inSeveral({ routeOptions }: FastifyRequest): boolean {
  return SEVERAL.includes(routeOptions.schema?.operationId ?? '');
}

export type Audit = ReturnType<typeof createAudit>;

interface Dependencies {
  db: Database;
  clock: Clock;
  log: Logger;
  /** How long entries are kept. Milliseconds; 0 keeps them for ever. */
  retentionMs: number;
}

/** The outcome of a request. */
interface Outcome {
  status: number;
  /** Why it was refused. */
  code?: string;
  /** The answer, for the ids in it. */
  answer?: unknown;
}

/**
 * Records who did what through which token. What a request writes in one transaction is recorded in it, by {@link record}; a
 * kill loses neither or both. Refused requests, and acts of several transactions, follow within two seconds ({@link note}).
 */
export function createAudit({ db, clock, log, retentionMs }: Dependencies) {
  let gathered = new Map<string, NewAuditRow>();
  let timer: NodeJS.Timeout | undefined;

  function entryOf(request: FastifyRequest, { status, code, answer }: Outcome): NewAuditRow {
    const { params, query, body, caller, routeOptions, method } = request;
    const { run_id, ...resources } = resourcesOf({ params, query, body, answer });
    const me = caller.me;
    return {
      at: clock.now(),
      operation: routeOptions.schema?.operationId ?? `${method} ${routeOptions.url}`,
      status,
      code: code ?? null,
      count: 1,
      token_id: me.token_id,
      actor: actorOf(me.actor ?? (me.access === 'open' ? namedActor(body) : undefined), me, resources.agent_name),
      address: request.ip,
      request_id: request.id,
      run_id: run_id ?? me.run_id,
      resources: JSON.stringify(resources),
    };
  }

  async function store(): Promise<void> {
    const rows = [...gathered.values()];
    gathered = new Map();
    timer = undefined;
    try {
      await db.write(
        async tx => {
          for (const row of rows) insertEntry(tx, row);
        },
        { touches: [] },
      );
    } catch (error) {
      log.warn({ err: error, count: rows.length }, 'could not record requests in the audit trail');
    }
  }

  return {
    /** Records a request in the transaction of its effect. */
    record(tx: Tx, request: FastifyRequest, status: number, answer: unknown): void {
      if (!inSeveral(request)) insertEntry(tx, entryOf(request, { status, answer }));
    },

    /** Records a request within two seconds. Equal ones are put together, and many at once. */
    note(request: FastifyRequest, outcome: Outcome): void {
      const entry = entryOf(request, outcome);
      const { operation, code, token_id, address, run_id, resources } = entry;
      let key = JSON.stringify([operation, outcome.status, code, token_id, address, run_id, resources]);
      let row = entry;
      if (!gathered.has(key) && gathered.size >= GATHERED_MOST) {
        key = MANY;
        row = { ...entry, operation: MANY, token_id: null, actor: null, address: MANY, run_id: null, resources: '{}' };
      }
      const known = gathered.get(key);
      gathered.set(key, known ? { ...known, count: known.count + 1, request_id: null } : row);
      timer ??= setTimeout(() => void store(), GATHER_MS).unref();
    },

    /** Stores what has been noted. */
    async stop(): Promise<void> {
      clearTimeout(timer);
      if (gathered.size > 0) await store();
    },

    /** A page of entries, newest first. @throws Refusal INVALID_CURSOR */
    async list({ limit = 50, cursor, since, ...filter }: AuditQuery): Promise<Page<AuditEntry>> {
      const after = since === undefined ? 0 : await lastBefore(db.read, Date.parse(since));
      return readPage({
        list: 'audit',
        cursor,
        shape: [0],
        limit,
        read: (from, count) =>
          listEntries(db.read, filter, { before: from?.[0] ?? Number.MAX_SAFE_INTEGER, after }, count),
        keyOf: row => [row.number],
        views: rows => rows.map(toEntry),
      });
    },

    /** Deletes entries past their retention, in small transactions. */
    async deleteOld(): Promise<void> {
      if (retentionMs === 0) return;
      const before = clock.now() - retentionMs;
      for (let batch = 0; batch < RETENTION_BATCHES; batch += 1) {
        const rows = await nextEntries(db.read, 0, RETENTION_BATCH);
        const last = rows.findLast(({ at }) => at < before);
        if (!last) return;
        await db.write(tx => deleteUpTo(tx, last.number));
        if (last !== rows.at(-1) || rows.length < RETENTION_BATCH) return;
      }
    },
  };
}

/** The number of the last entry before a time, to the precision with which entries are in the order of their times. */
async function lastBefore(reader: Reader, time: number): Promise<number> {
  let low = 0;
  for (let high = await latestEntry(reader); low < high; ) {
    const middle = Math.floor((low + high) / 2);
    const [entry] = await nextEntries(reader, middle, 1);
    if (!entry || entry.number > high || entry.at >= time) high = middle;
    else low = entry.number;
  }
  return low;
}

/** The actor that a body names, where no token does. */
function namedActor(body: unknown): Actor | undefined {
  return (body as { actor?: Actor } | null | undefined)?.actor;
}

/** Stored form of who acts: an agent's token is for several, of which the request is about one. */
function actorOf(
  actor: Actor | null | undefined,
  { role, access, name }: { role: string; access: string; name: string | null },
  agentName: string | undefined,
): string | null {
  if (actor) return actorText(actor);
  const agent = name ?? agentName;
  return access === 'token' && role === 'agent' && agent !== undefined ? `agent:${agent}` : null;
}

function toEntry({ at, actor, resources, ...row }: AuditRow): AuditEntry {
  return {
    ...row,
    at: toTimestamp(at),
    actor: actor === null ? null : parseActor(actor),
    resources: JSON.parse(resources),
  };
}

import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from '../../logging.ts';

/** The first and the longest pause before a broken connection is made anew. Milliseconds. */
export const RECONNECT_MS = { first: 50, longest: 400 };
/** How often the connection is tried, and how long the server may take to answer. Milliseconds. */
const HEARTBEAT_MS = 5000;
/** How long an end waits for a server that may not answer. Milliseconds. */
const GOODBYE_MS = 500;

/** A connection that is there all the time, for what hangs on a session: locks and notifications. */
export interface StandingConnection {
  open(): Promise<void>;
  /** Does nothing while the connection is down. */
  query(text: string, values: unknown[]): Promise<void>;
  /** Since when it has been there without a break; undefined while it is down. On this process's monotonic clock. */
  readonly since: number | undefined;
  /** It has never broken. */
  readonly isFirst: boolean;
  close(): Promise<void>;
}

/**
 * Keeps one connection to PostgreSQL. One that breaks, or that does not answer a heartbeat (a connection can die without
 * a sound), is made anew.
 * @param setUp makes a new connection ready
 */
export function standingConnection(
  url: string,
  log: Logger,
  setUp: (client: pg.Client) => Promise<void>,
): StandingConnection {
  let client: pg.Client | undefined;
  let retry: NodeJS.Timeout | undefined;
  let heartbeat: NodeJS.Timeout | undefined;
  let pause = RECONNECT_MS.first;
  let isFirst = true;
  let since: number | undefined;

  async function connect(): Promise<void> {
    const next = new pg.Client({
      connectionString: url,
      keepAlive: true,
      application_name: 'forumbus standing',
      connectionTimeoutMillis: HEARTBEAT_MS,
      query_timeout: HEARTBEAT_MS,
    });
    next.on('error', error => log.warn({ err: error }, 'the standing connection broke'));
    next.once('end', () => lost(next));
    try {
      await next.connect();
      await setUp(next);
    } catch (error) {
      next.end().catch(() => {});
      throw error;
    }
    client = next;
    since = performance.now();
    pause = RECONNECT_MS.first;
    heartbeat = setInterval(() => {
      next.query('select 1').catch(() => lost(next));
    }, HEARTBEAT_MS).unref();
  }

  function lost(which: pg.Client): void {
    if (client !== which) return;
    client = undefined;
    since = undefined;
    isFirst = false;
    clearInterval(heartbeat);
    // Nobody waits for it: the other side may be gone.
    which.end().catch(() => {});
    reconnectLater();
  }

  function reconnectLater(): void {
    retry = setTimeout(() => connect().catch(reconnectLater), pause).unref();
    pause = Math.min(pause * 2, RECONNECT_MS.longest);
  }

  return {
    open: connect,

    async query(text, values) {
      await client?.query(text, values);
    },

    get since() {
      return since;
    },

    get isFirst() {
      return isFirst;
    },

    async close() {
      clearTimeout(retry);
      clearInterval(heartbeat);
      const last = client;
      client = undefined;
      await Promise.race([last?.end(), delay(GOODBYE_MS, undefined, { ref: false })]);
    },
  };
}

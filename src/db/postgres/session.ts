import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from '../../logging.ts';

/** The first and the longest pause before a reconnect (exponential backoff). Milliseconds. */
export const RECONNECT_MS = { first: 50, longest: 400 };
/** The interval between heartbeats, and the longest wait for the server's answer. Milliseconds. */
const HEARTBEAT_MS = 5000;
/** The longest wait for the server when the connection is closed. Milliseconds. */
const CLOSE_MS = 500;

/** A permanent connection, for state that belongs to a session: advisory locks and LISTEN. */
export interface StandingConnection {
  open(): Promise<void>;
  /** Does nothing while the connection is down. */
  query(text: string, values: unknown[]): Promise<void>;
  /** The time of the last connect on the monotonic clock (milliseconds); undefined while the connection is down. */
  readonly connectedAt: number | undefined;
  /** Whether the connection has never broken. */
  readonly isFirst: boolean;
  close(): Promise<void>;
}

/**
 * Keeps one connection to PostgreSQL open. Reconnects when it breaks or misses a heartbeat: a connection can die
 * without an error.
 * @param setUp prepares each new connection, for example takes its locks
 */
export function createStandingConnection(
  url: string,
  log: Logger,
  setUp: (client: pg.Client) => Promise<void>,
): StandingConnection {
  let client: pg.Client | undefined;
  let retry: NodeJS.Timeout | undefined;
  let heartbeat: NodeJS.Timeout | undefined;
  let pause = RECONNECT_MS.first;
  let isFirst = true;
  let connectedAt: number | undefined;

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
    connectedAt = performance.now();
    pause = RECONNECT_MS.first;
    heartbeat = setInterval(() => {
      next.query('select 1').catch(() => lost(next));
    }, HEARTBEAT_MS).unref();
  }

  function lost(broken: pg.Client): void {
    if (client !== broken) return;
    client = undefined;
    connectedAt = undefined;
    isFirst = false;
    clearInterval(heartbeat);
    // Not awaited: the server may be gone.
    broken.end().catch(() => {});
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

    get connectedAt() {
      return connectedAt;
    },

    get isFirst() {
      return isFirst;
    },

    async close() {
      clearTimeout(retry);
      clearInterval(heartbeat);
      const last = client;
      client = undefined;
      await Promise.race([last?.end(), delay(CLOSE_MS, undefined, { ref: false })]);
    },
  };
}

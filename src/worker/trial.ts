import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newUid, systemClock, toTimestamp } from '../clock.ts';
import type { Tx } from '../db/database.ts';
import { openDatabase } from '../db/open.ts';
import type { Logger } from '../logging.ts';
import type { Delivery, MessageRow } from '../outbox/leased-delivery.ts';
import type { Outcome } from '../outbox/outcome.ts';
import type { Message } from '../outbox/schemas.ts';
import { AttemptCancellation } from './cancellation.ts';
import { createDispatcher } from './dispatcher.ts';
import type { Handler } from './handler.ts';
import { HandlerRegistry } from './registry.ts';

interface Trial {
  handler: Handler;
  /** What the handler gets. One of its patterns has to match the topic. */
  message: Pick<Message, 'topic' | 'message_key' | 'payload'>;
  maxAttempts: number;
  log: Logger;
}

/**
 * Runs a handler once, as the worker does, with a message that is stored nowhere. A transactional handler gets a new
 * SQLite database, which is deleted afterwards.
 */
export async function tryHandler({ handler, message, maxAttempts, log }: Trial): Promise<Outcome> {
  let stored: Outcome | undefined;
  const dispatch = createDispatcher({
    registry: new HandlerRegistry([handler]),
    clock: systemClock,
    random: Math.random,
    log,
    tracing: undefined,
    settleWith: async (_delivery, effect) => {
      stored = await inScratchDatabase(effect, log);
      return true;
    },
    consumersInLanes: new Set(),
  });
  // The time-out of an attempt keeps no process alive, and a handler that hangs may wait for nothing that does.
  const alive = setInterval(() => {}, 60_000);
  try {
    const dispatched = await dispatch(deliveryOf(message, maxAttempts), new AttemptCancellation());
    return dispatched.kind === 'settled' ? (stored as Outcome) : dispatched;
  } finally {
    clearInterval(alive);
  }
}

/** Runs a work in a transaction of a new database. */
async function inScratchDatabase<T>(work: (tx: Tx) => Promise<T>, log: Logger): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'forumbus-handler-'));
  try {
    const db = await openDatabase(`sqlite:${join(folder, 'scratch.db')}`, log);
    try {
      await db.migrate();
      return await db.write(work);
    } finally {
      await db.close();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

function deliveryOf(given: Trial['message'], max_attempts: number): Delivery {
  const claimedAt = systemClock.now();
  const now = toTimestamp(claimedAt);
  const message: Message = {
    message_id: `msg_${newUid()}`,
    ...given,
    status: 'processing',
    attempts: 1,
    max_attempts,
    available_at: now,
    last_error: null,
    generation: 1,
    consumer: null,
    result: null,
    created_at: now,
    updated_at: now,
    sent_at: null,
  };
  // Of the row, an attempt needs the trace only.
  const row = { traceparent: null } as MessageRow;
  const lease = { position: 0, lease_token: '' };
  return { lease, lane: null, row, message, consumer: null, claimedAt, reclaimed: false, history: [] };
}

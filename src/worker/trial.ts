import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newUid, systemClock, toTimestamp } from '../clock.ts';
import type { Tx } from '../db/database.ts';
import { openDatabase } from '../db/open.ts';
import type { Logger } from '../logging.ts';
import type { LeasedDelivery, LeasedRow } from '../outbox/leased-delivery.ts';
import type { Outcome } from '../outbox/outcome.ts';
import type { Message } from '../outbox/schemas.ts';
import { AttemptCancellation } from './cancellation.ts';
import { createDispatcher } from './dispatcher.ts';
import type { Handler } from './handler.ts';

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
    handlers: new Map([[handler.name, handler]]),
    clock: systemClock,
    random: Math.random,
    log,
    tracing: undefined,
    settleWith: async (_delivery, effect) => {
      stored = await inScratchDatabase(effect, log);
      return true;
    },
  });
  // The time-out of an attempt keeps no process alive, and a handler that hangs may wait for nothing that does.
  const alive = setInterval(() => {}, 60_000);
  try {
    const dispatched = await dispatch(deliveryOf(handler.name, message, maxAttempts), new AttemptCancellation());
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

function deliveryOf(consumer: string, given: Trial['message'], max_attempts: number): LeasedDelivery {
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
    consumer,
    result: null,
    created_at: now,
    updated_at: now,
    sent_at: null,
  };
  // Only what stores an outcome needs the row.
  const row = {} as LeasedRow;
  const lease = { position: 0, lease_token: '' };
  const cause = { traceparent: null, tokenId: null };
  return { lease, row, message, consumer, erased: false, ...cause, claimedAt, reclaimed: false, history: [] };
}

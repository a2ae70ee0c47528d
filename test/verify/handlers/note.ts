import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { HandlerContext } from '../../../src/worker/handler.ts';
import type { SignalMessage } from '../message.ts';

export const topic = 'forum.events.control.signal';

/** An effect outside the database: a line in a file, in one write that outlives the process. It can happen again. */
export async function handle({ message_key, payload }: SignalMessage, context: HandlerContext): Promise<void> {
  const { attempt, idempotency_key } = context;
  const { signal_id } = payload.payload;
  const note = { signal_id, sequence: payload.sequence, lane: message_key, attempt, idempotency_key };
  appendFileSync(
    process.env.VERIFY_NOTES as string,
    `${JSON.stringify({ ...note, pid: process.pid, at: Date.now() })}\n`,
  );
  // Room for a kill between the effect and its acknowledgement.
  await delay(Math.random() * 5);
}

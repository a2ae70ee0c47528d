import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { HandlerContext } from '../../../src/worker/handler.ts';
import type { SignalMessage } from '../message.ts';
import { leaveFaultsBehind, misbehave } from '../misbehave.ts';

export const topic = 'forum.events.control.signal';

/** An effect outside the database: a line in a file, in one write that outlives the process. It can happen again. */
export async function handle(message: SignalMessage, context: HandlerContext): Promise<void> {
  const { message_key, payload } = message;
  const { attempt, idempotency_key } = context;
  const hostile = process.env.VERIFY_HOSTILE === '1' && attempt === 1;
  if (hostile && Math.random() < 0.2) await misbehave(message, context);
  const { signal_id } = payload.payload;
  const note = { signal_id, sequence: payload.sequence, lane: message_key, attempt, idempotency_key };
  appendFileSync(
    process.env.VERIFY_NOTES as string,
    `${JSON.stringify({ ...note, pid: process.pid, at: Date.now() })}\n`,
  );
  if (hostile && Math.random() < 0.05) leaveFaultsBehind();
  // Room for a kill between the effect and its acknowledgement.
  await delay(Math.random() * 5);
}

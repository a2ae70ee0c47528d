import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import type { HandlerContext } from '../../../src/worker/handler.ts';
import { SUBSCRIPTIONS } from '../subscriptions.ts';

export const topic = SUBSCRIPTIONS.effect?.topics;
export const transactional = true;

interface SignalMessage {
  payload: { sequence: number; thread_id: string; payload: { signal_id: string } };
}

/** An effect in the transaction that marks the message sent. Nothing in the table keeps a second one out. */
export async function handle({ payload }: SignalMessage, { tx }: HandlerContext): Promise<void> {
  const { signal_id } = payload.payload;
  const { thread_id, sequence } = payload;
  if (!tx) throw new Error('A transactional handler was given no transaction.');
  await sql`insert into verify_effects (signal_id, thread_id, sequence)
    values (${signal_id}, ${thread_id}, ${sequence})`.execute(tx);
  // Room for a kill between the effect and the commit, now and then: meanwhile nobody else can write.
  if (Math.random() < 0.1) await delay(Math.random() * 10);
}

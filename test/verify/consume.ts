import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Message } from '../../src/outbox/schemas.ts';
import type { HandlerContext } from '../../src/worker/handler.ts';
import { leaveFaultsBehind, misbehave } from './misbehave.ts';
import type { Note } from './notes.ts';

/** How a handler behaves. */
export interface Manner {
  /** The share of first attempts that fail. */
  fails?: number;
  /** Every so many-th message is dead at its first attempt of the first generation. */
  deadEvery?: number;
  /** Under `--hostile` it throws what nobody expects. */
  hostile?: true;
}

/**
 * Makes a handler whose effect is outside the database: lines in a file, at the beginning and at the end of each attempt. A
 * line is one write that outlives the process, so the lines of all processes stand in the order of their times.
 */
export function consumer(name: string, { fails = 0, deadEvery, hostile }: Manner) {
  return async (message: Message, context: HandlerContext): Promise<void> => {
    const { message_id, message_key, topic, generation } = message;
    const { attempt, idempotency_key } = context;
    const of = { consumer: name, message_id, topic, key: message_key, attempt, generation, idempotency_key };
    const begun = performance.now();
    const note = (phase: Note['phase']) => {
      const line = { ...of, pid: process.pid, at: Date.now(), phase, took: Math.round(performance.now() - begun) };
      appendFileSync(process.env.VERIFY_NOTES as string, `${JSON.stringify(line)}\n`);
    };
    note('begin');
    if (hostile && process.env.VERIFY_HOSTILE === '1' && attempt === 1) {
      if (Math.random() < 0.05) leaveFaultsBehind();
      if (Math.random() < 0.2) await misbehave(message, context);
    }
    // Room for a kill, and for a successor that does not wait.
    await delay(Math.random() * 5);
    if (deadEvery !== undefined && generation === 1 && hash(message_id) % deadEvery === 0) {
      note('dead');
      throw context.permanent('This one is dead at first.');
    }
    if (attempt === 1 && Math.random() < fails) {
      note('failed');
      throw new Error('This attempt fails.');
    }
    note('done');
  };
}

function hash(text: string): number {
  let sum = 0;
  for (const character of text) sum = (Math.imul(sum, 31) + (character.codePointAt(0) ?? 0)) >>> 0;
  return sum;
}

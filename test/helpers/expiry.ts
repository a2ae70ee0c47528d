import type { Engine } from '../../src/db/engine.ts';
import type { Event } from '../../src/events/schemas.ts';
import type { Message } from '../../src/outbox/schemas.ts';
import { startApp, type TestApp } from './app.ts';
import type { ManualClock } from './clock.ts';
import type { Scratch } from './engines.ts';
import { handler } from './handling.ts';
import { toLoopback } from './receiver.ts';

/** The messages of expired questions, by question, as the handlers of one service or of several get them. */
export class Expiries {
  readonly messages: Message[] = [];
  readonly #first = new Map<string, PromiseWithResolvers<Message>>();

  readonly handler = handler('forum.events.question.expired', message => {
    this.messages.push(message);
    this.#of(String((message.payload as Event).payload.question_id)).resolve(message);
  });

  /** The message of this question, as soon as a handler has got it. */
  async of(questionId: string): Promise<Message> {
    return this.#of(questionId).promise;
  }

  #of(questionId: string): PromiseWithResolvers<Message> {
    const known = this.#first.get(questionId) ?? Promise.withResolvers<Message>();
    this.#first.set(questionId, known);
    return known;
  }
}

/** A service in which questions expire as soon as the test moves the clock past their time. */
export async function startTimed(
  engine: Engine,
  {
    clock,
    expiries,
    database,
    role = 'all',
  }: { clock: ManualClock; expiries: Expiries; database?: Scratch; role?: string },
): Promise<TestApp> {
  return startApp(engine, {
    ...(database && { database }),
    config: { ...toLoopback, ROLE: role, POLL_INTERVAL_MS: '20', MIN_DEFAULT_SECONDS: '1' },
    overrides: { clock, handlers: [expiries.handler] },
  });
}

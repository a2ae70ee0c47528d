import type { EventByType, EventType } from './events/event-types.ts';
import type { Message } from './outbox/schemas.ts';
import type { CommandName } from './topics/command.ts';
import type { CommandPayloads } from './topics/index.ts';
import type { HandlerContext, Policy } from './worker/handler.ts';

/* The module `forumbus/handler`: what handlers import. It has no imports of its own when it runs. */

export type { EventByType, HandlerContext, Policy };

/** The payloads of the topics that the service publishes or takes, by topic. */
type Payloads = {
  [T in EventType as T extends `forum.${infer Rest}` ? `forum.events.${Rest}` : never]: EventByType[T];
} & { [N in CommandName as `forum.commands.${N}`]: CommandPayloads[N] };

/** The topics that a pattern may match: `*` and `**` stand for any text here. */
type Matching<T extends string> = T extends `${infer Start}*${infer Rest}` ? `${Start}${string}${Matching<Rest>}` : T;

/** The payload by topic or pattern: of several topics their union, of topics that the service does not know `unknown`. */
export type PayloadOf<T extends string> = T extends `forum.${'events' | 'commands'}.${string}`
  ? Payloads[Extract<keyof Payloads, Matching<T>>]
  : unknown;

/** A message of a topic, or of any topic that matches a pattern. */
export type MessageOf<T extends string> = Omit<Message, 'payload'> & { payload: PayloadOf<T> };

/** What a handler module exports, by itself or as its default. docs/handlers.md explains each member. */
export interface HandlerModule<T extends string> {
  topic: T | readonly T[];
  handle(message: MessageOf<T>, context: HandlerContext): unknown;
  policy?: Partial<Policy>;
  transactional?: boolean;
  from?: 'beginning';
}

/** Returns its argument. It exists for the types: `topic` decides the type of `message.payload`. */
export function defineHandler<const T extends string>(handler: HandlerModule<T>): HandlerModule<T> {
  return handler;
}

import { memoize } from '../memoize.ts';
import type { Handler } from './handler.ts';

/** Topics whose handlers are remembered. */
const TOPICS_REMEMBERED = 1000;

/** Which handlers a topic has. */
export class HandlerRegistry {
  readonly handlers: readonly Handler[];
  /** The handlers of a topic, in the order in which they were registered. */
  readonly of: (topic: string) => readonly Handler[];

  constructor(handlers: readonly Handler[]) {
    this.handlers = handlers;
    const handlersOf = (topic: string) =>
      handlers.filter(handler => handler.topics.some(pattern => topicMatches(pattern, topic)));
    this.of = memoize(handlersOf, TOPICS_REMEMBERED);
  }
}

/** Whether a message of this topic, or of this one consumer of it, has a handler. */
export function isHandled(registry: HandlerRegistry, topic: string, consumer: string | null): boolean {
  const handlers = registry.of(topic);
  return consumer === null ? handlers.length > 0 : handlers.some(handler => handler.name === consumer);
}

/** `*` stands for exactly one segment, a trailing `**` for one or more. */
export function topicMatches(pattern: string, topic: string): boolean {
  const wanted = pattern.split('.');
  const given = topic.split('.');
  const open = wanted.at(-1) === '**';
  if (open) wanted.pop();
  if (open ? given.length <= wanted.length : given.length !== wanted.length) return false;
  return wanted.every((segment, index) => segment === '*' || segment === given[index]);
}

/** Whether a pattern is well formed: segments of a topic, `*`, and `**` only at the end. */
export function isTopicPattern(pattern: unknown): pattern is string {
  return typeof pattern === 'string' && /^([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*))*(\.\*\*)?$|^\*\*$/.test(pattern);
}

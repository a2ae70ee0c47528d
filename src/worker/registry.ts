import { memoize } from '../memoize.ts';
import type { Handler } from './handler.ts';

/** Topics whose handlers are cached. */
const TOPICS_REMEMBERED = 1000;

/** Maps topics to their handlers. */
export class HandlerRegistry {
  readonly handlers: readonly Handler[];
  /** The handlers of a topic, in order of registration. */
  readonly of: (topic: string) => readonly Handler[];

  constructor(handlers: readonly Handler[]) {
    this.handlers = handlers;
    const handlersOf = (topic: string) =>
      handlers.filter(handler => handler.topics.some(pattern => topicMatches(pattern, topic)));
    this.of = memoize(handlersOf, TOPICS_REMEMBERED);
  }
}

/** Whether a topic has a handler; with `consumer`, whether it has the handler of that name. */
export function isHandled(registry: HandlerRegistry, topic: string, consumer: string | null): boolean {
  const handlers = registry.of(topic);
  return consumer === null ? handlers.length > 0 : handlers.some(handler => handler.name === consumer);
}

/** Whether a topic matches a pattern: `*` matches exactly one segment, a trailing `**` one or more. */
export function topicMatches(pattern: string, topic: string): boolean {
  const wanted = pattern.split('.');
  const given = topic.split('.');
  const open = wanted.at(-1) === '**';
  if (open) wanted.pop();
  if (open ? given.length <= wanted.length : given.length !== wanted.length) return false;
  return wanted.every((segment, index) => segment === '*' || segment === given[index]);
}

/** Whether a value is a well-formed pattern, such as `a.b`, `a.*.c` or `a.**`. `**` may only end it. */
export function isTopicPattern(pattern: unknown): pattern is string {
  return typeof pattern === 'string' && /^([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*))*(\.\*\*)?$|^\*\*$/.test(pattern);
}

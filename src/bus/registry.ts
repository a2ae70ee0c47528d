import type { Handler } from './handler.ts';

/** Topics whose handlers are remembered; a flood of new topic names must not fill the memory. */
const TOPICS_REMEMBERED = 1000;

/** Which handlers a topic has. */
export class HandlerRegistry {
  readonly handlers: readonly Handler[];
  readonly #remembered = new Map<string, Handler[]>();

  constructor(handlers: readonly Handler[]) {
    this.handlers = handlers;
  }

  /** The handlers of a topic, in the order in which they were registered. */
  of(topic: string): readonly Handler[] {
    const known = this.#remembered.get(topic);
    if (known) return known;
    const found = this.handlers.filter(handler => handler.topics.some(pattern => topicMatches(pattern, topic)));
    if (this.#remembered.size >= TOPICS_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(topic, found);
    return found;
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

import { eventTopic } from '../events/envelope.ts';
import { eventTypes } from '../events/service.ts';
import { memoize } from '../memoize.ts';
import type { Handler } from '../worker/handler.ts';
import { topicMatches } from '../worker/registry.ts';

/** The label of topics that nobody here knows. */
const OTHER = 'other';
/** Topics whose labels are remembered. */
const TOPICS_REMEMBERED = 1000;

export interface TopicLabels {
  /** Every label that there can be. */
  readonly all: readonly string[];
  /** The label of a topic. */
  of(topic: string): string;
}

/**
 * Topics as labels. Callers may invent topics without end, so only those keep their names that the code or a handler
 * names: events, commands, what handlers are registered for. What a handler takes by a pattern has the pattern as its
 * label.
 */
export function createTopicLabels(handlers: readonly Pick<Handler, 'topics'>[]): TopicLabels {
  const named = handlers.flatMap(({ topics }) => topics);
  const patterns = named.filter(topic => topic.includes('*'));
  const exact = new Set([...eventTypes.map(eventTopic), ...named.filter(topic => !topic.includes('*'))]);
  const labelled = (topic: string) => patterns.find(pattern => topicMatches(pattern, topic)) ?? OTHER;
  const ofOthers = memoize(labelled, TOPICS_REMEMBERED);
  return {
    all: [...new Set([...exact, ...patterns, OTHER])],
    of: topic => (exact.has(topic) ? topic : ofOthers(topic)),
  };
}

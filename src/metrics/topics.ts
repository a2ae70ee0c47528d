import { eventTopic } from '../events/envelope.ts';
import { eventTypes } from '../events/event-types.ts';
import { memoize } from '../memoize.ts';
import { topicMatches } from '../subscriptions/patterns.ts';
import type { Handler } from '../worker/handler.ts';

/** The label of topics that neither the code nor a handler names. */
const OTHER = 'other';
/** Topics whose labels are cached. */
const TOPICS_REMEMBERED = 1000;

export interface TopicLabels {
  /** Every possible label. */
  readonly all: readonly string[];
  /** The label of a topic. */
  of(topic: string): string;
}

/**
 * Maps topics to a bounded set of labels, since callers may invent any number of topics. Topics of events, commands and
 * handlers are labels themselves. A topic that matches a handler's pattern gets the pattern, every other one `other`.
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

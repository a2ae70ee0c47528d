import { eventTopic } from '../events/envelope.ts';
import { eventTypes } from '../events/event-types.ts';
import { topicMatches } from '../subscriptions/patterns.ts';
import type { Handler } from '../worker/handler.ts';
import { commandNames, commandTopic } from './command.ts';

/** The topics of the service itself. */
const knownTopics = [...eventTypes.map(eventTopic), ...commandNames.map(commandTopic)];
/** Letters between a pattern and a topic of the service up to which it counts as misspelt. */
const MISSPELT = 2;

/** A pattern of a handler that no message will ever match. */
export interface StrayPattern {
  handler: string;
  pattern: string;
  /** The known topic that is spelt most alike. */
  nearest: string;
}

/**
 * The patterns that look like topics of the service and match none. They are below `forum.` but not below
 * `forum.integration.`, or spelt almost like one.
 */
export function strayPatterns(handlers: readonly Handler[]): StrayPattern[] {
  return handlers.flatMap(({ name: handler, topics }) =>
    topics.filter(isStray).map(pattern => ({ handler, pattern, nearest: nearest(pattern).topic })),
  );
}

function isStray(pattern: string): boolean {
  if (knownTopics.some(topic => topicMatches(pattern, topic))) return false;
  const [first, second] = pattern.split('.');
  const mayBeFree = first === '*' || first === '**' || second === '*' || second === '**' || second === 'integration';
  return first === 'forum' ? !mayBeFree : !mayBeFree && nearest(pattern).distance <= MISSPELT;
}

function nearest(pattern: string): { topic: string; distance: number } {
  const distances = knownTopics.map(topic => ({ topic, distance: distance(filled(pattern, topic), topic) }));
  return distances.reduce((best, next) => (next.distance < best.distance ? next : best));
}

/** The pattern with the segments of a topic in the place of its wildcards, and behind its end. */
function filled(pattern: string, topic: string): string {
  const given = topic.split('.');
  if (topic.startsWith(`${pattern}.`)) return topic;
  return pattern
    .split('.')
    .flatMap((segment, index) =>
      segment === '**' ? given.slice(index) : segment === '*' ? (given[index] ?? '*') : segment,
    )
    .join('.');
}

/** How many letters have to be inserted, deleted or replaced to make one text of the other (Levenshtein). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...from].entries()) {
    const next = [i + 1];
    for (let j = 0; j < to.length; j += 1) {
      const replaced = (row[j] as number) + (letter === to[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] as number) + 1, (next[j] as number) + 1));
    }
    row = next;
  }
  return row.at(-1) as number;
}

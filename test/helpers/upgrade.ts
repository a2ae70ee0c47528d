import { expectations, type OutboxRow, previousRelease } from './previous-release.ts';

/** The handlers of the previous release by their names, and what they take. Its own handler is not among them. */
export const CONSUMERS: Record<string, string[]> = {
  chat: ['forum.integration.chat', 'forum.integration.notes', 'forum.events.question.opened'],
  audit: ['forum.integration.notes', 'forum.events.question.opened', 'forum.commands.open_thread'],
  mail: ['forum.integration.mail', 'forum.events.question.answered'],
  sms: ['forum.integration.sms'],
  job: ['forum.integration.job'],
  fax: ['forum.integration.fax'],
};
const taken = Object.values(CONSUMERS).flat();
CONSUMERS.feed = [...new Set(previousRelease.outbox.map(row => row.topic))].filter(
  topic => topic.startsWith('forum.events.') && !taken.includes(topic),
);

/** The policies that they had: dead messages of these block their keys. */
export const policyOf = (name: string): { dead: 'block' | 'pass' } => ({
  dead: name === 'audit' || name === 'mail' ? 'block' : 'pass',
});

/** The files of the handlers: copies are named by them. */
export const FILES: Record<string, string> = Object.fromEntries(
  Object.keys(CONSUMERS).map(name => [name, `${name}.${name === 'audit' || name === 'job' ? 'mjs' : 'ts'}`]),
);

/** One message for one consumer, and what must become of it after the upgrade. */
export interface Fate {
  message_id: string;
  consumer: string;
  message_key: string | null;
  /**
   * `now`: it arrives as soon as it is time. `resume`: its topic, or that of an earlier message of its lane, is paused.
   * `dead`: it stays so. `replay`: it waits behind a dead message.
   */
  when: 'now' | 'resume' | 'dead' | 'replay';
  row: OutboxRow;
}

/**
 * What must become of all that is neither sent nor discarded, in the order of the lanes. A lane is now one of a consumer
 * and a key, so a message waits for those of its own consumer only.
 * @param first the consumers of the process that starts first; it shares what has not been routed among them
 * @param then those that come later; they get what was routed to them, and what the first left over
 */
export function fates(first = Object.keys(CONSUMERS), then: string[] = []): Fate[] {
  const { waiting, paused, dead, blocked } = expectations();
  const pausedTopics = new Set(previousRelease.topics.filter(({ paused }) => paused === 1).map(({ topic }) => topic));
  const [blockedLanes, pausedLanes] = [new Set<string>(), new Set<string>()];
  const takers = (names: string[], topic: string) => names.filter(name => CONSUMERS[name]?.includes(topic));
  return [waiting, paused, dead, blocked]
    .flat()
    .toSorted((a, b) => Number(a.consumer === null) - Number(b.consumer === null) || a.row.position - b.row.position)
    .flatMap(({ message_id, consumer, row }): Fate[] => {
      const { topic, message_key, status } = row;
      const atFirst = takers(first, topic);
      const routed = consumer === null ? (atFirst.length > 0 ? atFirst : takers(then, topic)) : [consumer];
      return routed
        .filter(name => first.includes(name) || then.includes(name))
        .map(name => {
          const lane = JSON.stringify([name, message_key]);
          const base = { message_id, consumer: name, message_key, row };
          if (status === 'dead') {
            if (row.lane !== null) blockedLanes.add(lane);
            return { ...base, when: 'dead' };
          }
          if (message_key !== null && blockedLanes.has(lane)) return { ...base, when: 'replay' };
          const isPaused = pausedTopics.has(topic) || (message_key !== null && pausedLanes.has(lane));
          if (isPaused && message_key !== null) pausedLanes.add(lane);
          return { ...base, when: isPaused ? 'resume' : 'now' };
        });
    });
}

/** Something that arrives at a consumer, or has to. */
export interface Arrival {
  consumer: string;
  message_id: string;
  message_key: string | null;
}

/** The ids by lane, in their order; a message without a key is a lane of its own. Equal means: nothing lost, doubled or overtaken. */
export function byLane(arrivals: readonly Arrival[]): Record<string, string[]> {
  const lanes: Record<string, string[]> = {};
  for (const { consumer, message_id, message_key } of arrivals) {
    const lane = `${consumer} ${message_key ?? `- ${message_id}`}`;
    lanes[lane] = [...(lanes[lane] ?? []), message_id];
  }
  return lanes;
}

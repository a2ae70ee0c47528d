/*
 * The subscriptions of a run. Their patterns are equal, nested, overlapping in part and disjoint, and some follow the log and
 * published topics with the same keys. Each is a file of the folder `handlers`.
 */

export interface Followed {
  topics: string[];
  /** Its dead deliveries hold their lanes back. */
  blocks?: true;
  /** Its effect is a row that commits with `sent`; it writes no notes. */
  transactional?: true;
}

export const SUBSCRIPTIONS: Readonly<Record<string, Followed>> = {
  all: { topics: ['forum.events.**'] },
  question: { topics: ['forum.events.question.*'] },
  twin: { topics: ['forum.events.question.*'] },
  effect: { topics: ['forum.events.control.signal'], transactional: true },
  mixed: { topics: ['forum.events.control.signal', 'verify.work.*'] },
  nested: { topics: ['verify.**'] },
  work: { topics: ['verify.work.a'] },
  block: { topics: ['forum.events.question.opened', 'verify.work.b'], blocks: true },
  leaving: { topics: ['forum.events.question.*', 'verify.work.a'] },
  late: { topics: ['forum.events.**', 'verify.work.*'] },
};

/** The subscription whose process ends early and comes back late. */
const LEAVING = 'leaving';
/** The subscription that comes in the middle of the run. */
export const LATE = 'late';
/** A topic that no subscription matches. */
export const STRAY_TOPIC = 'stray.nobody';

/** Whether a topic matches one of these patterns. Written anew: the proofs must not share a fault of the service. */
export function follows({ topics }: Pick<Followed, 'topics'>, topic: string): boolean {
  return topics.some(pattern => {
    const parts = pattern.split('.').map(part => ({ '*': '[^.]+', '**': '.+' })[part] ?? part);
    return new RegExp(`^${parts.join('[.]')}$`).test(topic);
  });
}

/** Which subscriptions a process of the fleet serves. With several processes, each has some that no other has. */
export function servedBy(
  slot: number,
  processes: number,
  { left, joined }: { left: boolean; joined: boolean },
): string[] {
  const come = joined ? [LATE] : [];
  const stayed = left ? [] : [LEAVING];
  if (processes === 1)
    return ['all', 'question', 'twin', 'effect', 'mixed', 'nested', 'work', 'block', ...stayed, ...come];
  if (slot === 0) return ['all', 'question', 'effect', 'mixed', ...stayed];
  if (slot === 1) return ['all', 'twin', 'nested', 'work', 'block', 'effect'];
  return slot < processes ? ['all', 'effect'] : [LATE];
}

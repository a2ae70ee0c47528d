import type { StoredEvent } from './observe.ts';

export interface Proof {
  claim: string;
  /** How many things were looked at. */
  checked: number;
  /** What contradicts the claim. */
  faults: string[];
}

/** The log's control signals. */
export function signalsOf({ events }: { events: readonly StoredEvent[] }) {
  return events
    .filter(event => event.event_type === 'forum.control.signal')
    .map(event => ({ ...event, signal_id: String(event.payload.signal_id), thread_id: String(event.thread_id) }));
}

/** The items that have occurred before. */
export function repeated<T>(items: readonly T[]): T[] {
  const seen = new Set<T>();
  return items.filter(item => seen.size === seen.add(item).size);
}

import type { Event } from '../../src/events/schemas.ts';
import { inListOrder } from '../helpers/threads.ts';

/** What is said of a thread in views and queues. */
export interface ModelThread {
  thread_id: string;
  state: string;
  priority: string;
  posts_count: number;
  last_sequence: number;
  unanswered: boolean;
}

/**
 * The queues as the contract words them, worked out anew from the whole log each time it is asked; only what viewers
 * have marked is in no log and is remembered here.
 */
export class QueueModel {
  readonly #threads = new Map<string, Event[]>();
  readonly #marks = new Map<string, number>();
  /** The newest sequence that has been read. */
  newest = 0;

  /** Takes in what the log has got since. */
  read(events: Event[]): void {
    for (const event of events) {
      this.newest = event.sequence;
      const id = event.thread_id as string;
      this.#threads.set(id, [...(this.#threads.get(id) ?? []), event]);
    }
  }

  get ids(): string[] {
    return [...this.#threads.keys()];
  }

  /** The sequences of what has happened in a thread, oldest first. */
  sequences(id: string): number[] {
    return this.#eventsOf(id).map(event => event.sequence);
  }

  thread(id: string): ModelThread {
    const events = this.#eventsOf(id);
    const posts = events.filter(
      ({ event_type: type }) => type === 'forum.post.added' || type === 'forum.control.signal',
    );
    const newestBy = (...types: string[]) => posts.findLast(({ actor }) => types.includes(actor.type))?.sequence ?? 0;
    const moves = events.filter(event => event.event_type === 'forum.state.changed');
    const answered = moves.findLast(({ payload }) => payload.to === 'answered')?.sequence ?? 0;
    const state = String(moves.at(-1)?.payload.to ?? 'new');
    const raised = events.findLast(event => event.event_type === 'forum.priority.changed');
    const byAgent = newestBy('agent');
    return {
      thread_id: id,
      state,
      priority: String(raised?.payload.to ?? events[0]?.payload.priority),
      posts_count: posts.length,
      last_sequence: events.at(-1)?.sequence ?? 0,
      unanswered: state !== 'closed' && byAgent > newestBy('operator', 'human') && byAgent > answered,
    };
  }

  mark(id: string, viewer: string, sequence = Number.POSITIVE_INFINITY): void {
    const reached = Math.min(sequence, this.thread(id).last_sequence);
    const key = JSON.stringify([id, viewer]);
    this.#marks.set(key, Math.max(reached, this.#marks.get(key) ?? 0));
  }

  isUnseen(id: string, viewer: string): boolean {
    return this.thread(id).last_sequence > (this.#marks.get(JSON.stringify([id, viewer])) ?? 0);
  }

  /** The ids of the threads for which something holds, in the order of every list. */
  listed(holds: (thread: ModelThread) => boolean): string[] {
    return this.ids
      .map(id => this.thread(id))
      .filter(holds)
      .sort(inListOrder)
      .map(thread => thread.thread_id);
  }

  #eventsOf(id: string): Event[] {
    return this.#threads.get(id) ?? [];
  }
}

import type { Event } from '../events/schemas.ts';
import type { Post } from './schemas.ts';

type Readable = Pick<Event, 'event_id' | 'sequence' | 'thread_id' | 'actor' | 'occurred_at' | 'payload'>;

/** Whether an event carries text for people. */
export function isPost({ event_type }: { event_type: string }): boolean {
  return event_type === 'forum.post.added' || event_type === 'forum.control.signal';
}

/** A post is the readable side of an event; nothing of it is stored twice. */
export function toPost(event: Readable): Post {
  const { event_id, sequence, thread_id, actor, occurred_at, payload } = event;
  return {
    post_id: event_id.replace('evt_', 'post_'),
    thread_id: thread_id as string,
    sequence,
    body: bodyOf(payload),
    actor,
    created_at: occurred_at,
    control_type: (payload.control_type as string | undefined) ?? null,
    signal_id: (payload.signal_id as string | undefined) ?? null,
  };
}

/**
 * The text of an event that is a post. A signal of another type than these carries its own, in `text`: its draft knows best
 * how it reads.
 */
export function bodyOf(payload: Record<string, unknown>): string {
  switch (payload.control_type) {
    case undefined:
      return String(payload.body);
    case 'guidance_request':
      return String(payload.question);
    case 'guidance_answer':
      return String(payload.answer);
    case 'completion':
      return String(payload.summary ?? 'Completed.');
    case 'validation':
      return `Validation ${payload.status}: ${payload.done_criteria}`;
    default:
      return String(payload.text ?? `Control signal ${payload.control_type}.`);
  }
}

import type { EventRow } from './repository.ts';

/** The topic of an event's message: `forum.control.signal` becomes `forum.events.control.signal`. */
export function eventTopic(eventType: string): string {
  return `${EVENT_TOPICS}${eventType.slice('forum.'.length)}`;
}

/** The topic prefix of event messages. It is reserved: callers cannot publish there (`RESERVED_TOPIC`). */
export const EVENT_TOPICS = 'forum.events.';

/** The id of the message that carries an event: `evt_…` becomes `msg_…`. */
export function messageIdOf(event_id: string): string {
  return event_id.replace(/^evt_/, 'msg_');
}

/** The id of the event that a message carries, if it carries one. */
export function eventIdOf(message_id: string): string {
  return message_id.replace(/^msg_/, 'evt_');
}

/** The key of an event's message. Thread ids have no colon, so no other key equals that of a thread. */
export function messageKeyOf({ thread_id, run_id }: Pick<EventRow, 'thread_id' | 'run_id'>): string {
  return thread_id ?? (run_id === null ? 'forum:tokens' : `run:${run_id}`);
}

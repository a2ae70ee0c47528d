import { parseActor } from '../actor.ts';
import { toTimestamp } from '../clock.ts';
import { erasedPayload } from './erased.ts';
import type { EventRow } from './repository.ts';
import type { Event } from './schemas.ts';

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

/**
 * Converts a row to the event that HTTP clients and topic handlers receive. While its run is being erased, only what will be
 * left of it.
 * @param payload the parsed payload, if the caller has it already
 */
export function toEvent(row: EventRow, payload: Event['payload'] = payloadOf(row)): Event {
  return {
    event_id: row.event_id,
    sequence: row.sequence,
    event_type: row.event_type,
    event_version: row.event_version,
    occurred_at: toTimestamp(row.occurred_at),
    thread_id: row.thread_id,
    run_id: row.run_id,
    ticket: row.ticket,
    agent_name: row.agent_name,
    actor: parseActor(row.actor),
    correlation_id: row.correlation_id,
    causation_id: row.causation_id,
    token_id: row.token_id,
    payload,
  };
}

function payloadOf({ erasing, event_type, payload }: EventRow): Event['payload'] {
  const stored = JSON.parse(payload);
  // The event of the erasure itself has no text.
  return erasing && event_type !== 'forum.run.erased' ? erasedPayload(event_type, stored) : stored;
}

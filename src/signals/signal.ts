import type { Event } from '../events/schemas.ts';
import type { Signal } from './schemas.ts';

type SignalEvent = Omit<Event, 'event_id' | 'event_type' | 'event_version'>;

/** A signal is an event of its own type: what was sent stands in the payload, the rest in the envelope. */
export function toSignal(event: SignalEvent): Signal {
  const { sequence, thread_id, occurred_at, run_id, agent_name, ticket, actor, correlation_id, causation_id } = event;
  const { signal_id, ...sent } = event.payload;
  return {
    signal_id,
    sequence,
    thread_id,
    occurred_at,
    run_id,
    agent_name,
    ticket,
    actor,
    correlation_id,
    causation_id,
    ...sent,
  } as Signal;
}

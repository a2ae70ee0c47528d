import type { Caller } from '../access/caller.ts';
import { Refusal } from '../errors.ts';
import type { Event } from '../events/schemas.ts';
import type { SignalCommand } from './command.ts';
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

/** The command with the actor that its caller acts as. @throws Refusal FORBIDDEN, ACTOR_MISMATCH */
export function signedBy(caller: Caller, command: SignalCommand): SignalCommand {
  caller.assertActsFor(command.run_id, command.agent_name);
  if (command.control_type === 'guidance_answer') caller.assertNoAgent('answer questions');
  const actor = caller.actor(command.actor, command.agent_name);
  return actor ? { ...command, actor } : command;
}

export function signalNotFound(signalId: string): Refusal {
  return new Refusal('SIGNAL_NOT_FOUND', `There is no control signal ${signalId}.`);
}

import type { Caller } from '../access/caller.ts';
import { Refusal } from '../errors.ts';
import type { Event } from '../events/schemas.ts';
import { type ControlSignalV1, type Signal, supportedVersions } from './schemas.ts';

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

/**
 * To be asked before a signal is validated: one of another version must not be judged by the rules of this one.
 * @throws Refusal UNSUPPORTED_SCHEMA_VERSION
 */
export function assertSupportedVersion(signal: unknown): void {
  const version = (signal as { schema_version?: unknown } | null)?.schema_version;
  if (!Number.isInteger(version) || supportedVersions.includes(version as number)) return;
  const detail = `Schema version ${version} is not supported; supported: ${supportedVersions.join(', ')}.`;
  throw new Refusal('UNSUPPORTED_SCHEMA_VERSION', detail, { supported: supportedVersions });
}

/** The signal as its caller may send it, with its actor. @throws Refusal FORBIDDEN, ACTOR_MISMATCH */
export function signedBy(caller: Caller, signal: ControlSignalV1): ControlSignalV1 {
  caller.assertActsFor(signal.run_id, signal.agent_name);
  if (signal.control_type === 'guidance_answer') caller.assertNoAgent('answer questions');
  const actor = caller.actor(signal.actor, signal.agent_name);
  return actor ? { ...signal, actor } : signal;
}

export function signalNotFound(signalId: string): Refusal {
  return new Refusal('SIGNAL_NOT_FOUND', `There is no control signal ${signalId}.`);
}

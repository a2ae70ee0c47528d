import { type Static, Type } from 'typebox';
import { Actor } from '../actor.ts';
import {
  Id,
  JsonObject,
  Name,
  Nullable,
  PageOf,
  pageQuery,
  Ref,
  Sequence,
  Strict,
  Timestamp,
} from '../http/schemas.ts';

/** Any event. The document has a schema per event type in its place: see `event-types.ts`. */
export const Event = Type.Object(
  {
    event_id: Id,
    sequence: Sequence,
    event_type: Type.String(),
    event_version: Type.Integer(),
    occurred_at: Timestamp,
    thread_id: Nullable(Id),
    run_id: Nullable(Name),
    ticket: Nullable(Name),
    agent_name: Nullable(Name),
    actor: Ref(Actor),
    correlation_id: Id,
    causation_id: Nullable(Id),
    token_id: Nullable({ ...Id, description: 'The token of the request that caused the event; null without one.' }),
    payload: JsonObject,
  },
  { $id: 'Event' },
);
export type Event = Static<typeof Event>;

export const EventPage = PageOf(Event);

export const EventQuery = Strict({
  after: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'Only events with a greater sequence.',
    }),
  ),
  run_id: Type.Optional(Name),
  thread_id: Type.Optional(Id),
  agent_name: Type.Optional(Name),
  event_type: Type.Optional(Id),
  order: Type.Optional(Type.Enum(['oldest', 'newest'], { description: '`oldest` first if left out.' })),
  ...pageQuery,
});
export type EventQuery = Static<typeof EventQuery>;

const { after, run_id, thread_id, agent_name, event_type } = EventQuery.properties;

export const StreamQuery = Strict({ after, run_id, thread_id, agent_name, event_type });

export const StreamHeaders = Type.Object({
  'last-event-id': Type.Optional(
    Type.String({ description: 'The sequence of the last event that the client received. It overrides `after`.' }),
  ),
});

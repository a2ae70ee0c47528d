import { type Static, Type } from 'typebox';
import { Actor } from '../actor.ts';
import { ControlState } from '../control/schemas.ts';
import { Id, Name, Ref, Sequence, Strict, Timestamp, waitQuery } from '../http/schemas.ts';
import { Question } from '../questions/schemas.ts';
import { Thread } from '../threads/schemas.ts';

const example = { schema_version: 1, run_id: 'run-7', agent_name: 'builder' };

export const Signal = Type.Object(
  {
    signal_id: Id,
    sequence: Sequence,
    thread_id: Id,
    occurred_at: Timestamp,
    schema_version: Type.Integer(),
    control_type: Type.String(),
    run_id: Name,
    agent_name: Name,
    ticket: Type.Union([Type.String(), Type.Null()]),
    actor: Ref(Actor),
    correlation_id: Id,
    causation_id: Type.Union([Type.String(), Type.Null()]),
    attempt: Type.Integer(),
    question_id: Type.Optional(Type.String({ description: 'Id of the question that it opened or answered.' })),
  },
  {
    $id: 'Signal',
    description: 'A stored control signal: all fields as sent, and those that the service adds.',
    additionalProperties: true,
    examples: [
      {
        signal_id: 'sig_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a',
        sequence: 2,
        thread_id: 'fctrl-run-7-builder-e0a6c3f1b2d49587',
        occurred_at: '2026-11-22T09:30:00.000Z',
        ...example,
        control_type: 'completion',
        ticket: null,
        actor: { type: 'agent', name: 'builder' },
        correlation_id: 'sig_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a',
        causation_id: null,
        attempt: 1,
        summary: 'All tests pass.',
      },
    ],
  },
);
export type Signal = Static<typeof Signal>;

export const SignalResult = Type.Object(
  {
    signal: Ref(Signal),
    thread: Ref(Thread),
    control: Ref(ControlState),
    question: Type.Optional(Ref(Question)),
    inbox: Type.Object({
      unread: Type.Integer({
        minimum: 0,
        description:
          'Items of the inbox: questions that ended and messages of people that the agent has not acknowledged.',
      }),
    }),
  },
  { $id: 'SignalResult', description: 'The stored signal and its effects.' },
);
export type SignalResult = Static<typeof SignalResult>;

export const SignalParams = Strict({ signal_id: Id });
export const SendQuery = Strict(waitQuery);

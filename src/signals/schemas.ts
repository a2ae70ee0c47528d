import { type Static, type TProperties, Type } from 'typebox';
import { Actor } from '../actor.ts';
import { ControlState, Evidence } from '../control/schemas.ts';
import { componentName, Id, Name, Ref, Sequence, Strict, Text, Timestamp, waitQuery } from '../http/schemas.ts';
import { priorities } from '../priority.ts';
import { Option, Question } from '../questions/schemas.ts';
import { Thread } from '../threads/schemas.ts';

/*
 * The control signals of schema version 1, one variant per control_type.
 * A version 2 is a second union beside ControlSignalV1 and an entry in supportedVersions.
 */

export const supportedVersions = [1];

const envelope = {
  schema_version: Type.Literal(1),
  run_id: Name,
  agent_name: Name,
  ticket: Type.Optional(Name),
  actor: Type.Optional(Ref(Actor)),
  correlation_id: Type.Optional(Id),
  causation_id: Type.Optional(Id),
  attempt: Type.Optional(Type.Integer({ minimum: 1, description: 'Refused unless it is the current attempt.' })),
};

const evidence = Type.Optional(Type.Array(Ref(Evidence), { maxItems: 100 }));
const example = { schema_version: 1, run_id: 'run-7', agent_name: 'builder' };

export const GuidanceRequest = variant(
  'guidance_request',
  {
    question: Text,
    context: Type.Optional(Text),
    options: Type.Optional(Type.Array(Ref(Option), { minItems: 2, maxItems: 10, 'x-unique-by': 'label' })),
    multi_select: Type.Optional(Type.Boolean()),
    priority: Type.Optional(Type.Enum([...priorities])),
    expires_in_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 31_536_000 })),
    default_answer: Type.Optional(Text),
    supersedes: Type.Optional(Id),
  },
  { $id: 'GuidanceRequest', examples: [{ ...example, control_type: 'guidance_request', question: 'Which region?' }] },
);
export type GuidanceRequest = Static<typeof GuidanceRequest>;

export const GuidanceAnswer = variant(
  'guidance_answer',
  {
    answer: Text,
    in_reply_to: Type.Optional(Id),
    selected: Type.Optional(Type.Array(Name, { maxItems: 10 })),
  },
  { $id: 'GuidanceAnswer', examples: [{ ...example, control_type: 'guidance_answer', answer: 'Europe.' }] },
);
export type GuidanceAnswer = Static<typeof GuidanceAnswer>;

export const CompletionSignal = variant(
  'completion',
  { summary: Type.Optional(Text), evidence },
  { $id: 'CompletionSignal', examples: [{ ...example, control_type: 'completion', summary: 'All tests pass.' }] },
);
export type CompletionSignal = Static<typeof CompletionSignal>;

export const ValidationSignal = variant(
  'validation',
  { status: Type.Enum(['passed', 'failed']), done_criteria: Text, evidence },
  {
    $id: 'ValidationSignal',
    examples: [{ ...example, control_type: 'validation', status: 'passed', done_criteria: 'Tests are green.' }],
  },
);
export type ValidationSignal = Static<typeof ValidationSignal>;

const variants = [GuidanceRequest, GuidanceAnswer, CompletionSignal, ValidationSignal];

export type ControlSignalV1 = GuidanceRequest | GuidanceAnswer | CompletionSignal | ValidationSignal;
export type ControlType = ControlSignalV1['control_type'];

export const controlTypes: ControlType[] = variants.map(schema => schema.properties.control_type.const);

export const ControlSignalV1 = Type.Unsafe<ControlSignalV1>({
  $id: 'ControlSignalV1',
  type: 'object',
  // Only the variant that control_type names is checked, so an error never speaks of another variant's fields.
  discriminator: { propertyName: 'control_type' },
  oneOf: variants.map(schema => ({ $ref: `${componentName(schema)}#` })),
  'x-tags': Object.fromEntries(variants.map(schema => [schema.properties.control_type.const, componentName(schema)])),
  examples: variants.map(schema => (schema as { examples?: unknown[] }).examples?.[0]),
});

function variant<T extends string, P extends TProperties>(controlType: T, properties: P, options: object) {
  return Strict({ ...envelope, control_type: Type.Literal(controlType), ...properties }, options);
}

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
    question_id: Type.Optional(Type.String({ description: 'The question that it opened or answered.' })),
  },
  {
    $id: 'Signal',
    description: 'A stored control signal: what the service added, and every field that was sent.',
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
        description: "The agent's questions that were answered, expired or cancelled and that it has not acknowledged.",
      }),
    }),
  },
  { $id: 'SignalResult', description: 'The stored signal and what it led to.' },
);
export type SignalResult = Static<typeof SignalResult>;

export const SignalParams = Strict({ signal_id: Id });
export const SendQuery = Strict(waitQuery);

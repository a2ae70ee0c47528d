import { type Static, type TProperties, Type } from 'typebox';
import { Actor } from '../actor.ts';
import { Evidence } from '../control/schemas.ts';
import { componentName, Id, LENGTHS, Name, Ref, Strict, Text } from '../http/schemas.ts';
import { priorities } from '../priority.ts';
import { answerFields, Option, Source } from '../questions/schemas.ts';
import type { SignalVersion } from './command.ts';

/* The control signals of schema version 1, one variant per control_type. */

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

const evidence = Type.Optional(Type.Array(Ref(Evidence), { maxItems: 50 }));
const example = { schema_version: 1, run_id: 'run-7', agent_name: 'builder' };

/** An option, or its label alone. */
const GivenOption = Type.Unsafe<string | Static<typeof Option>>({ anyOf: [Ref(Option), Name] });

export const GuidanceRequest = variant(
  'guidance_request',
  {
    question: Text(LENGTHS.text),
    context: Type.Optional(Text(LENGTHS.body)),
    options: Type.Optional(Type.Array(GivenOption, { minItems: 2, maxItems: 10, 'x-unique-by': 'label' })),
    multi_select: Type.Optional(Type.Boolean()),
    priority: Type.Optional(Type.Enum([...priorities])),
    expires_in_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 31_536_000 })),
    remind_after_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 31_536_000,
        description:
          'Then an event calls the question to mind, once, if it is still open; 0 is never. If left out: 300 for `urgent`, 1,800 for `high`, 14,400 for `normal`, never for `low`.',
      }),
    ),
    default_answer: Type.Optional(Text(LENGTHS.text)),
    default_selected: Type.Optional(Type.Array(Name, { minItems: 1, maxItems: 10 })),
    supersedes: Type.Optional(Id),
    approvals: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 2,
        description: 'How many people must give the same answer; 1 if left out. 2 allows no default.',
      }),
    ),
    source: Type.Optional(Ref(Source)),
  },
  { $id: 'GuidanceRequest', examples: [{ ...example, control_type: 'guidance_request', question: 'Which region?' }] },
);
export type GuidanceRequest = Static<typeof GuidanceRequest>;

export const GuidanceAnswer = variant(
  'guidance_answer',
  {
    ...answerFields,
    in_reply_to: Type.Optional(Id),
  },
  { $id: 'GuidanceAnswer', examples: [{ ...example, control_type: 'guidance_answer', answer: 'Europe.' }] },
);
export type GuidanceAnswer = Static<typeof GuidanceAnswer>;

export const CompletionSignal = variant(
  'completion',
  { summary: Type.Optional(Text(LENGTHS.text)), evidence },
  { $id: 'CompletionSignal', examples: [{ ...example, control_type: 'completion', summary: 'All tests pass.' }] },
);
export type CompletionSignal = Static<typeof CompletionSignal>;

export const ValidationSignal = variant(
  'validation',
  { status: Type.Enum(['passed', 'failed']), done_criteria: Text(LENGTHS.text), evidence },
  {
    $id: 'ValidationSignal',
    examples: [{ ...example, control_type: 'validation', status: 'passed', done_criteria: 'Tests are green.' }],
  },
);
export type ValidationSignal = Static<typeof ValidationSignal>;

const variants = [GuidanceRequest, GuidanceAnswer, CompletionSignal, ValidationSignal];

export type ControlSignalV1 = GuidanceRequest | GuidanceAnswer | CompletionSignal | ValidationSignal;
export const ControlSignalV1 = Type.Unsafe<ControlSignalV1>({
  $id: 'ControlSignalV1',
  type: 'object',
  // Ajv checks only the variant that control_type names, so errors never mention fields of another variant.
  discriminator: { propertyName: 'control_type' },
  oneOf: variants.map(schema => ({ $ref: `${componentName(schema)}#` })),
  'x-tags': Object.fromEntries(variants.map(schema => [schema.properties.control_type.const, componentName(schema)])),
  examples: variants.map(schema => (schema as { examples?: unknown[] }).examples?.[0]),
});

function variant<T extends string, P extends TProperties>(controlType: T, properties: P, options: object) {
  return Strict({ ...envelope, control_type: Type.Literal(controlType), ...properties }, options);
}

export const v1: SignalVersion = {
  version: 1,
  schema: Ref(ControlSignalV1),
  // The command has the form of version 1, apart from options that are labels; a later version translates.
  toCommand(body) {
    const signal = body as ControlSignalV1;
    if (signal.control_type !== 'guidance_request') return signal;
    const { options, ...request } = signal;
    return options ? { ...request, options: options.map(toOption) } : request;
  },
};

function toOption(given: string | Static<typeof Option>): Static<typeof Option> {
  return typeof given === 'string' ? { label: given } : given;
}

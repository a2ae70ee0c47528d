import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Static, TSchema } from 'typebox';
import { Id, Name, Text } from '../http/schemas.ts';

/** Which callers see a tool. */
export type Audience = 'agent' | 'operator' | 'viewer';

/** The names in the URL of the service: `/mcp?run=run-7&agent=builder`. */
export interface Names {
  run?: string;
  agent?: string;
}

/** One call of a tool. */
export interface Call {
  request: FastifyRequest;
  reply: FastifyReply;
  names: Names;
  /** Where the call comes from, if its client says so. */
  source: { host: string; tool_use_id: string } | undefined;
  /** Tells the client how the call goes on, by notices that count up; undefined if it has not asked for them. */
  progress: ((notice: number, message: string) => Promise<void>) | undefined;
}

/** What a tool answers: a short text for the model, and ids for programs, which models do not see. */
export interface ToolAnswer {
  text: string;
  meta?: Record<string, unknown>;
}

export interface Tool<T extends TSchema = TSchema> {
  name: string;
  title: string;
  /** For the model, so it costs tokens of every session. */
  description: string;
  input: T;
  audience: readonly Audience[];
  /** Whether it changes nothing that others see. */
  readOnly: boolean;
  /** Whether Claude Code shows it to the model at once instead of on a search for tools. */
  alwaysLoad?: true;
  run(call: Call, args: Static<T>): Promise<ToolAnswer>;
}

/** Lets the arguments of `run` follow from `input`. */
export function tool<T extends TSchema>(definition: Tool<T>): Tool {
  return definition as unknown as Tool;
}

/** A schema with a description for the model. Its own description is the rule that a refusal names. */
export function described<T extends TSchema>(schema: T, title: string): T {
  return { ...schema, title };
}

/** Keywords that a model needs for valid arguments; the others are checked when it calls. */
const SHOWN = ['type', 'required', 'enum', 'minItems', 'minimum', 'maximum', 'description'];

/** Descriptions for readers of the API's document. */
const GENERAL = [Name, Id, Text(1)].map(schema => (schema as { description?: string }).description);

/** The JSON schema of arguments as clients see it: each keyword costs tokens of every session. */
export function shownSchema(schema: TSchema): Record<string, unknown> {
  const { properties, items, anyOf, title, ...rest } = schema as Record<string, unknown> & Nested;
  const told = title === undefined ? rest : { ...rest, description: title };
  const shown = Object.entries(told).filter(
    ([keyword, value]) => SHOWN.includes(keyword) && !GENERAL.includes(value as string),
  );
  return {
    // Some clients refuse an enum without a type.
    ...('enum' in rest && { type: 'string' }),
    ...Object.fromEntries(shown),
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, shownSchema(value)])),
    }),
    ...(items && { items: shownSchema(items) }),
    ...(anyOf && { anyOf: anyOf.map(shownSchema) }),
  };
}

interface Nested {
  properties?: Record<string, TSchema>;
  items?: TSchema;
  anyOf?: TSchema[];
}

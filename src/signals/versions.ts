import type { FastifySchemaCompiler } from 'fastify';
import { type TSchema, Type } from 'typebox';
import { Refusal } from '../errors.ts';
import type { SignalCommand } from './command.ts';

/** One schema version of control signals: what it looks like on the wire, and what it means. */
export interface SignalVersion {
  /** The value of `schema_version`. */
  version: number;
  /** The body of a signal. */
  schema: TSchema;
  /** Translates a body that fits the schema. */
  toCommand(body: unknown): SignalCommand;
}

type Validate = ReturnType<FastifySchemaCompiler<unknown>>;

/** The schema versions that the service takes. A new one is a file like v1.ts and an entry in the list given here. */
export class SchemaVersions {
  readonly #versions: readonly [SignalVersion, ...SignalVersion[]];

  constructor(versions: readonly [SignalVersion, ...SignalVersion[]]) {
    this.#versions = versions;
  }

  /** The version that a body names. A body that names none is judged by the first version. @throws Refusal UNSUPPORTED_SCHEMA_VERSION */
  of(body: unknown): SignalVersion {
    const [first] = this.#versions;
    const named = (body as { schema_version?: unknown } | null)?.schema_version;
    if (!Number.isInteger(named)) return first;
    const found = this.#versions.find(({ version }) => version === named);
    if (found) return found;
    const supported = this.#versions.map(({ version }) => version);
    const detail = `Schema version ${named} is not supported; supported: ${supported.join(', ')}.`;
    throw new Refusal('UNSUPPORTED_SCHEMA_VERSION', detail, { supported });
  }

  /** A body of any version. */
  get schema(): TSchema {
    const [first, ...others] = this.#versions.map(({ schema }) => schema) as [TSchema, ...TSchema[]];
    return others.length === 0 ? first : Type.Unsafe<unknown>({ oneOf: [first, ...others] });
  }

  /** Validates each body by its own version, so that errors never speak of another one. */
  validator(compile: (schema: TSchema) => Validate): Validate {
    const compiled = new Map(this.#versions.map(version => [version, compile(version.schema)]));
    const validate: Validate = body => {
      const own = compiled.get(this.of(body)) as Validate;
      const result = own(body);
      validate.errors = own.errors ?? null;
      return result;
    };
    return validate;
  }
}

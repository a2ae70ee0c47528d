import { type Static, type TObject, type TSchema, Type } from 'typebox';
import { NAME_RULE } from '../text.ts';

/*
 * The building blocks of every schemas.ts.
 * They refuse NUL and unpaired surrogates, which SQLite or PostgreSQL cannot store unchanged.
 */

/**
 * A short name. The keyword `x-normal` trims and normalizes it before the other keywords are checked. `x-name` is the
 * whole rule. `pattern` is its part that a regular expression of any language can say.
 */
export const Name = Type.String({
  'x-normal': true,
  'x-name': true,
  minLength: 1,
  maxLength: 200,
  pattern: '^[^\\p{Cc}\\p{Cs}]*$',
  description: `1 to 200 characters: ${NAME_RULE}. Stored in Unicode's form NFC, without surrounding white space.`,
});

/** Text for people, stored unchanged. @param maxLength characters */
export function Text(maxLength: number) {
  return Type.String({
    'x-visible': true,
    minLength: 1,
    maxLength,
    // The lookahead runs once, so a long blank text costs one pass instead of quadratic backtracking.
    pattern: '^(?=[\\s\\S]*\\S)[^\\u0000\\p{Cs}]*$',
    description: 'Text with at least one visible character, no NUL or unpaired surrogate.',
  });
}

/** The longest pointer in a problem document. Characters. */
export const POINTER_LENGTH = 300;

/** The lengths of texts. Characters. */
export const LENGTHS = { title: 500, reference: 2048, description: 2048, text: 16_384, body: 65_536 } as const;

export const Title = Type.String({ ...Text(LENGTHS.title), 'x-trim': true });

export const Id = Type.String({
  minLength: 1,
  maxLength: 200,
  pattern: '^[^\\u0000\\p{Cs}]*$',
  description: 'An opaque id.',
});

export const Timestamp = Type.String({ format: 'date-time', description: 'RFC 3339, UTC, milliseconds.' });

/** A time in a request. Date can read it, which the format alone does not promise: it has leap seconds, and years beyond 9999. */
export const Instant = Type.String({ format: 'date-time', 'x-instant': true });

export const Version = Type.Integer({ minimum: 1, description: 'Rises with every change of this resource.' });

/** Of a resource whose run was erased. */
export const Erased = Type.Optional(
  Type.Literal(true, { description: 'The run was erased: texts are empty or missing.' }),
);

export const Sequence = Type.Integer({ minimum: 0, description: 'Place in the event log.' });

/** Any JSON object, passed through unchanged. */
export const JsonObject = Type.Unsafe<Record<string, unknown>>({ type: 'object', additionalProperties: true });

/** A schema that also accepts null. */
export function Nullable<T extends TSchema>(schema: T): ReturnType<typeof Type.Unsafe<Static<T> | null>> {
  const { type, ...rest } = schema as T & { type?: string };
  // fast-json-stringify serializes a type list much faster than anyOf; only a $ref or an untyped schema needs anyOf.
  return Type.Unsafe<Static<T> | null>(
    type === undefined ? { anyOf: [schema, { type: 'null' }] } : { ...rest, type: [type, 'null'] },
  );
}

/** A reference to a component, that is, a schema with an `$id`. */
export function Ref<T extends TSchema>(schema: T): ReturnType<typeof Type.Unsafe<Static<T>>> {
  return Type.Unsafe<Static<T>>({ $ref: `${componentName(schema)}#` });
}

/** The `$id` of a component. */
export function componentName(schema: TSchema): string {
  return (schema as { $id?: string }).$id as string;
}

/** The query parameter of a read that may wait for a change. */
export const waitQuery = {
  wait: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 50,
      description: 'Seconds to wait for a change; then the current state is answered.',
    }),
  ),
};

/** The query parameters of a read that may wait for a newer version. */
export const versionQuery = {
  ...waitQuery,
  after_version: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'The version that the caller has; only a greater one is a change.',
    }),
  ),
};

/** The query parameters of every list. */
export const pageQuery = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50, description: 'Rows per page.' })),
  cursor: Type.Optional(Type.String({ maxLength: 4096, description: 'The `next_cursor` of the previous page.' })),
};

/** A page of components, itself a component: `RunPage` for `Run`. */
export function PageOf<T extends TSchema>(item: T) {
  return Type.Object(
    { items: Type.Array(Ref(item)), next_cursor: Nullable(Type.String()) },
    { $id: `${componentName(item)}Page`, description: 'A page; `next_cursor` is null on the last page.' },
  );
}

/** An object schema that refuses unknown fields. */
export function Strict<P extends Parameters<typeof Type.Object>[0]>(properties: P, options: object = {}): TObject<P> {
  return Type.Object(properties, { additionalProperties: false, ...options });
}

import { type Static, type TObject, type TSchema, Type } from 'typebox';

/*
 * The building blocks of every schemas.ts.
 * They refuse NUL and unpaired surrogates, which SQLite or PostgreSQL cannot store unchanged.
 */

/** A short name. The keyword `x-trim` trims white space before the other keywords are checked. */
export const Name = Type.String({
  'x-trim': true,
  minLength: 1,
  maxLength: 200,
  pattern: '^[^\\u0000\\p{Cs}]*$',
  description: '1 to 200 characters, not blank, no NUL or unpaired surrogate; surrounding white space is trimmed.',
});

/** Text for people, stored unchanged. */
export const Text = Type.String({
  minLength: 1,
  // The lookahead runs once, so a long blank text costs one pass instead of quadratic backtracking.
  pattern: '^(?=[\\s\\S]*\\S)[^\\u0000\\p{Cs}]*$',
  description: 'Text with at least one character that is not white space, no NUL or unpaired surrogate.',
});

export const Id = Type.String({
  minLength: 1,
  maxLength: 200,
  pattern: '^[^\\u0000\\p{Cs}]*$',
  description: 'An opaque id.',
});

export const Timestamp = Type.String({ format: 'date-time', description: 'RFC 3339, UTC, milliseconds.' });

export const Version = Type.Integer({ minimum: 1, description: 'Rises with every change of this resource.' });

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

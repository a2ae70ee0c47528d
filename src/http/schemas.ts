import { type Static, type TObject, type TSchema, Type } from 'typebox';

/*
 * The building blocks of the wire: every feature's schemas.ts is made of these.
 * Unicode that cannot be stored unchanged on both engines (NUL, unpaired surrogates) is refused here.
 */

/** A short name. Surrounding white space is trimmed before anything is checked (the `x-trim` keyword). */
export const Name = Type.String({
  'x-trim': true,
  minLength: 1,
  maxLength: 200,
  pattern: '^[^\\u0000\\p{Cs}]*$',
  description: '1 to 200 characters, not blank, no NUL or unpaired surrogate; surrounding white space is trimmed.',
});

/** Text for people. It is stored as it came. */
export const Text = Type.String({
  minLength: 1,
  // The lookahead is settled before the rest is read, so a long blank text costs one pass, not a quadratic search.
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

/** Any JSON object, passed through as it is. */
export const JsonObject = Type.Unsafe<Record<string, unknown>>({ type: 'object', additionalProperties: true });

export function Nullable<T extends TSchema>(schema: T): ReturnType<typeof Type.Unsafe<Static<T> | null>> {
  const { type, ...rest } = schema as T & { type?: string };
  // A type list serialises much faster than anyOf; only a $ref or an untyped schema needs the latter.
  return Type.Unsafe<Static<T> | null>(
    type === undefined ? { anyOf: [schema, { type: 'null' }] } : { ...rest, type: [type, 'null'] },
  );
}

/** A reference to a named component (a schema with an `$id`): validators and the document share one definition. */
export function Ref<T extends TSchema>(schema: T): ReturnType<typeof Type.Unsafe<Static<T>>> {
  return Type.Unsafe<Static<T>>({ $ref: `${componentName(schema)}#` });
}

export function componentName(schema: TSchema): string {
  return (schema as { $id?: string }).$id as string;
}

/** How long a read may wait for news. */
export const waitQuery = {
  wait: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 50, description: 'Seconds to wait for news; then the answer comes as it is.' }),
  ),
};

/** The version that the caller of a waiting read knows. */
export const versionQuery = {
  ...waitQuery,
  after_version: Type.Optional(
    Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'News is a greater version than this.' }),
  ),
};

/** The query parameters of every list. */
export const pageQuery = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50, description: 'Rows per page.' })),
  cursor: Type.Optional(Type.String({ maxLength: 4096, description: 'The `next_cursor` of the page before.' })),
};

export function PageOf<T extends TSchema>(item: T) {
  return Type.Object(
    { items: Type.Array(Ref(item)), next_cursor: Nullable(Type.String()) },
    { $id: `${componentName(item)}Page`, description: 'A page; `next_cursor` is null on the last one.' },
  );
}

/** An object that refuses fields it does not know. */
export function Strict<P extends Parameters<typeof Type.Object>[0]>(properties: P, options: object = {}): TObject<P> {
  return Type.Object(properties, { additionalProperties: false, ...options });
}

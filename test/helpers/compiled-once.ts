import { createRequire } from 'node:module';
import type fastJson from 'fast-json-stringify';

/*
 * Stands in for fast-json-stringify while tests run (see vitest.config.ts): compiles each schema once per process. Every
 * service that a test builds has the same ones, and to compile them took half of the time that building one takes.
 */

type Compile = (schema: fastJson.Schema, options?: fastJson.Options) => (value: unknown) => string;
type Externals = NonNullable<fastJson.Options['schema']>;

const compile: Compile = createRequire(import.meta.url)('fast-json-stringify');
const known = new Map<string, { externals: Externals; serialize: (value: unknown) => string }>();

const compileOnce: Compile = (schema, { schema: externals = {}, ...options } = {}) => {
  const key = JSON.stringify([schema, options]);
  const found = known.get(key);
  if (found && same(found.externals, externals)) return found.serialize;
  const serialize = compile(schema, { schema: externals, ...options });
  known.set(key, { externals, serialize });
  return serialize;
};

/** Whether the same objects have the same names. */
function same(some: Externals, others: Externals): boolean {
  const names = Object.keys(some);
  return names.length === Object.keys(others).length && names.every(name => some[name] === others[name]);
}

export default compileOnce;

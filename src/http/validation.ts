import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import type { FastifyInstance, FastifySchemaValidationError } from 'fastify';
import type { TSchema } from 'typebox';
import type { ProblemItem } from '../errors.ts';
import { Strict } from './schemas.ts';

/** The first instant whose year has five digits. Epoch milliseconds. */
const YEAR_10000 = Date.UTC(10_000, 0, 1);

/** Errors reported per request; a body of one megabyte can cause a hundred thousand. */
const ERRORS_REPORTED = 20;

/**
 * Uses two validators over the same components. Bodies are validated strictly; query strings, path parameters and headers
 * are text, so their values are coerced.
 */
export function useValidation(app: FastifyInstance, components: TSchema[]): void {
  const strict = createAjv(components, false);
  const coercing = createAjv(components, true);
  app.setValidatorCompiler(({ schema, httpPart }) =>
    compileLazily(httpPart === 'body' ? strict : coercing, schema as object),
  );
  // Unknown query parameters are refused also by routes without any.
  app.addHook('onRoute', ({ schema }) => {
    if (schema?.operationId && !schema.querystring) schema.querystring = Strict({});
  });
  // A body with only optional fields may be omitted.
  app.addHook('preValidation', async request => {
    if (request.routeOptions.schema?.body && request.body === undefined) request.body = {};
  });
}

/** The validator of bodies, for messages. The validating function returns the errors, none for a valid body. */
export function bodyValidator(components: TSchema[]): (schema: TSchema) => (body: unknown) => ProblemItem[] {
  const ajv = createAjv(components, false);
  return schema => {
    const validate = compileLazily(ajv, schema);
    return body => (validate(body) ? [] : toItems((validate.errors ?? []) as FastifySchemaValidationError[], 'body'));
  };
}

/** Compiles at the first use: compiling all validators takes a fifth of the start time. */
function compileLazily(ajv: Ajv, schema: object) {
  let compiled: ValidateFunction | undefined;
  const validate = (data: unknown): boolean => {
    compiled ??= ajv.compile(schema);
    const fits = compiled(data) as boolean;
    validate.errors = compiled.errors ?? null;
    return fits;
  };
  validate.errors = null as ErrorObject[] | null;
  return validate;
}

function createAjv(components: TSchema[], coerce: boolean): Ajv {
  const ajv = new Ajv({
    allErrors: true,
    coerceTypes: coerce,
    // With strict numbers, Ajv skips `maximum` for Infinity, which text such as 1e400 is coerced to.
    strictNumbers: !coerce,
    useDefaults: coerce,
    discriminator: true,
    strict: true,
    strictTypes: false,
    verbose: true,
  });
  addFormats.default(ajv, ['date-time']);
  ajv.addKeyword({ keyword: 'x-tags', schemaType: 'object' });
  ajv.addKeyword({
    keyword: 'x-trim',
    type: 'string',
    schemaType: 'boolean',
    // Trims before the length is checked.
    before: 'maxLength',
    modifying: true,
    errors: false,
    validate: (
      _trim: boolean,
      text: string,
      _schema?: unknown,
      place?: { parentData: Record<string, unknown>; parentDataProperty: string | number },
    ) => {
      if (place) place.parentData[place.parentDataProperty] = text.trim();
      return true;
    },
  });
  ajv.addKeyword({
    keyword: 'x-max-depth',
    schemaType: 'number',
    validate: (limit: number, value: unknown) => !isDeeperThan(value, limit),
  });
  ajv.addKeyword({
    keyword: 'x-finite',
    schemaType: 'boolean',
    // JSON.parse reads 1e400 as Infinity, which JSON cannot express.
    validate: (_finite: boolean, value: unknown) => !hasNumber(value, number => !Number.isFinite(number)),
  });
  ajv.addKeyword({
    keyword: 'x-instant',
    type: 'string',
    schemaType: 'boolean',
    // The format allows leap seconds, which Date rejects, and offsets that lead beyond the year 9999.
    validate: (_instant: boolean, text: string) => Date.parse(text) >= 0 && Date.parse(text) < YEAR_10000,
  });
  ajv.addKeyword({
    keyword: 'x-unique-by',
    type: 'array',
    schemaType: 'string',
    validate: (name: string, items: Record<string, unknown>[]) => {
      const values = items.map(item => item?.[name]).filter(value => value !== undefined);
      return new Set(values).size === values.length;
    },
  });
  for (const component of components) ajv.addSchema(component);
  return ajv;
}

/** Walks level by level: recursion could overflow the stack on a deeply nested value. */
function isDeeperThan(value: unknown, limit: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > limit) return true;
    level = childrenOf(level);
  }
  return false;
}

/** Whether any number in a JSON value satisfies the predicate. Walks level by level, as above. */
function hasNumber(value: unknown, predicate: (number: number) => boolean): boolean {
  for (let level: unknown[] = [value]; level.length > 0; level = childrenOf(level)) {
    if (level.some(item => typeof item === 'number' && predicate(item))) return true;
  }
  return false;
}

function childrenOf(level: unknown[]): unknown[] {
  return level.flatMap(item => (typeof item === 'object' && item !== null ? Object.values(item) : []));
}

/** Converts Ajv's errors to the `errors` of a problem document: the first one per pointer. */
export function toItems(errors: FastifySchemaValidationError[], context: string): ProblemItem[] {
  const where = context === 'querystring' ? 'query' : (context as ProblemItem['in']);
  const items = new Map<string, ProblemItem>();
  for (const error of errors) {
    const item = { in: where, ...toItem(error as ErrorObject) };
    if (!items.has(item.pointer)) items.set(item.pointer, item);
    if (items.size === ERRORS_REPORTED) break;
  }
  return [...items.values()];
}

function toItem({
  keyword,
  instancePath,
  params,
  message = 'is wrong',
  parentSchema,
}: ErrorObject): Omit<ProblemItem, 'in'> {
  const member = (name: string) => `${instancePath}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
  switch (keyword) {
    case 'required':
      return { pointer: member(params.missingProperty), code: 'REQUIRED', detail: 'is required' };
    case 'additionalProperties':
      return { pointer: member(params.additionalProperty), code: 'UNKNOWN_FIELD', detail: 'is not a known field' };
    case 'discriminator': {
      const known = `one of ${Object.keys(parentSchema?.['x-tags'] ?? {}).join(', ')}`;
      if (params.tagValue === undefined)
        return { pointer: member(params.tag), code: 'REQUIRED', detail: `is required: ${known}` };
      return { pointer: member(params.tag), code: 'UNKNOWN_VALUE', detail: `must be ${known}` };
    }
    case 'enum':
      return {
        pointer: instancePath,
        code: 'UNKNOWN_VALUE',
        detail: `must be one of ${params.allowedValues.join(', ')}`,
      };
    case 'pattern':
      return {
        pointer: instancePath,
        code: 'INVALID_FORMAT',
        detail: `must be: ${parentSchema?.description ?? message}`,
      };
    case 'const':
      return { pointer: instancePath, code: 'UNKNOWN_VALUE', detail: `must be ${JSON.stringify(params.allowedValue)}` };
    case 'x-finite':
      return {
        pointer: instancePath,
        code: 'INVALID_NUMBER',
        detail: 'must hold only numbers that fit a double',
      };
    case 'x-instant':
      return {
        pointer: instancePath,
        code: 'INVALID_FORMAT',
        detail: 'must be a time between the years 1970 and 9999',
      };
    case 'x-unique-by':
      return {
        pointer: instancePath,
        code: 'NOT_UNIQUE',
        detail: `must not have the same ${parentSchema?.['x-unique-by']} twice`,
      };
    case 'x-max-depth':
      return {
        pointer: instancePath,
        code: 'TOO_DEEP',
        detail: `must not be nested deeper than ${parentSchema?.['x-max-depth']} levels`,
      };
    default:
      return { pointer: instancePath, code: ITEM_CODES[keyword] ?? 'INVALID', detail: message };
  }
}

const ITEM_CODES: Record<string, string> = {
  type: 'INVALID_TYPE',
  format: 'INVALID_FORMAT',
  minLength: 'TOO_SHORT',
  maxLength: 'TOO_LONG',
  minItems: 'TOO_FEW',
  maxItems: 'TOO_MANY',
  minimum: 'TOO_SMALL',
  maximum: 'TOO_LARGE',
};

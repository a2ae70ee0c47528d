import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import type { FastifyInstance, FastifySchemaValidationError } from 'fastify';
import type { TSchema } from 'typebox';
import { LATEST_TIME } from '../clock.ts';
import type { ProblemItem } from '../errors.ts';
import { cut, isName, isVisible, normalName, trim } from '../text.ts';
import { validationFault } from '../validation-fault.ts';
import { POINTER_LENGTH, Strict } from './schemas.ts';

/** Errors reported per request. */
const ERRORS_REPORTED = 20;
/** Values in a request, above which only its first error is looked for. A brief names 1000 agents. */
const FULLY_CHECKED = 2000;

/**
 * Uses two validators over the same components. Bodies are validated strictly; query strings, path parameters and headers
 * are text, so their values are coerced.
 */
export function useValidation(app: FastifyInstance, components: TSchema[]): void {
  const { strict, coercing } = validatorsOf(components);
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
  const { strict } = validatorsOf(components);
  return schema => {
    const validate = compileLazily(strict, schema);
    return body => (validate(body) ? [] : toItems((validate.errors ?? []) as FastifySchemaValidationError[], 'body'));
  };
}

/**
 * Compiles at the first use: compiling all validators takes a fifth of the start time. A valid value, and a large one,
 * is checked up to its first error only: a body of a megabyte could cause a million errors.
 */
function compileLazily({ quick, full }: Validators, schema: object) {
  let first: ValidateFunction | undefined;
  let all: ValidateFunction | undefined;
  const validate = (data: unknown): boolean => {
    first ??= quick(schema);
    const fits = first(data) as boolean;
    validate.errors = first.errors ?? null;
    if (!fits && isSmall(data)) {
      all ??= full(schema);
      all(data);
      validate.errors = all.errors ?? validate.errors;
    }
    return fits;
  };
  validate.errors = null as ErrorObject[] | null;
  return validate;
}

/** Whether a value holds at most {@link FULLY_CHECKED} values. */
function isSmall(value: unknown): boolean {
  const values = [value];
  for (let at = 0; at < values.length; at += 1) {
    if (values.length > FULLY_CHECKED) return false;
    const item = values[at];
    if (typeof item !== 'object' || item === null) continue;
    // Not spread: a call takes a limited number of arguments.
    for (const name in item) {
      values.push((item as Record<string, unknown>)[name]);
      if (values.length > FULLY_CHECKED) return false;
    }
  }
  return true;
}

type Compile = (schema: object) => ValidateFunction;

/** Two validators of one kind: up to the first error, and for all errors. */
interface Validators {
  quick: Compile;
  full: Compile;
}

const known = new WeakMap<TSchema[], Record<'strict' | 'coercing', Validators>>();

/** The validators over these components. Routes, messages and commands share them. */
function validatorsOf(components: TSchema[]): Record<'strict' | 'coercing', Validators> {
  const found = known.get(components);
  if (found) return found;
  const validators = (coerce: boolean) => ({
    quick: compileOnce(() => createAjv(components, { coerce, allErrors: false })),
    full: compileOnce(() => createAjv(components, { coerce, allErrors: true })),
  });
  const created = { strict: validators(false), coercing: validators(true) };
  known.set(components, created);
  return created;
}

/** Compiles equal schemas once, with an instance of Ajv that the first of them makes. */
function compileOnce(create: () => Ajv): Compile {
  const compiled = new Map<string, ValidateFunction>();
  let ajv: Ajv | undefined;
  return schema => {
    const text = JSON.stringify(schema);
    const found = compiled.get(text);
    if (found) return found;
    ajv ??= create();
    const validate = ajv.compile(schema);
    compiled.set(text, validate);
    return validate;
  };
}

function createAjv(components: TSchema[], { coerce, allErrors }: { coerce: boolean; allErrors: boolean }): Ajv {
  const ajv = new Ajv({
    allErrors,
    coerceTypes: coerce,
    // With strict numbers, Ajv skips `maximum` for Infinity, which text such as 1e400 is coerced to.
    strictNumbers: !coerce,
    useDefaults: coerce,
    discriminator: true,
    strict: true,
    strictTypes: false,
    verbose: true,
    // Redocly checks all schemas in the OpenAPI document. To do so here would take a tenth of each start.
    validateSchema: false,
  });
  addFormats.default(ajv, ['date-time']);
  ajv.addKeyword({ keyword: 'x-tags', schemaType: 'object' });
  const normal =
    (normalize: (text: string) => string) =>
    (
      _is: boolean,
      text: string,
      _schema?: unknown,
      place?: { parentData: object; parentDataProperty: string | number },
    ) => {
      if (place) Object.assign(place.parentData, { [place.parentDataProperty]: normalize(text) });
      return true;
    };
  // Before the length is checked.
  const modifying = {
    type: 'string',
    schemaType: 'boolean',
    before: 'maxLength',
    modifying: true,
    errors: false,
  } as const;
  ajv.addKeyword({ keyword: 'x-trim', ...modifying, validate: normal(trim) });
  ajv.addKeyword({ keyword: 'x-normal', ...modifying, validate: normal(normalName) });
  ajv.addKeyword({
    keyword: 'x-name',
    type: 'string',
    schemaType: 'boolean',
    validate: (_isName: boolean, text: string) => isName(text),
  });
  ajv.addKeyword({
    keyword: 'x-visible',
    type: 'string',
    schemaType: 'boolean',
    validate: (_isVisible: boolean, text: string) => isVisible(text),
  });
  ajv.addKeyword({
    keyword: 'x-instant',
    type: 'string',
    schemaType: 'boolean',
    // The format allows leap seconds, which Date rejects, and offsets that lead beyond the year 9999.
    validate: (_instant: boolean, text: string) => Date.parse(text) >= 0 && Date.parse(text) <= LATEST_TIME,
  });
  ajv.addKeyword({
    keyword: 'x-unique-by',
    type: 'array',
    schemaType: 'string',
    // A member that is a text stands for an object with nothing but that.
    validate: (name: string, items: (string | Record<string, unknown>)[]) => {
      const values = items
        .map(item => (typeof item === 'string' ? item : item?.[name]))
        .filter(value => value !== undefined);
      return new Set(values).size === values.length;
    },
  });
  for (const component of components) ajv.addSchema(component);
  return ajv;
}

/** Converts Ajv's errors to the `errors` of a problem document: the first one per pointer. */
export function toItems(errors: FastifySchemaValidationError[], context: string): ProblemItem[] {
  const where = context === 'querystring' ? 'query' : (context as ProblemItem['in']);
  const items = new Map<string, ProblemItem>();
  for (const error of ofFittingTypes(errors as ErrorObject[])) {
    const item = { in: where, ...validationFault(error) };
    // A name may be as long as the body.
    item.pointer = cut(item.pointer, POINTER_LENGTH);
    if (!items.has(item.pointer)) items.set(item.pointer, item);
    if (items.size === ERRORS_REPORTED) break;
  }
  return [...items.values()];
}

/**
 * Without what Ajv says of the alternatives of an `anyOf` whose type the value does not have: a wrong label of an option is
 * no wrong object. If it has the type of none, the first alternative counts.
 */
function ofFittingTypes(errors: readonly ErrorObject[]): ErrorObject[] {
  const choices = new Set(errors.filter(({ keyword }) => keyword === 'anyOf').map(({ instancePath }) => instancePath));
  const isWrongType = ({ keyword, instancePath }: ErrorObject) => keyword === 'type' && choices.has(instancePath);
  const told = errors.filter(({ keyword }) => keyword !== 'anyOf');
  // Sets, since a body can cause thousands of errors.
  const explained = new Set<string>();
  for (const { instancePath } of told.filter(error => !isWrongType(error))) {
    for (let path = instancePath; path && !explained.has(path); path = path.slice(0, path.lastIndexOf('/'))) {
      explained.add(path);
    }
  }
  return told.filter(error => !isWrongType(error) || !explained.has(error.instancePath));
}

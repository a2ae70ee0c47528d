import * as fc from 'fast-check';
import { isName, isVisible, normalName } from '../../src/text.ts';
import { type Operation, operations, type Parameter, resolved, type Schema } from './document.ts';

/** Stands for an id that the service has given out by the time when the request is sent. */
export class Known {
  readonly name: string;
  readonly pick: number;
  constructor(name: string, pick: number) {
    this.name = name;
    this.pick = pick;
  }
}

/** A request before its {@link Known} ids are filled in. */
export interface Request {
  operation: Operation;
  method: string;
  path: Record<string, unknown>;
  query: Record<string, unknown>;
  headers: Record<string, unknown>;
  /** An object is sent as JSON, a string as it is. */
  body: unknown;
  contentType: string | undefined;
  /** What was made wrong on purpose, so that the service must refuse it. */
  broken: string | undefined;
}

const runs = ['run-1', 'run-2', 'Lauf/ß', 'run 3%'];
const agents = ['builder', 'tester', 'b/c'];
const topics = ['forum.integration.chat', 'forum.events.control.signal', 'forum.commands.add_post', 'own.topic'];
/** Values that have broken other services. */
const nasty = [
  '',
  ' ',
  '\0',
  '\ud800',
  '../..',
  '%00',
  "'; drop table events; --",
  '{{7*7}}',
  'é'.normalize('NFD'),
  '\u202e',
  '💥',
  'null',
  '-1',
  '1e400',
  'a'.repeat(201),
  'x'.repeat(5000),
  'x'.repeat(16_384),
  'x'.repeat(16_385),
  'x'.repeat(65_537),
  '\u0301'.repeat(300),
  'a\u200bb',
  '\u3164',
];

/** A character of each Unicode category, and of those that hide. */
const CATEGORIES = [
  ...'aA\u01c5\u02b0\u00aa\u0301\u0903\u20dd1\u2160\u00b2_-([\u00ab\u00bb!+$^\u00a6 \u2028\u2029\u0007\u00ad\ue000\u0378\u2066\u200d',
];
/** JSON numbers that a double cannot hold. */
const INEXACT = ['9007199254740993', '-1e400', '1e-400', '0.1000000000000000055'];

/** Values of some names that have a meaning beyond their schema. */
const byName: Record<string, fc.Arbitrary<unknown>> = {
  run_id: fc.constantFrom(...runs),
  agent_name: fc.constantFrom(...agents),
  topic: fc.constantFrom(...topics),
  viewer: fc.constantFrom('human:ana', 'agent:builder', 'operator:fuzz'),
  // Nobody waits here.
  wait: fc.constant(0),
  cursor: fc.oneof(fc.constantFrom('W10', 'e30', ''), fc.base64String({ maxLength: 40 }), known('next_cursor')),
};
for (const name of ['thread_id', 'question_id', 'signal_id', 'message_id', 'token_id']) byName[name] = known(name);
byName.in_reply_to = byName.supersedes = known('question_id');

function known(name: string): fc.Arbitrary<Known> {
  return fc.nat({ max: 999 }).map(pick => new Known(name, pick));
}

/** Values that fit a schema. */
function fitting(given: Schema, name = ''): fc.Arbitrary<unknown> {
  const schema = resolved(given);
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum) return fc.constantFrom(...schema.enum);
  const special = byName[name];
  if (special) return special;
  if (schema.oneOf ?? schema.anyOf)
    return fc.oneof(...(schema.oneOf ?? schema.anyOf ?? []).map(one => fitting(one, name)));
  const [type, ...others] = [schema.type ?? 'any'].flat();
  if (others.length > 0) return fc.oneof(fitting({ ...schema, type: type as string }, name), fc.constant(null));
  switch (type) {
    case 'object': {
      const properties = Object.entries(schema.properties ?? {}).map(
        ([key, value]) => [key, fitting(value, key)] as const,
      );
      return fc.record(Object.fromEntries(properties), { requiredKeys: schema.required ?? [] });
    }
    case 'array':
      return fc.array(fitting(schema.items ?? {}), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems ?? 4, 4),
      });
    case 'integer':
    case 'number':
      return fc.integer({ min: schema.minimum ?? -5, max: Math.min(schema.maximum ?? 1000, 1000) });
    case 'boolean':
      return fc.boolean();
    case 'string':
      return text(schema);
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function text({ format, pattern, minLength = 0, maxLength = 300 }: Schema): fc.Arbitrary<string> {
  if (format === 'date-time') {
    return fc
      .date({ min: new Date('2000-01-01'), max: new Date('2100-01-01'), noInvalidDate: true })
      .map(date => date.toISOString());
  }
  // Nobody would hit upon a key or an address by chance.
  const isNarrow = pattern !== undefined && !/\\p|\(\?/.test(pattern);
  const free = fc.oneof(
    ...(isNarrow ? [fc.stringMatching(new RegExp(pattern, 'u'), { size: 'small' })] : []),
    fc.string({ maxLength: 30 }),
    fc.string({ unit: 'grapheme', maxLength: 30 }),
    fc.string({ unit: fc.constantFrom(...CATEGORIES), maxLength: 10 }),
    fc.constantFrom(...nasty),
  );
  const fits = (value: string) =>
    // Only the pattern of names speaks of control characters.
    (pattern?.includes('Cc') ? isName(normalName(value)) : isVisible(value)) &&
    value.length >= minLength &&
    value.length <= maxLength &&
    (!pattern || new RegExp(pattern, 'u').test(value));
  return fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('ana', 'x-1', 'plain') },
    { weight: 2, arbitrary: free.filter(fits) },
  );
}

function parameters(operation: Operation, place: Parameter['in']): fc.Arbitrary<Record<string, unknown>> {
  const own = operation.parameters.filter(parameter => parameter.in === place);
  const entries = own.map(
    ({ name, schema }) => [name, place === 'header' ? header(name) : fitting(schema, name)] as const,
  );
  const requiredKeys = own.filter(({ required }) => required).map(({ name }) => name);
  return fc.record(Object.fromEntries(entries), { requiredKeys });
}

function header(name: string): fc.Arbitrary<string> {
  if (name === 'last-event-id') return fc.constantFrom('0', '7', '');
  if (name === 'idempotency-key') {
    return fc.oneof(
      fc.constantFrom('key-1', '"key-2"'),
      fc.nat({ max: 100_000 }).map(number => `key-${number}`),
    );
  }
  return fc.constantFrom('"1"', '"2"', '*', 'W/"1"', '"x"', '"1", "2"');
}

/** A request that fits the document. */
const fittingRequest: fc.Arbitrary<Request> = fc.constantFrom(...operations).chain(operation =>
  fc.record({
    operation: fc.constant(operation),
    method: fc.constant(operation.method),
    path: parameters(operation, 'path'),
    query: parameters(operation, 'query'),
    headers: parameters(operation, 'header'),
    body: operation.body ? fitting(operation.body) : fc.constant(undefined),
    contentType: fc.constant(operation.body ? 'application/json' : undefined),
    broken: fc.constant(undefined),
  }),
);

type Break = (request: Request, value: unknown, pick: number) => Request | undefined;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Ways to make a request wrong; undefined where one does not apply. */
const breaks: Record<string, Break> = {
  'unknown field': request => {
    // What a host hands to a hook has whatever fields it likes.
    const isOpen = resolved(request.operation.body ?? {}).additionalProperties === true;
    return isObject(request.body) && !isOpen ? { ...request, body: { ...request.body, surplus: 1 } } : undefined;
  },
  'unknown parameter': request => ({ ...request, query: { ...request.query, surplus: '1' } }),
  'missing field': (request, _value, pick) => {
    const schema = request.operation.body && resolved(request.operation.body);
    const name = schema?.required?.[pick % (schema.required.length || 1)];
    if (!isObject(request.body) || name === undefined) return undefined;
    const { [name]: _gone, ...body } = request.body;
    return { ...request, body };
  },
  'wrong type': (request, _value, pick) => {
    if (!isObject(request.body)) return undefined;
    const schema = resolved(request.operation.body ?? {});
    const names = Object.keys(schema.properties ?? {}).filter(name => name !== 'payload');
    const name = names[pick % (names.length || 1)];
    return name === undefined ? undefined : { ...request, body: { ...request.body, [name]: [[{}]] } };
  },
  'a number that does not fit': (request, _value, pick) =>
    request.operation.body ? { ...request, body: `{"any":[${INEXACT[pick % INEXACT.length]}]}` } : undefined,
  'a name twice': request => (request.operation.body ? { ...request, body: '{"any":1,"any":2}' } : undefined),
  'too many values': request =>
    request.operation.body ? { ...request, body: `{"any":[${'1,'.repeat(100_000)}1]}` } : undefined,
  'too large a body': request =>
    request.operation.body ? { ...request, body: `{"any":"${'x'.repeat(1_048_576)}"}` } : undefined,
  'no JSON': request => (request.operation.body ? { ...request, body: '{"a":' } : undefined),
  'no UTF-8': request => (request.operation.body ? { ...request, body: Buffer.from([0x22, 0xff, 0x22]) } : undefined),
  'an array': request => (request.operation.body ? { ...request, body: [] } : undefined),
  'another media type': request =>
    request.operation.body ? { ...request, contentType: 'text/plain', body: 'hello' } : undefined,
  'too long a limit': request =>
    'limit' in request.query || takes(request, 'limit')
      ? { ...request, query: { ...request.query, limit: '201' } }
      : undefined,
  'a bad cursor': request =>
    takes(request, 'cursor') ? { ...request, query: { ...request.query, cursor: '💥' } } : undefined,
};

function takes({ operation }: Request, name: string): boolean {
  return operation.parameters.some(parameter => parameter.name === name);
}

const brokenRequest: fc.Arbitrary<Request> = fc
  .tuple(fittingRequest, fc.constantFrom(...Object.keys(breaks)), fc.constantFrom(...nasty), fc.nat())
  .map(([request, way, value, pick]) => {
    const broken = breaks[way]?.(request, value, pick);
    return broken ? { ...broken, broken: way } : request;
  });

/** One where any text may stand anywhere: it may be refused or not, but nothing may break. */
const strangeRequest: fc.Arbitrary<Request> = fc
  .tuple(fittingRequest, fc.constantFrom(...nasty), fc.nat(), fc.constantFrom('path', 'query', 'body', 'headers'))
  .map(([request, value, pick, place]) => {
    const part = request[place as 'path'];
    if (!isObject(part)) return request;
    const names = Object.keys(part);
    const name = names[pick % (names.length || 1)];
    if (name === undefined) return request;
    // A header cannot hold just anything; the client would refuse to send it.
    const text = place === 'headers' ? encodeURIComponent(value.toWellFormed()) : value;
    return { ...request, [place]: { ...part, [name]: text } };
  });

export const anyRequest: fc.Arbitrary<Request> = fc.oneof(
  { weight: 5, arbitrary: fittingRequest },
  { weight: 3, arbitrary: brokenRequest },
  { weight: 3, arbitrary: strangeRequest },
);

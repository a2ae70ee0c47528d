import { STATUS_CODES } from 'node:http';
import { callersOf } from '../src/access/permissions.ts';
import { type ProblemCode, problemTable } from '../src/errors.ts';
import { COMMON_CODES, PROBLEM_TYPE } from '../src/http/problems.ts';
import { webhooksOf } from './webhooks.ts';

/* Completes the OpenAPI document that is made from the route schemas. Everything here holds for every operation. */

/** What a running service answered to the requests of openapi/story.ts. */
export interface Examples {
  /** By operation id. */
  operations: Record<string, OperationExamples>;
  /** One problem document per code. */
  problems: Record<string, unknown>;
  /** The body of a request that a webhook got. */
  webhook: unknown;
}

interface OperationExamples {
  /** The body of the first request that succeeded. */
  request?: unknown;
  /** By status, then by media type. */
  responses: Record<string, Record<string, unknown>>;
}

interface Media {
  schema: object;
  'x-codes'?: ProblemCode[];
}

interface Response {
  description: string;
  headers?: object;
  content?: Record<string, Media>;
}

interface Operation {
  operationId: string;
  summary: string;
  description?: string;
  parameters?: { name: string }[];
  requestBody?: { content: Record<string, object> };
  responses: Record<string, Response>;
}

/**
 * Adds to each operation a description, who may call it, examples, and the codes of its problems as enums; and the requests
 * that the service itself sends. Responses that several operations share are components.
 */
export function completeDocument<T extends { paths?: object; components?: object }>(document: T, examples: Examples) {
  const shared = new Map<string, Response>();
  const documented = new Set<ProblemCode>();
  const uses = new Map<string, number>();
  for (const item of Object.values(document.paths ?? {})) {
    for (const { responses } of Object.values(item as Record<string, Operation>)) {
      for (const [status, { content = {} }] of Object.entries(responses)) {
        const name = responseName(status, content[PROBLEM_TYPE]?.['x-codes'] ?? []);
        uses.set(name, (uses.get(name) ?? 0) + 1);
      }
    }
  }

  function problem(status: string, { content = {}, ...response }: Response): object {
    const { [PROBLEM_TYPE]: media, ...own } = content;
    const codes = media?.['x-codes'] ?? [];
    for (const code of codes) documented.add(code);
    const complete = { ...response, content: { ...own, [PROBLEM_TYPE]: problemMedia(codes, examples) } };
    const name = responseName(status, codes);
    // An operation with another form of errors beside problems shares with none.
    if (Object.keys(own).length > 0 || uses.get(name) === 1) return complete;
    shared.set(name, complete);
    return { $ref: `#/components/responses/${name}` };
  }

  function completed({ operationId, summary, description, ...operation }: Operation): object {
    const { request, responses: recorded = {} } = examples.operations[operationId] ?? { responses: {} };
    const responses = Object.entries(operation.responses).map(([status, response]) => {
      const { content, ...rest } = withExamples(response, recorded[status]);
      const said = { ...rest, description: responseDescription(status, operation.responses) };
      if (content?.[PROBLEM_TYPE]) return [status, problem(status, { ...rest, content })];
      return [status, content ? { ...said, content } : said];
    });
    return {
      operationId,
      summary,
      description: [description, callersOf(operationId), ...mannersOf(operation)].filter(Boolean).join(' '),
      ...operation,
      ...(operation.requestBody && { requestBody: withRequest(operation.requestBody, request) }),
      responses: Object.fromEntries(responses),
    };
  }

  const paths = Object.entries(document.paths ?? {}).map(([path, item]) => [
    path,
    Object.fromEntries(
      Object.entries(item as Record<string, Operation>).map(([method, operation]) => [method, completed(operation)]),
    ),
  ]);
  const problems = Object.entries(examples.problems)
    .filter(([code]) => documented.has(code as ProblemCode))
    .map(([code, value]) => [code, { summary: problemTable[code as ProblemCode].title, value }]);
  return describeUnions({
    ...document,
    paths: Object.fromEntries(paths),
    components: {
      ...document.components,
      responses: Object.fromEntries([...shared].sort(([a], [b]) => (a < b ? -1 : 1))),
      examples: Object.fromEntries(problems),
    },
    webhooks: webhooksOf(examples),
  });
}

/** What a caller can do with an operation that has these parameters. */
function mannersOf({ parameters = [] }: Pick<Operation, 'parameters'>): string[] {
  const names = parameters.map(({ name }) => name);
  return Object.entries(MANNERS).flatMap(([name, sentence]) => (names.includes(name) ? [sentence] : []));
}

const MANNERS = {
  cursor: 'Answers a page; `next_cursor`, sent as `cursor`, gets the next one.',
  wait: 'With `wait` the answer is held back until there is news.',
  'if-none-match': 'Answers 304 if `If-None-Match` names the current version.',
  'if-match': 'With `If-Match` it changes nothing if the version is another one by then.',
  'idempotency-key': 'With an `Idempotency-Key` it may be repeated without a second effect.',
};

/** The two successes of a write differ only in whether something new came into being. */
function responseDescription(status: string, responses: Record<string, Response>): string {
  const { description } = responses[status] as Response;
  if (!responses[200] || !responses[201]) return description;
  if (status === '201') return `New: ${description}`;
  return status === '200' ? `It was there before: ${description}` : description;
}

function withRequest({ content, ...body }: { content: Record<string, object> }, example: unknown): object {
  const [[type, media] = []] = Object.entries(content);
  if (example === undefined || type === undefined) return { ...body, content };
  return { ...body, content: { ...content, [type]: { ...media, example } } };
}

/** @param recorded by media type, without parameters */
function withExamples(response: Response, recorded: Record<string, unknown> = {}): Response {
  if (!response.content) return response;
  const content = Object.entries(response.content).map(([type, media]): [string, Media] => {
    const example = recorded[type.split(';')[0] as string];
    return [type, example === undefined ? media : ({ ...media, example } as Media)];
  });
  return { ...response, content: Object.fromEntries(content) };
}

/** A problem document with one of these codes, and an example of each. */
function problemMedia(codes: ProblemCode[], examples: Examples): Media {
  const known = codes.filter(code => examples.problems[code] !== undefined);
  return {
    schema: {
      type: 'object',
      allOf: [{ $ref: '#/components/schemas/Problem' }],
      required: ['code'],
      properties: { code: { type: 'string', enum: codes } },
    },
    ...(known.length > 0 && {
      examples: Object.fromEntries(known.map(code => [code, { $ref: `#/components/examples/${code}` }])),
    }),
  } as Media;
}

/** `QuestionNotFound`; by its status if it has only what every operation has. */
function responseName(status: string, codes: ProblemCode[]): string {
  const own = codes.filter(code => !(COMMON_CODES as readonly ProblemCode[]).includes(code));
  if (own.length === 0) return String(STATUS_CODES[status]).replaceAll(/\W/g, '');
  return own
    .map(code => code.toLowerCase().replaceAll(/(?:^|_)(\w)/g, (_all, letter) => letter.toUpperCase()))
    .join('Or');
}

/** Validation keywords that mean nothing to readers of the document. */
const OWN_KEYWORDS = ['x-trim', 'x-normal', 'x-name', 'x-visible', 'x-instant', 'x-unique-by'];

/** Adds the discriminator mapping of tagged unions, which Ajv rejects, and removes {@link OWN_KEYWORDS}. */
function describeUnions<T>(node: T): T {
  if (Array.isArray(node)) return node.map(describeUnions) as T;
  if (typeof node !== 'object' || node === null) return node;
  const { 'x-tags': tags, ...members } = node as Record<string, unknown>;
  const rest = Object.fromEntries(Object.entries(members).filter(([key]) => !OWN_KEYWORDS.includes(key)));
  if (tags) {
    const mapping = Object.entries(tags).map(([tag, name]) => [tag, `#/components/schemas/${name}`]);
    rest.discriminator = { ...(rest.discriminator as object), mapping: Object.fromEntries(mapping) };
  }
  return Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, describeUnions(value)])) as T;
}

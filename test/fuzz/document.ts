import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import document from '../../openapi/openapi.json' with { type: 'json' };

/** The parts of JSON Schema that the document uses. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  const?: unknown;
  enum?: unknown[];
  oneOf?: Schema[];
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  pattern?: string;
  format?: string;
}

export interface Parameter {
  in: 'path' | 'query' | 'header';
  name: string;
  required: boolean;
  schema: Schema;
}

export interface Operation {
  id: string;
  method: string;
  path: string;
  parameters: Parameter[];
  body: Schema | undefined;
  /** By status, then by media type. */
  responses: Record<string, Response>;
}

interface Response {
  $ref?: string;
  content?: Record<string, object>;
}

interface Described {
  operationId: string;
  parameters?: Parameter[];
  requestBody?: { content: { 'application/json': { schema: Schema } } };
  responses: Operation['responses'];
}

/** All operations that the document describes. */
export const operations: Operation[] = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item as unknown as Record<string, Described>).map(([method, described]) => ({
    id: described.operationId,
    method: method.toUpperCase(),
    path,
    parameters: described.parameters ?? [],
    body: described.requestBody?.content['application/json'].schema,
    responses: described.responses,
  })),
);

export function resolved(schema: Schema): Schema {
  if (!schema.$ref) return schema;
  const schemas = document.components.schemas as unknown as Record<string, Schema>;
  return schemas[schema.$ref.replace('#/components/schemas/', '')] as Schema;
}

const ajv = new Ajv2020({ strict: false, discriminator: false });
addFormats.default(ajv);
ajv.addSchema(document, 'document');
const compiled = new Map<string, ValidateFunction>();

/** What is wrong with a response by the document; undefined if nothing is. */
export function faultOf(operation: Operation, status: number, mediaType: string, body: unknown): string | undefined {
  const given = operation.responses[status];
  if (!given) return `the status ${status} is not documented`;
  const shared = document.components.responses as Record<string, Response>;
  const response = given.$ref ? (shared[given.$ref.split('/').at(-1) as string] as Response) : given;
  if (!response.content)
    return body === undefined || body === '' ? undefined : 'there is a body where none is documented';
  // One is documented with its parameters.
  const documented = Object.keys(response.content).find(type => type.split(';')[0] === mediaType);
  if (documented === undefined) return `the media type ${mediaType} is not documented`;
  const { id } = operation;
  const key = `${id} ${status} ${mediaType}`;
  const place = given.$ref
    ? given.$ref.replace('#/', '').split('/')
    : ['paths', operation.path, operation.method.toLowerCase(), 'responses', String(status)];
  const path = [...place, 'content', documented, 'schema'];
  const pointer = path.map(part => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');
  const validate = compiled.get(key) ?? ajv.compile({ $ref: `document#/${pointer}` });
  compiled.set(key, validate);
  return validate(body) ? undefined : ajv.errorsText(validate.errors);
}

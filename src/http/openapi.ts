import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import type { TSchema } from 'typebox';

/** The OpenAPI 3.1 document, made of the route schemas: at /openapi.json, and to browse at /docs. */
export async function useOpenapi(app: FastifyInstance, components: TSchema[], version: string): Promise<void> {
  for (const component of components) app.addSchema(component);
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Forumbus',
        version,
        description: 'The durable control channel between coding agents and the people who run them.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      servers: [{ url: '/' }],
      security: [],
      tags: [
        { name: 'control signals', description: 'What agents send.' },
        { name: 'questions', description: 'What agents ask and operators answer.' },
        { name: 'control threads', description: 'Where each agent stands.' },
        { name: 'threads', description: 'Talk.' },
        { name: 'events', description: 'The append-only log.' },
        { name: 'outbox', description: 'Messages on their way to topic handlers.' },
        { name: 'bus', description: 'The worker and its health.' },
      ],
    },
    convertConstToEnum: false,
    refResolver: { buildLocalReference: json => String(json.$id) },
    transformObject: document => describeUnions('openapiObject' in document ? document.openapiObject : {}),
  });
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true, uiConfig: { validatorUrl: null } });
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
}

/** Tagged unions get the mapping that readers of the document need and the validator would not accept; own keywords leave. */
function describeUnions<T>(node: T): T {
  if (Array.isArray(node)) return node.map(describeUnions) as T;
  if (typeof node !== 'object' || node === null) return node;
  const { 'x-trim': _trim, 'x-max-depth': _depth, 'x-tags': tags, ...rest } = node as Record<string, unknown>;
  if (tags) {
    const mapping = Object.entries(tags).map(([tag, name]) => [tag, `#/components/schemas/${name}`]);
    rest.discriminator = { ...(rest.discriminator as object), mapping: Object.fromEntries(mapping) };
  }
  return Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, describeUnions(value)])) as T;
}

import { createHash } from 'node:crypto';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, RouteHandlerMethod } from 'fastify';
import type { TSchema } from 'typebox';

/**
 * The page loads everything from this service. Swagger UI sets one inline style, whose hash changes with its version.
 * Without upgrade-insecure-requests: the service speaks plain HTTP, and the page would be blank on any host but localhost.
 */
const DOCS_POLICY = {
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self' 'unsafe-hashes' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='",
  'img-src': "'self' data:",
  'connect-src': "'self'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
};

/** Serves the OpenAPI 3.1 document of the route schemas at /openapi.json, and Swagger UI at /docs. */
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
      security: [{}, { bearer: [] }],
      components: {
        securitySchemes: {
          bearer: {
            type: 'http',
            scheme: 'bearer',
            description: 'A token, such as `fbt_…`; needed once any token has been created.',
          },
        },
      },
      tags: [
        { name: 'control signals', description: 'Signals that agents and operators send.' },
        { name: 'questions', description: 'Questions of agents, answered by operators.' },
        { name: 'control threads', description: 'The current state of each agent.' },
        { name: 'threads', description: 'Conversations with posts and states.' },
        { name: 'events', description: 'The append-only log.' },
        { name: 'outbox', description: 'Messages for topic handlers, and their deliveries.' },
        { name: 'bus', description: 'The worker, its topics and its health.' },
        { name: 'tokens', description: 'Access tokens and their roles.' },
      ],
    },
    convertConstToEnum: false,
    refResolver: { buildLocalReference: json => String(json.$id) },
    transformObject: document => describeUnions('openapiObject' in document ? document.openapiObject : {}),
  });
  const json = sendingOnce('application/json; charset=utf-8', () => JSON.stringify(app.swagger()));
  const yaml = sendingOnce('application/yaml; charset=utf-8', () => app.swagger({ yaml: true }));
  app.addHook('onRoute', route => {
    // Swagger UI's own handlers serialize the document for each request.
    if (route.url === '/docs/json') route.handler = json;
    if (route.url === '/docs/yaml') route.handler = yaml;
  });
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: DOCS_POLICY, uiConfig: { validatorUrl: null } });
  app.get('/openapi.json', { schema: { hide: true } }, json);
}

/** Answers with a text that is made once, at the first request, and never changes while the process runs. */
function sendingOnce(type: string, make: () => string): RouteHandlerMethod {
  let made: { text: string; etag: string } | undefined;
  return async (_request, reply) => {
    if (!made) {
      const text = make();
      made = { text, etag: `"${createHash('sha256').update(text).digest('base64url')}"` };
    }
    return reply.type(type).headers({ etag: made.etag, 'cache-control': 'no-cache' }).send(made.text);
  };
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

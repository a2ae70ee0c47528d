import { createHash } from 'node:crypto';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance, RouteHandlerMethod } from 'fastify';
import type { TSchema } from 'typebox';
import { type Additions, completeDocument } from './openapi-document.ts';

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

interface Options extends Additions {
  components: TSchema[];
  version: string;
}

/**
 * Serves the OpenAPI 3.1 document of the route schemas at /openapi.json, and Swagger UI at /docs. The first request for it
 * makes it, in 90 ms: most processes are never asked, and at a start all come at once.
 */
export async function useOpenapi(app: FastifyInstance, options: Options): Promise<void> {
  const { components, version, ...additions } = options;
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
      servers: [{ url: '.' }],
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
        { name: 'inbox', description: 'News for each agent: ended questions and messages of people.' },
        { name: 'hooks', description: "Hooks of agents' hosts." },
        { name: 'threads', description: 'Conversations with posts and states.' },
        { name: 'runs', description: 'Briefs, and the gate that a run passes before it closes.' },
        { name: 'stats', description: 'Counts for an overview.' },
        { name: 'events', description: 'The append-only log.' },
        { name: 'outbox', description: 'Messages for topic handlers, and their deliveries.' },
        { name: 'bus', description: 'The worker, its topics and its health.' },
        { name: 'webhooks', description: 'Endpoints that get events by signed requests.' },
        { name: 'mcp', description: 'The tools of agents and operators, over the Model Context Protocol.' },
        { name: 'tokens', description: 'Access tokens and their roles.' },
        { name: 'page', description: 'Logins of browsers, for the page at `/`.' },
        { name: 'documents', description: 'Descriptions of the API.' },
      ],
    },
    stripBasePath: false,
    convertConstToEnum: false,
    refResolver: { buildLocalReference: json => String(json.$id) },
    transformObject: document =>
      'openapiObject' in document ? completeDocument(document.openapiObject, additions) : {},
  });
  serializeOnce(app, ['/openapi.json', '/docs/json', '/docs/yaml']);
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    // Nothing names a path from the root, so that the page works behind a proxy that strips a prefix.
    indexPrefix: '.',
    transformSpecification: inDocs,
    transformSpecificationClone: false,
    staticCSP: DOCS_POLICY,
    uiConfig: { validatorUrl: null },
  });
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
}

/** The document as the pages of /docs see it. */
function inDocs<T extends object>(document: T): T {
  return { ...document, servers: [{ url: '..' }] };
}

/** Keeps the first answer of these routes for the life of the process, and sends it with an ETag. */
function serializeOnce(app: FastifyInstance, urls: string[]): void {
  app.addHook('onRoute', route => {
    if (!urls.includes(route.url)) return;
    // JSON is YAML (YAML 1.2, 1.3). Writing the document in blocks would hold the event loop for 100 ms.
    const asYaml: RouteHandlerMethod = (_request, reply) =>
      reply.type('application/yaml; charset=utf-8').send(JSON.stringify(inDocs(app.swagger()), null, 2));
    const handler = route.url === '/docs/yaml' ? asYaml : route.handler;
    let kept: { text: string; headers: Record<string, string> } | undefined;
    route.handler = function (request, reply) {
      return kept ? reply.headers(kept.headers).send(kept.text) : handler.call(this, request, reply);
    };
    route.onSend = async (_request, reply, payload) => {
      if (kept || reply.statusCode !== 200 || typeof payload !== 'string') return payload;
      const etag = `"${createHash('sha256').update(payload).digest('base64url')}"`;
      const type = String(reply.getHeader('content-type'));
      kept = { text: payload, headers: { 'content-type': type, etag } };
      reply.headers(kept.headers);
      return payload;
    };
  });
}

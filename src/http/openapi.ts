import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
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

interface Options {
  components: TSchema[];
  version: string;
}

/** The document as `npm run openapi` writes it. */
const FILE = new URL('../../openapi/openapi.json', import.meta.url);

/**
 * Serves the OpenAPI 3.1 document at /openapi.json, and Swagger UI at /docs. It is a file of the package. To make it of
 * the route schemas would hold the event loop for 100 ms. `app.swagger()` is what these schemas say.
 */
export async function useOpenapi(app: FastifyInstance, { components, version }: Options): Promise<void> {
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
  });
  serveDocument(app);
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    // Nothing names a path from the root, so that the page works behind a proxy that strips a prefix.
    indexPrefix: '.',
    staticCSP: DOCS_POLICY,
    uiConfig: { validatorUrl: null },
  });
  app.get('/openapi.json', { schema: { hide: true } }, () => {});
}

/** What is read of the document by its keys. */
export interface Document {
  info: { title: string; description: string };
  tags: { name: string; description: string }[];
  paths: Record<string, Record<string, { summary: string; tags: string[] }>>;
}

export const readDocument = async (): Promise<Document> => JSON.parse(await readFile(FILE, 'utf8'));

/** The forms of the document, by route. */
const FORMS: Record<string, { type: string; write: (document: Document) => string }> = {
  '/openapi.json': { type: 'application/json; charset=utf-8', write: document => JSON.stringify(document) },
  '/docs/json': { type: 'application/json; charset=utf-8', write: document => JSON.stringify(inDocs(document)) },
  // JSON is YAML (YAML 1.2, 1.3).
  '/docs/yaml': {
    type: 'application/yaml; charset=utf-8',
    write: document => JSON.stringify(inDocs(document), null, 2),
  },
};

/** The document as the pages of /docs see it. */
function inDocs(document: Document): Document {
  return { ...document, servers: [{ url: '..' }] } as Document;
}

/** Answers these routes, also those of Swagger UI, and keeps each text that was asked for. It is sent with an ETag. */
function serveDocument(app: FastifyInstance): void {
  app.addHook('onRoute', route => {
    const form = FORMS[route.url];
    if (!form) return;
    let kept: { text: string; headers: Record<string, string> } | undefined;
    route.handler = async (_request, reply) => {
      if (!kept) {
        const text = form.write(await readDocument());
        const etag = `"${createHash('sha256').update(text).digest('base64url')}"`;
        kept = { text, headers: { 'content-type': form.type, etag } };
      }
      return reply.headers(kept.headers).send(kept.text);
    };
  });
}

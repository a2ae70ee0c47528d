import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { type Document, readDocument } from './openapi.ts';
import { problemResponses } from './problems.ts';

/** What an agent needs first; everything else a reader with little room may leave out. */
const FIRST = ['control signals', 'questions', 'inbox', 'runs', 'control threads', 'threads', 'events'];

const GUIDE = `Send JSON. Errors are problem documents with a stable \`code\`. Send the token as \`Authorization: Bearer …\`, unless the
service has none. Send an \`Idempotency-Key\` with each POST, so that it may be repeated. An agent asks by
\`POST /control-signals\` with \`control_type: guidance_request\`, waits by \`GET /questions/{question_id}?wait=50\` until
\`state\` is no longer \`open\`, and reports its end by \`control_type: completion\`.`;

/** Serves /llms.txt, a map of the API for language models (llmstxt.org), made of the OpenAPI document. */
export function useLlms(app: FastifyInstance): void {
  let text: string | undefined;
  app.get(
    '/llms.txt',
    {
      schema: {
        operationId: 'getLlms',
        summary: 'Read a short map of the API and its documents, for language models',
        tags: ['documents'],
        response: {
          200: { description: 'The map, in Markdown.', content: { 'text/plain': { schema: Type.String() } } },
          ...problemResponses(),
        },
      },
    },
    async (_request, reply) => {
      text ??= mapOf(await readDocument());
      return reply.type('text/plain; charset=utf-8').send(text);
    },
  );
}

/** @returns Markdown: a title, a summary, how to call, then a section of links for each tag */
function mapOf({ info, tags, paths }: Document): string {
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(
      ([
        method,
        {
          summary,
          tags: [tag],
        },
      ]) => {
        const place = `${path.replaceAll('~', '~0').replaceAll('/', '~1')}/${method}`;
        return { tag, line: `- [${method.toUpperCase()} ${path}](openapi.json#/paths/${place}): ${summary}` };
      },
    ),
  );
  const sectionOf = (name: string) => {
    const lines = operations.filter(({ tag }) => tag === name).map(({ line }) => line);
    const { description = '' } = tags.find(tag => tag.name === name) ?? {};
    return `## ${name.charAt(0).toUpperCase()}${name.slice(1)}\n\n${description}\n\n${lines.join('\n')}`;
  };
  const rest = operations.filter(({ tag = '' }) => !FIRST.includes(tag)).map(({ line }) => line);
  return `${[
    `# ${info.title}`,
    `> ${info.description}`,
    GUIDE,
    '## Documents\n\n- [OpenAPI document](openapi.json): every operation with its schemas, examples and error codes\n' +
      '- [API in a browser](docs/): the same to read and try',
    ...FIRST.map(sectionOf),
    `## Optional\n\n${rest.join('\n')}`,
  ].join('\n\n')}\n`;
}

import { readFile } from 'node:fs/promises';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { completeDocument } from '../../openapi/complete.ts';
import recorded from '../../openapi/examples.json' with { type: 'json' };
import committed from '../../openapi/openapi.json' with { type: 'json' };
import { type ProblemCode, problemTable } from '../../src/errors.ts';
import { startApp, type TestApp } from '../helpers/app.ts';

interface Media {
  schema?: { properties?: { code?: { enum: ProblemCode[] } } };
  example?: unknown;
  examples?: Record<string, { $ref: string }>;
}

interface Response {
  $ref?: string;
  description: string;
  content?: Record<string, Media>;
}

/** The parts of an operation that these tests read. */
interface Operation {
  operationId?: string;
  summary?: string;
  description?: string;
  requestBody?: { content: Record<string, Media> };
  responses: Record<string, Response>;
}

let service: TestApp;
beforeAll(async () => {
  service = await startApp('sqlite');
});
afterAll(() => service.close());

const ajv = new Ajv2020({ strict: false, allErrors: true });
addFormats.default(ajv);
ajv.addSchema(committed, 'document');

const operations = Object.entries(committed.paths).flatMap(([path, item]) =>
  Object.entries(item as unknown as Record<string, Operation>).map(([method, operation]) => ({
    name: `${method.toUpperCase()} ${path}`,
    operation,
    pointer: `/paths/${escaped(path)}/${method}`,
  })),
);
const problems = committed.components.examples as Record<string, { value: object }>;
const schemas = committed.components.schemas as Record<string, { examples?: unknown[] }>;
const examples = Object.entries(schemas).flatMap(([name, { examples: values = [] }]) =>
  values.map((value, index) => ({ name, index, value })),
);

describe('the committed document', () => {
  it('is what the routes are', async () => {
    expect(committed).toEqual(completeDocument(service.app.swagger(), recorded));
  });

  it('is served, with its media type', async () => {
    const { status, headers, body } = await service.send('GET', '/openapi.json');
    expect(status).toBe(200);
    expect(headers['content-type']).toMatch(/^application\/json\b/);
    expect(body).toEqual(committed);
  });

  it('has the version of the package', async () => {
    const manifest = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
    expect(committed.info.version).toBe(JSON.parse(manifest).version);
  });
});

describe('every operation', () => {
  it('has an id of its own', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each(operations)('$name has an id, a summary and a description', ({ operation }) => {
    expect(operation.operationId).toMatch(/^[a-z][A-Za-z]+$/);
    expect(operation.summary).toMatch(/\S/);
    expect(operation.description).toMatch(/^[A-Z].*\.$/);
  });

  it.each(operations)(
    '$name has an example of its body, and one that was answered for each success',
    ({ operation }) => {
      const parts = { request: operation.requestBody, ...successes(operation) };
      const without = Object.entries(parts).flatMap(([part, response]) =>
        Object.entries(response?.content ?? {}).flatMap(([type, { example }]) =>
          example === undefined ? `${part} ${type}: give it a step in openapi/story.ts, then npm run openapi` : [],
        ),
      );
      expect(without).toEqual([]);
    },
  );

  it.each(operations)('$name has examples that fit their schemas', ({ operation, pointer }) => {
    const parts = Object.entries({ ...successes(operation), ...refusals(operation) });
    const bodies = parts.map(([status, { content = {} }]) => ({ place: `responses/${status}`, content }));
    const all = [{ place: 'requestBody', content: operation.requestBody?.content ?? {} }, ...bodies];
    for (const { place, content } of all) {
      for (const [type, { example }] of Object.entries(content)) {
        if (example === undefined) continue;
        const validate = ajv.compile({ $ref: `document#${pointer}/${place}/content/${escaped(type)}/schema` });
        validate(example);
        expect(validate.errors ?? [], `${place} ${type}`).toEqual([]);
      }
    }
  });

  it.each(operations)('$name says with which codes it refuses, and shows each', ({ operation }) => {
    for (const [status, response] of Object.entries(refusals(operation))) {
      const media = response.content?.['application/problem+json'];
      if (!media) continue;
      const codes = media.schema?.properties?.code?.enum ?? [];
      expect(codes.length).toBeGreaterThan(0);
      for (const code of codes) expect(problemTable[code].status).toBe(Number(status));
      const said = [...response.description.matchAll(/`([A-Z][A-Z_]+)`/g)].map(([, code]) => code);
      expect(said).toEqual(codes);
      expect(Object.keys(media.examples ?? {})).toEqual(codes);
      for (const code of codes) expect(problems[code]?.value).toMatchObject({ code, status: Number(status) });
    }
  });

  it.each(operations)('$name answers problem documents to what it refuses', ({ operation }) => {
    const refused = refusals(operation);
    expect(Object.keys(refused)).toEqual(expect.arrayContaining(['400', '500', '503']));
    for (const [status, { content = {} }] of Object.entries(refused)) {
      // The health call answers its own document, also when the service is down.
      if (operation.operationId === 'getHealth' && status === '503') continue;
      // MCP has errors of its own form, for what the service itself lets in.
      const { 'application/json': own, ...problem } = content;
      if (operation.operationId === 'callMcp' && status === '404') continue;
      expect(own === undefined || operation.operationId === 'callMcp').toBe(true);
      expect(problem).toMatchObject({
        'application/problem+json': { schema: { allOf: [{ $ref: '#/components/schemas/Problem' }] } },
      });
    }
  });

  const reading = operations.filter(({ name }) => !name.startsWith('GET'));
  it.each(reading)('$name says how it refuses a body, also one that it has no use for', async ({ name, operation }) => {
    const codes = Object.values(refusals(operation)).flatMap(
      ({ content }) => content?.['application/problem+json']?.schema?.properties?.code?.enum ?? [],
    );
    const [method, path = ''] = name.split(' ');
    const answer = await service.app.inject({
      method: method as 'POST',
      url: path.replaceAll(/\{\w+\}/g, 'x'),
      headers: { 'content-type': 'application/json' },
      payload: '{x',
    });
    expect(codes).toContain(answer.json().code);
    const ofBodies = ['MALFORMED_JSON', 'NUMBER_NOT_EXACT', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'];
    expect(codes).toEqual(expect.arrayContaining(ofBodies));
  });

  it('lets no code go undocumented, but for those of requests that belong to no operation', () => {
    const documented = operations.flatMap(({ operation }) =>
      Object.values(refusals(operation)).flatMap(
        ({ content }) => content?.['application/problem+json']?.schema?.properties?.code?.enum ?? [],
      ),
    );
    const missing = Object.keys(problemTable).filter(code => !documented.includes(code as ProblemCode));
    expect(missing).toEqual(['NOT_FOUND', 'METHOD_NOT_ALLOWED']);
  });
});

/** The responses of an operation with these statuses, without references. */
function responsesOf({ responses }: Operation, isWanted: (status: number) => boolean): Record<string, Response> {
  const shared = committed.components.responses as Record<string, Response>;
  const wanted = Object.entries(responses).filter(([status]) => isWanted(Number(status)));
  return Object.fromEntries(
    wanted.map(([status, response]) => [
      status,
      response.$ref ? (shared[response.$ref.replace('#/components/responses/', '')] as Response) : response,
    ]),
  );
}

function successes(operation: Operation): Record<string, Response> {
  return responsesOf(operation, status => status < 400);
}

function refusals(operation: Operation): Record<string, Response> {
  return responsesOf(operation, status => status >= 400);
}

/** A step of a JSON Pointer within a URI (RFC 6901, 6). */
function escaped(step: string): string {
  return encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1'));
}

describe('every component', () => {
  it.each(examples)('$name: example $index fits its schema', ({ name, value }) => {
    const validate = ajv.compile({ $ref: `document#/components/schemas/${name}` });
    validate(value);
    expect(validate.errors ?? []).toEqual([]);
  });

  it('is checked by a validator that can say no', () => {
    const validate = ajv.compile({ $ref: 'document#/components/schemas/GuidanceRequest' });
    const example = examples.find(({ name }) => name === 'GuidanceRequest')?.value as object;
    expect(validate(example)).toBe(true);
    expect(validate({ ...example, question: ' ' })).toBe(false);
    expect(validate({ ...example, colour: 'red' })).toBe(false);
    expect(validate({ ...example, actor: { type: 'robot', name: 'r2' } })).toBe(false);
  });

  it('is a JSON Schema (2020-12)', () => {
    for (const [name, schema] of Object.entries(schemas)) {
      expect(ajv.validateSchema({ ...schema }), name).toBe(true);
    }
  });

  it('is free of keywords of our own, which other validators would not know', () => {
    expect(JSON.stringify(schemas)).not.toContain('"x-');
  });

  it('that a refusal shows has a code that exists', () => {
    const problems = examples.filter(({ name }) => name === 'Problem');
    expect(problems).not.toEqual([]);
    for (const { value } of problems) {
      const { code, status, title, type } = value as { code: ProblemCode; status: number; title: string; type: string };
      expect({ status, title }).toEqual(problemTable[code]);
      expect(type).toBe(`urn:forumbus:problem:${code.toLowerCase().replaceAll('_', '-')}`);
    }
  });
});

describe('the documentation pages', () => {
  const get = (url: string) => service.app.inject({ url });
  const policyOf = (headers: Record<string, unknown>): Record<string, string[]> =>
    Object.fromEntries(
      String(headers['content-security-policy'])
        .split(';')
        .map(directive => directive.trim().split(/\s+/))
        .filter(([name]) => name)
        .map(([name, ...sources]) => [name, sources]),
    );
  /** The scripts, styles and images of the page, as paths. */
  async function assets(): Promise<string[]> {
    const page = await get('/docs/');
    const links = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(match => match[1] as string);
    return links.map(link => new URL(link, 'http://forumbus.test/docs/')).map(url => url.href);
  }

  it.each([
    '/docs',
    '/docs/',
    '/docs/json',
    '/docs/static/swagger-initializer.js',
    '/docs/static/swagger-ui-bundle.js',
    '/docs/static/swagger-ui.css',
  ])('%s comes with a strict policy', async url => {
    const { statusCode, headers } = await get(url);
    expect(statusCode).toBe(200);
    const policy = policyOf(headers);
    expect(policy['default-src']).toEqual(["'none'"]);
    const scripts = policy['script-src'] ?? policy['default-src'];
    expect(scripts).toEqual(["'self'"]);
    for (const [directive, sources] of Object.entries(policy)) {
      // Nothing but what the service itself serves; a hash names one exact text, and data: reaches no host.
      for (const source of sources)
        expect(source, directive).toMatch(/^('self'|'none'|'unsafe-hashes'|'sha256-[^']+'|data:)$/);
    }
    // It would make a browser ask for the scripts over https where the service is reached by a host name over http.
    expect(Object.keys(policy)).not.toContain('upgrade-insecure-requests');
  });

  it('load only what the service serves', async () => {
    const links = await assets();
    expect(links.length).toBeGreaterThan(3);
    for (const link of links) {
      const { host, pathname } = new URL(link);
      expect(host).toBe('forumbus.test');
      expect((await get(pathname)).statusCode, pathname).toBe(200);
    }
  });

  it.each(['/docs', '/docs/'])('work behind a proxy that strips a prefix, at %s', async url => {
    const base = new URL(`http://forumbus.test/team/bus${url}`);
    const page = (await get(url)).body;
    const links = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(match => new URL(match[1] as string, base));
    expect(links.length).toBeGreaterThan(3);
    for (const { pathname } of links) {
      expect(pathname).toMatch(/^\/team\/bus\/docs\/static\//);
      expect((await get(pathname.slice('/team/bus'.length))).statusCode, pathname).toBe(200);
    }
    for (const document of ['/openapi.json', '/docs/json']) {
      const [server] = (await get(document)).json().servers;
      expect(new URL(server.url, `http://forumbus.test/team/bus${document}`).pathname).toBe('/team/bus/');
    }
  });

  it('have no script within the page', async () => {
    const { body } = await get('/docs/');
    for (const [, attributes, text] of body.matchAll(/<script([^>]*)>([\s\S]*?)<\/script>/g)) {
      expect(attributes).toMatch(/\bsrc="/);
      expect(text?.trim()).toBe('');
    }
    expect(body).not.toMatch(/\son\w+=|javascript:|<style/i);
  });

  it('name no other host, neither in the page nor in what starts it', async () => {
    const page = (await get('/docs/')).body;
    const code = (await get('/docs/static/swagger-initializer.js')).body
      .split('\n')
      .filter(line => !line.trim().startsWith('//'))
      .join('\n');
    expect(code).toContain('SwaggerUIBundle');
    expect(page + code).not.toMatch(/(https?:)?\/\/[a-z0-9-]+\./i);
    // Swagger UI sends the document to a validator of its makers unless it is told not to.
    expect(code).toContain('"validatorUrl":null');
  });

  it('show the document that is served', async () => {
    expect((await service.send('GET', '/docs/json')).body).toEqual({ ...committed, servers: [{ url: '..' }] });
  });
});

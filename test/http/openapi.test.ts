import { readFile } from 'node:fs/promises';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import committed from '../../openapi/openapi.json' with { type: 'json' };
import { type ProblemCode, problemTable } from '../../src/errors.ts';
import { startApp, type TestApp } from '../helpers/app.ts';

/** The parts of an operation that these tests read. */
interface Operation {
  operationId?: string;
  summary?: string;
  requestBody?: { content: object };
  responses: Record<string, { description: string; content?: object }>;
}

let service: TestApp;
beforeAll(async () => {
  service = await startApp('sqlite');
});
afterAll(() => service.close());

const operations = Object.entries(committed.paths).flatMap(([path, item]) =>
  Object.entries(item as Record<string, Operation>).map(([method, operation]) => ({
    name: `${method.toUpperCase()} ${path}`,
    operation,
  })),
);
const schemas = committed.components.schemas as Record<string, { examples?: unknown[] }>;
const examples = Object.entries(schemas).flatMap(([name, { examples: values = [] }]) =>
  values.map((value, index) => ({ name, index, value })),
);

describe('the committed document', () => {
  it('is what the routes are', async () => {
    expect(committed).toEqual(service.app.swagger());
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

  it.each(operations)('$name has an id, a summary and an example', ({ operation }) => {
    expect(operation.operationId).toMatch(/^[a-z][A-Za-z]+$/);
    expect(operation.summary).toMatch(/\S/);
    const succeeded = Object.entries(operation.responses).filter(([status]) => status.startsWith('2'));
    expect(succeeded).not.toEqual([]);
    expect([operation.requestBody, ...succeeded].some(part => hasExample(part))).toBe(true);
  });

  it.each(operations)('$name names error codes that exist, under their status', ({ operation }) => {
    for (const [status, { description }] of Object.entries(operation.responses)) {
      for (const [, code] of description.matchAll(/`([A-Z][A-Z_]+)`/g)) {
        expect(Object.keys(problemTable)).toContain(code);
        expect(problemTable[code as ProblemCode].status).toBe(Number(status));
      }
    }
  });

  it.each(operations)('$name answers problem documents to what it refuses', ({ operation }) => {
    const refused = Object.entries(operation.responses).filter(([status]) => Number(status) >= 400);
    expect(refused.map(([status]) => status)).toEqual(expect.arrayContaining(['400', '500', '503']));
    for (const [status, { content = {} }] of refused) {
      // The health call answers its own document, also when the service is down.
      if (operation.operationId === 'getHealth' && status === '503') continue;
      // MCP has errors of its own form, for what the service itself lets in.
      const { 'application/json': own, ...problem } = content as Record<string, object>;
      if (operation.operationId === 'callMcp' && status === '404') continue;
      expect(own === undefined || operation.operationId === 'callMcp').toBe(true);
      expect(problem).toEqual({ 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } });
    }
  });
});

/** Whether an example stands in this part of the document or in a component that it leads to. */
function hasExample(part: unknown, seen = new Set<string>()): boolean {
  if (typeof part !== 'object' || part === null) return false;
  if ('examples' in part || 'example' in part) return true;
  return Object.entries(part).some(([key, value]) => {
    if (key !== '$ref') return hasExample(value, seen);
    const name = String(value).replace('#/components/schemas/', '');
    return !seen.has(name) && hasExample(schemas[name], seen.add(name));
  });
}

describe('every component', () => {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  ajv.addSchema(committed, 'document');

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

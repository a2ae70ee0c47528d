import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import openapi from '../../openapi/openapi.json' with { type: 'json' };
import { type Answer, startApp, type TestApp } from '../helpers/app.ts';
import { withTokens } from '../helpers/tokens.ts';

describe('GET /llms.txt', () => {
  let service: TestApp;
  let answer: Answer;
  beforeAll(async () => {
    service = await startApp('sqlite');
    await withTokens(service);
    answer = await service.send('GET', '/llms.txt');
  });
  afterAll(() => service.close());

  it('needs no token, and is plain text', () => {
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
  });

  it('has the form of llmstxt.org: a title, a summary, then sections of links with notes', () => {
    const [title, blank, summary, ...rest] = answer.body.trimEnd().split('\n');
    expect([title, blank, summary]).toEqual(['# Forumbus', '', `> ${openapi.info.description}`]);
    const [, ...sections] = rest.join('\n').split(/^## /m);
    expect(sections.length).toBeGreaterThan(5);
    for (const section of sections) {
      const list = section.split('\n').filter((line: string) => line.startsWith('-'));
      expect(list.length, section).toBeGreaterThan(0);
      for (const line of list) expect(line).toMatch(/^- \[[^\]]+\]\([^)]+\): \S/);
    }
    expect(sections.at(-1)).toMatch(/^Optional\n/);
  });

  it('links to every operation once, at its place in the document', async () => {
    const links = [...answer.body.matchAll(/\]\(openapi\.json#([^)]+)\)/g)].map(([, pointer]) => pointer as string);
    const places = Object.entries(openapi.paths).flatMap(([path, item]) =>
      Object.keys(item).map(method => `/paths/${path.replaceAll('/', '~1')}/${method}`),
    );
    expect(links.toSorted()).toEqual(places.toSorted());
  });

  it('links to pages that are there, and is short', async () => {
    for (const page of ['openapi.json', 'docs/']) {
      expect(answer.body).toContain(`](${page})`);
      expect((await service.send('GET', `/${page}`)).status).toBe(200);
    }
    // About 3,000 tokens.
    expect(answer.body.length).toBeLessThan(14_000);
  });
});

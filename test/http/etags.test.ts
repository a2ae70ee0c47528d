import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import openapi from '../../openapi/openapi.json' with { type: 'json' };
import { type Answer, startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { acts, runOf } from '../helpers/run-acts.ts';
import { signal } from '../helpers/signals.ts';

const RUNS = { sqlite: 60, postgres: 12 };
const STRONG = /^"[\x21\x23-\x7e]+"$/;
const ana = { type: 'human', name: 'ana' };

const reads = ['thread', 'thread for a viewer', 'question', 'control thread', 'run'] as const;
type Read = (typeof reads)[number];

it('are documented on every read of one thing with a version', () => {
  const conditional = Object.entries(openapi.paths).flatMap(([path, item]) =>
    'get' in item && '304' in item.get.responses ? [path] : [],
  );
  expect(conditional.sort()).toEqual([
    '/control-threads/{run_id}/{agent_name}',
    '/questions/{question_id}',
    '/runs/{run_id}',
    '/threads/{thread_id}',
    // See test/webhooks/service.test.ts.
    '/webhooks/{name}',
  ]);
});

describe.each(engines)('entity tags on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  let runs = 0;
  /** A run with one agent and its question, and where each thing with a version is read. */
  const world = async () => {
    const run_id = `tags-${++runs}`;
    const asked = await service.send('POST', '/control-signals', signal('guidance_request', { run_id }));
    const { thread_id, question_id } = asked.body.question;
    const urls: Record<Read, string> = {
      thread: `/threads/${thread_id}`,
      'thread for a viewer': `/threads/${thread_id}?viewer=human:ana`,
      question: `/questions/${question_id}`,
      'control thread': `/control-threads/${run_id}/builder`,
      run: `/runs/${run_id}`,
    };
    return { run_id, thread_id, question_id, urls };
  };
  const get = async (url: string, tag?: string) => {
    const headers = tag === undefined ? {} : { 'if-none-match': tag };
    const { statusCode: status, headers: got, body } = await service.app.inject({ method: 'GET', url, headers });
    return { status, tag: String(got.etag), type: got['content-type'], body };
  };

  describe.each(reads)('of a %s', read => {
    it('are strong, and spare who names them the body', async () => {
      const { urls } = await world();
      const fresh = await get(urls[read]);
      expect(fresh.status).toBe(200);
      expect(fresh.tag).toMatch(STRONG);
      const { tag } = fresh;
      for (const same of [tag, '*', ` ${tag} `, `W/${tag}`, `"other", ${tag}`, `"a",${tag},"b"`, `W/"a", W/${tag}`]) {
        expect(await get(urls[read], same), same).toEqual({ status: 304, tag, type: undefined, body: '' });
      }
      for (const other of ['"other"', 'W/"other"', '"a", "b"', tag.replaceAll('"', ''), tag.slice(0, -1), '', '"*"']) {
        expect(await get(urls[read], other), other).toEqual(fresh);
      }
    });

    it('no longer fit when it has changed', async () => {
      const { urls, question_id } = await world();
      const before = await get(urls[read]);
      await service.send('PUT', `/questions/${question_id}/answer`, { answer: 'x' });
      const after = await get(urls[read], before.tag);
      expect(after.status).toBe(200);
      expect(after.tag).not.toBe(before.tag);
      expect(after.body).not.toBe(before.body);
      expect((await get(urls[read], after.tag)).status).toBe(304);
    });
  });

  it('of a thread for a viewer follow that viewer and no other', async () => {
    const { urls, thread_id } = await world();
    const mine = urls['thread for a viewer'];
    const theirs = `/threads/${thread_id}?viewer=human:bob`;
    const before = [await get(mine), await get(theirs), await get(urls.thread)] as const;
    await service.send('PUT', `/threads/${thread_id}/reads/human:ana`, {});
    const seen = await get(mine, before[0].tag);
    expect(seen.status).toBe(200);
    expect(JSON.parse(seen.body).unseen).toBe(false);
    expect((await get(theirs, before[1].tag)).status).toBe(304);
    expect((await get(urls.thread, before[2].tag)).status).toBe(304);
  });

  it('come with every write that answers such a thing, and are those of the next read', async () => {
    const { urls, run_id, thread_id, question_id } = await world();
    const writes: [Read, () => Promise<Answer>][] = [
      ['question', () => service.send('PUT', `${urls.question}/answer`, { answer: 'x' })],
      ['question', () => service.send('POST', `/questions/${question_id}/acknowledge`)],
      ['control thread', () => service.send('POST', `${urls['control thread']}/attempts`)],
      ['thread', () => service.send('PATCH', urls.thread, { priority: 'high', actor: ana })],
      ['thread for a viewer', () => service.send('PUT', `/threads/${thread_id}/reads/human:ana`, {})],
      ['run', () => service.send('PUT', urls.run, { title: 'x' })],
      [
        'run',
        async () => {
          await service.send('POST', '/control-signals', signal('completion', { run_id }));
          await service.send('POST', '/control-signals', signal('validation', { run_id }));
          return service.send('POST', `/runs/${run_id}/close`);
        },
      ],
    ];
    const tags = new Set<string>();
    for (const [read, write] of writes) {
      const answer = await write();
      expect(answer.status).toBeLessThan(300);
      const { tag, body } = await get(urls[read]);
      expect(answer.headers.etag, `${read} after a write`).toBe(tag);
      expect(answer.body).toEqual(JSON.parse(body));
      tags.add(`${read} ${tag}`);
    }
    expect(tags.size).toBe(writes.length);
    const opened = await service.send('POST', '/threads', { title: 'x', body: 'y', actor: ana });
    expect(opened.headers.etag).toBe((await get(String(opened.headers.location))).tag);
  });

  it('are answered after a wait, too', async () => {
    const { urls } = await world();
    const { tag } = await get(urls.question);
    expect(await get(`${urls.question}?wait=1`, tag)).toMatchObject({ status: 304, body: '' });
    expect(await get(`${urls.question}?wait=1&after_version=0`, '"0"')).toMatchObject({ status: 200, tag });
  });

  it('belong to nothing else', async () => {
    const { urls, run_id } = await world();
    for (const url of [
      '/questions',
      `/runs?ticket=x`,
      `/events?run_id=${run_id}`,
      '/stats',
      '/livez',
      '/threads/none',
    ]) {
      expect((await service.app.inject(url)).headers.etag, url).toBeUndefined();
      expect((await get(url, '*')).status, url).not.toBe(304);
    }
    expect((await get(`${urls.run}?wait=99`, '*')).status).toBe(400);
  });

  it('change when the body does, and only then, whatever happens in a run', async () => {
    await fc.assert(
      fc.asyncProperty(acts, async history => {
        const run_id = `any-${++runs}`;
        const run = runOf(service.send, run_id);
        const known = new Map<string, string>();
        for (const act of history) {
          await run.act(act);
          const urls = [`/runs/${run_id}`, ...run.questions.map(id => `/questions/${id}`)];
          for (const [index, agent] of run.agents.entries()) {
            const thread = await run.thread(index);
            urls.push(
              `/control-threads/${run_id}/${agent}`,
              thread,
              `${thread}?viewer=human:ana`,
              `${thread}?viewer=human:bob`,
            );
          }
          for (const url of urls) {
            const { status, tag, body } = await get(url);
            if (status === 404) continue;
            // A tag that comes again must mean the same body, and a body that comes again must have its old tag.
            for (const [name, value] of [
              [`${url} ${tag}`, body],
              [`${url} ${body}`, tag],
            ] as const) {
              expect(known.get(name) ?? value, `${url} after ${act.kind}`).toBe(value);
              known.set(name, value);
            }
          }
        }
      }),
      { numRuns: RUNS[engine], seed: 7 },
    );
  });
});

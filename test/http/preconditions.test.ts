import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { withoutTrace } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';

/* What PATCH of threads and the writes of runs do with If-Match stands in their own suites; here are the other PUTs. */
describe.each(engines)('If-Match on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  it('lets a question be answered at the version that the caller has read, and at no other', async () => {
    const asked = await service.send('POST', '/control-signals', signal('guidance_request'));
    const { question_id, version } = asked.body.question;
    const answer = (tag: string) =>
      service.send('PUT', `/questions/${question_id}/answer`, { answer: 'Europe.' }, { 'if-match': tag });
    const stale = await withoutTrace(service.url, () => answer(`"${version + 1}"`));
    expectProblem(stale, 'PRECONDITION_FAILED');
    expect(stale.body.version).toBe(version);
    expect(await answer(`"${version}"`)).toMatchObject({ status: 200, body: { state: 'answered' } });
    expectProblem(await answer(`"${version}"`), 'PRECONDITION_FAILED');
    expect((await answer('*')).status).toBe(200);
  });

  it('takes the tag of a run whose agent was seen since', async () => {
    const asked = await service.send('POST', '/control-signals', signal('guidance_request', { run_id: 'seen' }));
    expect(asked.status).toBe(201);
    const read = await service.send('GET', '/runs/seen');
    const [{ last_seen_at }] = read.body.agents;
    expect(read.headers.etag).toBe(`"${read.body.version}-${Date.parse(last_seen_at)}"`);
    const brief = (tag: string) => service.send('PUT', '/runs/seen', { title: 'Move' }, { 'if-match': tag });
    expectProblem(await brief(`"${read.body.version + 1}-1"`), 'PRECONDITION_FAILED');
    expect((await brief(`"${read.body.version}-1"`)).status).toBe(200);
  });

  it('lets a thread be marked as seen at the version that the viewer has read, and at no other', async () => {
    const ana = { type: 'human', name: 'ana' };
    const { body: thread } = await service.send('POST', '/threads', { title: 'Region', body: 'Which?', actor: ana });
    const mark = (tag: string) =>
      service.send('PUT', `/threads/${thread.thread_id}/reads/human:ana`, {}, { 'if-match': tag });
    await service.send('POST', `/threads/${thread.thread_id}/posts`, { body: 'Europe.', actor: ana });
    expectProblem(await withoutTrace(service.url, () => mark(`"${thread.version}"`)), 'PRECONDITION_FAILED');
    expect((await mark(`"${thread.version + 1}"`)).body).toMatchObject({ unseen: false });
  });
});

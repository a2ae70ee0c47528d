import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { createServices } from '../../src/services.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { emptyDatabase, engines, type Scratch } from '../helpers/engines.ts';
import { conversation, operator } from '../helpers/threads.ts';
import { copyToFirstVersion } from '../helpers/versions.ts';

describe.each(engines)('a database of the first version on %s', engine => {
  const clock = new ManualClock();
  let scratch: Scratch;
  let source: TestApp;
  let upgraded: TestApp;

  /** What the first version could do. Times differ, so that what goes by them can be told apart. */
  beforeAll(async () => {
    source = await startApp(engine, { overrides: { clock } });
    const { open, post, signal } = conversation((...request) => source.send(...request));
    const say = async (type: string, run_id: string, agent_name: string, fields: object = {}) => {
      clock.advance(1000);
      const answer = await signal(type, { run_id, agent_name, ...fields });
      expect(answer.status, JSON.stringify(answer.body)).toBe(201);
      return answer.body;
    };
    const first = await open({ title: 'Café in Kraków', body: 'Where?', priority: 'high', ticket: 'T-2' });
    await open({ title: 'Emoji', body: '🚀', run_id: 'finished' });
    const calm = await open({ title: 'Quiet', body: 'Nothing to do', actor: operator, priority: 'low' });
    await post(first.thread_id, { body: 'At the kiosk' });
    await post(first.thread_id, { body: 'Which kiosk?', actor: { type: 'agent', name: 'builder' }, state: 'triaged' });
    await post(calm.thread_id, { body: 'Good', state: 'closed' });
    // Waits: one question is open and has a deadline, others have been dealt with.
    await say('guidance_request', 'waiting', 'builder', {
      question: 'Which region?',
      ticket: 'T-2',
      priority: 'urgent',
    });
    await say('guidance_answer', 'waiting', 'builder', { answer: 'Europe.' });
    const old = await say('guidance_request', 'waiting', 'tester', { question: 'Now?', ticket: 'T-1' });
    const supersedes = old.question.question_id;
    await say('guidance_request', 'waiting', 'tester', { question: 'Or later?', supersedes, expires_in_seconds: 60 });
    const { question } = await say('guidance_request', 'waiting', 'tester', { question: 'Never?' });
    await source.send('POST', `/questions/${question.question_id}/cancel`);
    await say('completion', 'finished', 'builder', { summary: 'Moved everything' });
    await say('validation', 'finished', 'builder', { done_criteria: 'Green' });
    await say('completion', 'begun', 'builder', { ticket: 'T-3' });
    await say('validation', 'begun', 'builder', { status: 'failed', done_criteria: 'Green' });
    await say('completion', 'begun', 'tester');

    scratch = await emptyDatabase(engine);
    await copyToFirstVersion(engine, source.url, scratch.url);
    // What a job of the worker does: it indexes the texts stored before.
    const services = await createServices(readConfig({ DATABASE_URL: scratch.url }), pino({ level: 'silent' }));
    while (services.forum.indexing.isDue) await services.forum.indexing.run();
    await services.close();
    upgraded = await startApp(engine, { database: scratch, overrides: { clock } });
  });
  afterAll(async () => {
    await Promise.all([source.close(), upgraded.close()]);
    await scratch.drop();
  });

  const answers = async (path: string) => {
    const [before, after] = await Promise.all([source.send('GET', path), upgraded.send('GET', path)]);
    expect(before.status).toBe(200);
    return { before: before.body, after: after.body };
  };

  it.each([
    ['/threads', 8],
    ['/threads?priority=high', 1],
    ['/threads?state=waiting_operator', 1],
    ['/threads?run_id=waiting', 2],
    ['/threads?ticket=T-2&kind=control', 1],
    ['/threads?agent_name=builder', 3],
    ['/threads?queue=unanswered', 6],
    ['/threads?queue=unseen&viewer=human:ana', 8],
    ['/threads?q=krakow', 1],
    ['/threads?q=cafe%20kiosk', 1],
    ['/threads?q=control', 5],
    ['/threads?q=region', 1],
    ['/threads?q=europe', 1],
    ['/threads?q=moved', 1],
    ['/threads?q=green', 2],
    ['/threads?q=emoji', 1],
    // What stands in a post without being in the signal.
    ['/threads?q=completed', 2],
    ['/threads?q=validation%20failed', 1],
    ['/questions', 4],
    ['/questions?state=open', 1],
    ['/questions?state=open&run_id=waiting', 1],
    ['/control-threads', 5],
    ['/events?limit=200', 37],
  ])('answers %s as one that was written today', async (path, count) => {
    const { before, after } = await answers(path);
    expect(before.items.length, 'rows to compare').toBe(count);
    expect(after).toEqual(before);
  });

  it('counts what is in it', async () => {
    const { before, after } = await answers('/stats');
    // Which of equals comes first is nobody's business.
    for (const { threads } of [before, after]) {
      for (const rows of [threads.by_ticket, threads.by_run]) rows.sort((a: object, b: object) => order(a, b));
    }
    expect(after).toEqual(before);
  });

  const order = (a: object, b: object) => JSON.stringify(a).localeCompare(JSON.stringify(b));

  describe('has its runs', () => {
    /** That it has been brought up is the first version of all of them. */
    const first = ({ ticket: _ticket, ...run }: { ticket: string }) => ({ ...run, version: 1 });

    it('in order, each with what became of it', async () => {
      const { before, after } = await answers('/runs');
      const statuses = before.items.map(({ status }: { status: string }) => status);
      expect(statuses).toEqual(['running', 'completed', 'awaiting_guidance']);
      expect(after.items.map(first)).toEqual(before.items.map(first));
      for (const { run_id } of before.items) {
        const run = await answers(`/runs/${run_id}`);
        expect(first(run.after)).toEqual(first(run.before));
      }
    });

    it('with the ticket that was named first', async () => {
      const { before, after } = await answers('/runs');
      const tickets = ({ items }: { items: { ticket: string }[] }) => items.map(({ ticket }) => ticket);
      expect(tickets(before)).toEqual(['T-3', null, 'T-2']);
      expect(tickets(after)).toEqual(tickets(before));
    });
  });

  it('goes on from there', async () => {
    const { open, post, mark } = conversation((...request) => upgraded.send(...request));
    const [thread] = (await upgraded.send('GET', '/threads?q=krakow')).body.items;
    expect((await post(thread.thread_id, { body: 'The blue kiosk' })).body.thread.posts_count).toBe(4);
    await open({ title: 'Blue', body: 'As the sky' });
    const found = (await upgraded.send('GET', '/threads?q=blue')).body.items;
    expect(found.map(({ title }: { title: string }) => title)).toEqual(['Blue', 'Café in Kraków']);
    expect((await mark(thread.thread_id, 'human:ana')).unseen).toBe(false);
    expect((await upgraded.send('GET', '/threads?queue=unseen&viewer=human:ana')).body.items).toHaveLength(8);
    expect((await upgraded.send('POST', '/runs/finished/close')).body.status).toBe('closed');

    // Its questions have deadlines that count.
    clock.advance(60_000);
    await upgraded.close();
    upgraded = await startApp(engine, { database: scratch, config: { ROLE: 'all' }, overrides: { clock } });
    const expired = async () => (await upgraded.send('GET', '/questions?state=expired')).body.items;
    await expect.poll(expired, { interval: 5, timeout: 10_000 }).toMatchObject([{ question: 'Or later?' }]);
    expect((await upgraded.send('GET', '/runs/waiting')).body).toMatchObject({ status: 'running', open_questions: [] });
    expect((await upgraded.send('GET', '/stats')).body.open_questions.count).toBe(0);
  });
});

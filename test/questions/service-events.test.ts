import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { Expiries, startTimed } from '../helpers/expiry.ts';
import { signal } from '../helpers/signals.ts';

const OPTIONS = [{ label: 'eu', description: 'Where staging runs.' }, { label: 'us' }];
const LONG = 'w'.repeat(10_000);

describe.each(engines)('the events of a question on %s', engine => {
  const clock = new ManualClock();
  const expiries = new Expiries();
  let service: TestApp;
  let runs = 0;
  beforeAll(async () => {
    service = await startTimed(engine, { clock, expiries });
  });
  afterAll(() => service.close());

  const briefed = async (): Promise<string> => {
    const run_id = `run-${++runs}`;
    const brief = { title: 'Move to Europe', ticket: 'OPS-7', agents: ['builder'] };
    expect((await service.send('PUT', `/runs/${run_id}`, brief)).status).toBe(201);
    return run_id;
  };
  const ask = async (run_id: string, fields: object = {}) => {
    const { status, body } = await service.send(
      'POST',
      '/control-signals',
      signal('guidance_request', { run_id, question: 'Which region?', options: OPTIONS, ...fields }),
    );
    expect(status, JSON.stringify(body)).toBe(201);
    return body.question.question_id as string;
  };
  /** The payload of the run's last event of this type. */
  const payloadOf = async (run_id: string, type: string) => {
    const path = `/events?run_id=${run_id}&event_type=forum.question.${type}`;
    return (await service.send('GET', path)).body.items.at(-1)?.payload;
  };
  const head = { question: 'Which region?', options: OPTIONS, source: null, run_title: 'Move to Europe' };

  it('open it with all that is needed to put it to people', async () => {
    const run_id = await briefed();
    const fields = { context: LONG, multi_select: true, priority: 'urgent', expires_in_seconds: 60 };
    const question_id = await ask(run_id, { ...fields, default_answer: 'eu', default_selected: ['eu'] });
    const expires_at = new Date(clock.now() + 60_000).toISOString();
    expect(await payloadOf(run_id, 'opened')).toEqual({
      ...{ question_id, ...head, context: LONG, multi_select: true, priority: 'urgent', expires_at },
      ...{ default_answer: 'eu', default_selected: ['eu'], supersedes: null },
      approvals_required: 1,
    });
  });

  it('say nothing that was not said', async () => {
    const run_id = `run-${++runs}`;
    const question_id = await ask(run_id, { options: undefined });
    expect(await payloadOf(run_id, 'opened')).toEqual({
      ...{ question_id, question: 'Which region?', context: null, options: [], multi_select: false },
      ...{ priority: 'normal', expires_at: null, default_answer: null, default_selected: [], supersedes: null },
      source: null,
      approvals_required: 1,
      run_title: null,
    });
  });

  it('end it with its outcome', async () => {
    const run_id = await briefed();
    const answered = await ask(run_id);
    const answer = { answer: 'Europe.', selected: ['eu'] };
    expect((await service.send('PUT', `/questions/${answered}/answer`, answer)).status).toBe(200);
    expect(await payloadOf(run_id, 'answered')).toEqual({
      ...{ question_id: answered, ...head, ...answer },
      answered_in: 'api',
    });

    const cancelled = await ask(run_id);
    await service.send('POST', `/questions/${cancelled}/cancel`);
    expect(await payloadOf(run_id, 'cancelled')).toEqual({ question_id: cancelled, ...head });

    const superseded = await ask(run_id);
    const superseded_by = await ask(run_id, { supersedes: superseded, expires_in_seconds: 60, default_answer: 'us' });
    expect(await payloadOf(run_id, 'superseded')).toEqual({ question_id: superseded, ...head, superseded_by });
    expect(await payloadOf(run_id, 'opened')).toMatchObject({ question_id: superseded_by, supersedes: superseded });

    clock.advance(60_000);
    await expiries.of(superseded_by);
    const applied = { default_applied: true, default_answer: 'us', default_selected: [] };
    expect(await payloadOf(run_id, 'expired')).toEqual({ question_id: superseded_by, ...head, ...applied });
  });

  it('have the ticket of the signal, else of the brief, else of the thread', async () => {
    const run_id = await briefed();
    const ticketsOf = async (event_type: string) => {
      const { items } = (await service.send('GET', `/events?run_id=${run_id}&event_type=${event_type}`)).body;
      return items.map(({ ticket }: { ticket: string | null }) => ticket);
    };
    const listed = async (ticket: string) => {
      const { items } = (await service.send('GET', `/questions?ticket=${ticket}&run_id=${run_id}&order=newest`)).body;
      return items.map(({ question_id }: { question_id: string }) => question_id);
    };
    const first = await ask(run_id);
    const named = await ask(run_id, { ticket: 'OPS-8' });
    await service.send('POST', `/questions/${named}/cancel`);
    expect(await ticketsOf('forum.question.opened')).toEqual(['OPS-7', 'OPS-8']);
    expect(await ticketsOf('forum.thread.opened')).toEqual(['OPS-7']);
    expect([await listed('OPS-7'), await listed('OPS-8')]).toEqual([[first], [named]]);
    const threads = (await service.send('GET', `/threads?ticket=OPS-7&run_id=${run_id}`)).body.items;
    expect(threads).toMatchObject([{ kind: 'control', ticket: 'OPS-7' }]);
  });

  it('have the ticket of the question, whatever happens to it', async () => {
    const run_id = await briefed();
    const asked = (ticket: string, fields: object = {}) => ask(run_id, { ticket, ...fields });
    const done = async (method: 'POST' | 'PUT', path: string, body: object = {}) =>
      expect((await service.send(method, `/questions/${path}`, body)).status).toBe(200);
    const answered = await asked('A-1');
    await done('PUT', `${answered}/answer`, { answer: 'Europe.' });
    await done('POST', `${answered}/acknowledge`);
    await done('POST', `${await asked('A-2')}/cancel`);
    const superseded = await asked('A-3');
    const last = await asked('A-4', { supersedes: superseded, expires_in_seconds: 60, remind_after_seconds: 30 });
    clock.advance(30_000);
    await expect.poll(() => payloadOf(run_id, 'reminded')).toBeDefined();
    clock.advance(30_000);
    await expiries.of(last);
    const twice = await asked('A-5', { approvals: 2 });
    for (const name of ['ana', 'ben'])
      await done('PUT', `${twice}/answer`, { answer: 'Europe.', actor: { type: 'operator', name } });
    const { items } = (await service.send('GET', `/events?run_id=${run_id}&limit=200`)).body;
    const told = items
      .filter(({ event_type }: { event_type: string }) => event_type.startsWith('forum.question.'))
      .map((event: { event_type: string; ticket: string }) => `${event.event_type.split('.')[2]} ${event.ticket}`);
    expect(told).toEqual([
      ...['opened A-1', 'answered A-1', 'acknowledged A-1', 'opened A-2', 'cancelled A-2'],
      ...['opened A-3', 'opened A-4', 'superseded A-3', 'reminded A-4', 'expired A-4'],
      ...['opened A-5', 'approved A-5', 'answered A-5'],
    ]);
  });

  it('have the ticket of the brief as it is now', async () => {
    const run_id = await briefed();
    await ask(run_id);
    await service.send('PUT', `/runs/${run_id}`, { ticket: 'OPS-10' });
    const question_id = await ask(run_id);
    const { items } = (await service.send('GET', `/questions?ticket=OPS-10&run_id=${run_id}`)).body;
    expect(items).toMatchObject([{ question_id }]);
  });

  it('have the ticket of a brief that came after the question', async () => {
    const run_id = `run-${++runs}`;
    const question_id = await ask(run_id);
    await service.send('PUT', `/runs/${run_id}`, { ticket: 'OPS-9' });
    await service.send('POST', `/questions/${question_id}/cancel`);
    const { items } = (await service.send('GET', `/events?run_id=${run_id}&event_type=forum.question.cancelled`)).body;
    expect(items).toMatchObject([{ ticket: 'OPS-9' }]);
    const threads = (await service.send('GET', '/threads?ticket=OPS-9')).body.items;
    expect(threads).toMatchObject([{ run_id, ticket: 'OPS-9' }]);
  });

  it('cut a long text when it ends, and say so', async () => {
    const run_id = await briefed();
    const question_id = await ask(run_id, { question: LONG });
    await service.send('POST', `/questions/${question_id}/cancel`);
    const cut = { question: LONG.slice(0, 500), question_truncated: true };
    expect(await payloadOf(run_id, 'cancelled')).toEqual({ question_id, ...head, ...cut });
  });
});

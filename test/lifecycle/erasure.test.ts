import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { exportFiles, exportOf, imported, serviceOn } from '../helpers/exports.ts';
import { handler } from '../helpers/handling.ts';
import { MARK, type Marked, markedRun, marksIn, projectionFaults } from '../helpers/marked-run.ts';
import { expectProblem } from '../helpers/problems.ts';
import { aRun } from '../helpers/runs.ts';
import { signal as signalOf } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { settled } from '../helpers/waits.ts';

/** Fails with what it was given, so that the texts stand in errors, too. */
const handlers = [
  handler('forum.events.**', message => {
    throw new Error(JSON.stringify(message.payload));
  }),
  handler('forum.integration.**', message => {
    throw new Error(JSON.stringify(message.payload));
  }),
];

describe.each(engines)('erasing a run on %s', engine => {
  let service: TestApp;
  let send: TestApp['send'];
  beforeEach(async () => {
    service = await startApp(engine, { overrides: { handlers } });
    ({ send } = service);
  });
  afterEach(() => service.close());

  const erase = (run_id: string) => send('DELETE', `/runs/${run_id}`);
  /** As its caller does: until all is erased. */
  async function eraseAll(run_id: string): Promise<void> {
    await expect.poll(async () => (await erase(run_id)).status, { timeout: 20_000, interval: 10 }).toBe(204);
  }
  /** Lets nothing of an erasure happen but its first transaction. */
  const hold = () => sqlBeside(service.url, 'insert into search_questions_left values (1)');
  const release = () => sqlBeside(service.url, 'delete from search_questions_left');

  /** Everything that shows something of a run. */
  async function shown({ run_id, thread_id, discussion, questions, messages }: Marked): Promise<string> {
    const { items } = (await send('GET', `/events?run_id=${run_id}&limit=200`)).body;
    const signals = items.flatMap((event: { payload: { signal_id?: string } }) => event.payload.signal_id ?? []);
    const urls = [
      ...[`/runs/${run_id}`, '/runs?limit=200', '/runs?status=closed', `/control-threads?run_id=${run_id}`],
      ...[`/threads?run_id=${run_id}`, '/threads?limit=200', '/threads?queue=unanswered', '/stats', '/outbox/stats'],
      ...[`/threads/${thread_id}`, `/threads/${thread_id}/posts`],
      ...[`/threads/${discussion}`, `/threads/${discussion}/posts`],
      ...[`/questions?run_id=${run_id}`, `/questions?run_id=${run_id}&order=newest`, '/questions?limit=200'],
      ...[`/events?run_id=${run_id}&limit=200`, '/events?limit=200', '/events?order=newest&limit=200'],
      ...[`/events?thread_id=${discussion}`, '/events?event_type=forum.control.signal&limit=200'],
      ...['/outbox?limit=200', '/outbox?status=dead&limit=200', '/outbox?status=discarded&limit=200'],
      ...[`/control-threads/${run_id}/builder`, `/control-threads/${run_id}/builder/inbox`],
      ...questions.map(id => `/questions/${id}`),
      ...messages.map(id => `/outbox/${id}`),
      ...items.map(({ event_id }: { event_id: string }) => `/outbox/${event_id.replace('evt_', 'msg_')}`),
      ...signals.map((id: string) => `/control-signals/${id}`),
    ];
    const answers = await Promise.all(urls.map(url => send('GET', url)));
    const found = answers.flatMap(({ status, body }, index) => {
      if (status === 404 && urls[index]?.startsWith('/outbox/')) return [];
      expect(status, urls[index]).toBe(200);
      const text = JSON.stringify(body);
      return text.includes(MARK) ? [`${urls[index]}: ${text}`] : [];
    });
    for (const word of [MARK, `${MARK}1`, `${MARK}20`]) {
      for (const list of ['threads', 'questions']) {
        const { body } = await send('GET', `/${list}?q=${word}`);
        if (body.items.length > 0) found.push(`search for ${word} in ${list}: ${JSON.stringify(body.items)}`);
      }
    }
    return found.join('\n');
  }

  /** Dispatches until nothing is due. */
  async function dispatch() {
    while ((await send('POST', '/bus/process', { limit: 200 })).body.claimed > 0);
  }

  it('leaves none of its texts in any table, and all that the log says of other runs', async () => {
    const other = await markedRun(send, 'other');
    const run = await markedRun(send, 'doomed');
    await dispatch();
    expect(Object.keys(await marksIn(service.url)).sort()).toEqual(
      expect.arrayContaining(['deliveries', 'events', 'idempotency_keys', 'messages', 'questions', 'runs', 'threads']),
    );
    const before = (await sqlBeside(service.url, 'select * from events order by sequence')) as { event_id: string }[];

    await eraseAll('doomed');
    const left = Object.entries(await marksIn(service.url)).flatMap(([table, rows]) =>
      rows.filter(row => !/of other|'other'/.test(row)).map(row => `${table}: ${row}`),
    );
    expect(left).toEqual([]);
    expect(await shown({ ...run, messages: run.messages })).toMatch(/of other/);
    expect(await shown(other)).not.toMatch(/of doomed/);
    expect(await projectionFaults(service.url)).toEqual([]);

    const after = await sqlBeside(service.url, 'select * from events order by sequence');
    expect(after).toHaveLength(before.length + 1);
    for (const [index, row] of before.entries()) {
      expect({ ...after[index], payload: '' }).toEqual({ ...row, payload: '' });
    }
    const payloads = (await aRun(send, 'doomed').events()).map(({ payload }) => payload as { erased?: true });
    expect(payloads.at(-1)).toEqual({ reason: 'request' });
    expect(payloads.slice(0, -1).every(({ erased }) => erased === true)).toBe(true);
    // Again, it is the same, and there is no second event.
    await eraseAll('doomed');
    expect(await sqlBeside(service.url, 'select * from events order by sequence')).toEqual(after);
    expect(await sqlBeside(service.url, 'select * from erasures')).toEqual([]);
  });

  it('shows none of its texts from the first transaction on, and goes on after a restart', async () => {
    const run = await markedRun(send, 'doomed');
    await dispatch();
    // What the process remembers counts, too.
    expect(await shown(run)).toContain(MARK);
    await hold();
    const { status, body } = await erase('doomed');
    expect([status, body]).toEqual([202, { run_id: 'doomed', erased: false }]);
    expect(Object.keys(await marksIn(service.url))).toContain('events');
    expect(await shown(run)).toBe('');
    const { erased_at, brief } = await aRun(send, 'doomed').snapshot();
    expect(erased_at).toMatch(/Z$/);
    expect(brief).toEqual({ ticket: 'TCK-1', title: null, done_criteria: null, agents: ['builder'] });

    await service.restart();
    ({ send } = service);
    expect(await shown(run)).toBe('');
    expect((await erase('doomed')).status).toBe(202);
    await release();
    await eraseAll('doomed');
    expect(await marksIn(service.url)).toEqual({});
    expect(await shown(run)).toBe('');
    expect(await projectionFaults(service.url)).toEqual([]);
  });

  it('calls no copy of its texts current, and ends no wait with them', async () => {
    const { run_id, discussion, questions } = await markedRun(send, 'doomed');
    const urls = [
      ...[`/runs/${run_id}`, `/threads/${discussion}`, `/control-threads/${run_id}/builder`],
      ...questions.map(id => `/questions/${id}`),
    ];
    const copies = await Promise.all(urls.map(url => send('GET', url)));
    const headers = copies.map(({ headers }) => ({ 'if-none-match': String(headers.etag) }));
    const waiting = urls
      .filter(url => /runs|questions/.test(url))
      .map(url => send('GET', `${url}?wait=2&after_version=99`));
    await settled(send);
    await hold();
    expect((await erase(run_id)).status).toBe(202);
    const current = await Promise.all(urls.map((url, index) => send('GET', url, undefined, headers[index])));
    expect(current.map(({ status, body }) => [status, Boolean(body.erased ?? body.erased_at)])).toEqual(
      urls.map(() => [200, true]),
    );
    expect(JSON.stringify(current.map(({ body }) => body))).not.toContain(MARK);
    const tags = current.map(({ headers }) => ({ 'if-none-match': String(headers.etag) }));
    await release();
    await eraseAll(run_id);
    const left = await Promise.all(urls.map((url, index) => send('GET', url, undefined, tags[index])));
    expect(left.map(({ status }) => status)).toEqual(urls.map(() => 304));
    expect(JSON.stringify((await Promise.all(waiting)).map(({ body }) => body))).not.toContain(MARK);
  });

  /** Validates the completion of an agent of the run, and closes the run. */
  async function end(run_id: string, agent_name: string) {
    const { signal, close } = aRun(send, run_id);
    expect((await signal('validation', agent_name)).status).toBe(201);
    expect((await close()).status).toBe(200);
  }

  it.each([
    ['with spaces', ' doomed\u00a0', 'doomed'],
    ['in another form of Unicode', 'cafe\u0301', 'caf\u00e9'],
  ])('erases commands that name it %s', async (_, named, run_id) => {
    const actor = { type: 'operator', name: 'ana' };
    const commands = [
      { topic: 'forum.commands.control_signal', payload: signalOf('completion', { run_id: named, summary: MARK }) },
      { topic: 'forum.commands.open_thread', payload: { title: MARK, body: MARK, run_id: named, actor } },
    ];
    const publish = (command: object, index: number) =>
      send('POST', '/outbox', command, { 'idempotency-key': `command-${index}` });
    const published = await Promise.all(commands.map(publish));
    expect(published.map(({ status }) => status)).toEqual([201, 201]);
    await dispatch();
    await end(run_id, 'builder');
    expect(Object.keys(await marksIn(service.url))).toEqual(expect.arrayContaining(['idempotency_keys', 'messages']));
    await eraseAll(run_id);
    expect(await marksIn(service.url)).toEqual({});
    for (const again of await Promise.all(commands.map(publish))) expectProblem(again, 'RUN_ERASED');
  });

  it('erases messages that name its thread, also if that was opened after them', async () => {
    const actor = { type: 'operator', name: 'ana' };
    const opening = { title: 'Weather', body: 'Rain.', thread_id: 'T', run_id: 'doomed', actor };
    const messages = [
      { topic: 'forum.commands.add_post', message_key: 'T', payload: { thread_id: 'T', body: MARK, actor } },
      { topic: 'forum.integration.told', message_key: 'T', payload: { thread_id: 'T', text: MARK } },
    ];
    const publish = (message: object, index: number) =>
      send('POST', '/outbox', message, { 'idempotency-key': `message-${index}` });
    await send('POST', '/outbox', { topic: 'forum.commands.open_thread', message_key: 'T', payload: opening });
    const published = await Promise.all(messages.map(publish));
    expect(published.map(({ status }) => status)).toEqual([201, 201]);
    await dispatch();
    expect((await send('GET', '/threads/T')).body).toMatchObject({ run_id: 'doomed', posts_count: 2 });
    await aRun(send, 'doomed').finish('builder');
    expect((await aRun(send, 'doomed').close()).status).toBe(200);

    await hold();
    expect((await erase('doomed')).status).toBe(202);
    const shownLast = published.map(({ body }) => send('GET', `/outbox/${body.message_id}`));
    for (const { body } of await Promise.all(shownLast)) expect(body.payload).toEqual({ erased: true });
    for (const again of await Promise.all(messages.map(publish))) expectProblem(again, 'RUN_ERASED');
    await release();
    await eraseAll('doomed');
    expect(await marksIn(service.url)).toEqual({});
    for (const again of await Promise.all(messages.map(publish))) expectProblem(again, 'RUN_ERASED');
  });

  it.each(['begun', 'done'])('refuses what would add to it once it is %s', async state => {
    const run = await markedRun(send, 'doomed');
    const key = { 'idempotency-key': 'again' };
    const actor = { type: 'operator', name: 'ana' };
    const close = () => send('POST', '/runs/doomed/close', { actor }, key);
    expect((await close()).status).toBe(200);
    if (state === 'begun') await hold();
    if (state === 'begun') expect((await erase('doomed')).status).toBe(202);
    else await eraseAll('doomed');
    const before = await dump(service.url);
    const { signal, brief, nextAttempt } = aRun(send, 'doomed');
    const [first] = run.questions;
    const publish = (command: string, payload: object) =>
      send('POST', '/outbox', { topic: `forum.commands.${command}`, payload });
    const refused = [
      signal('completion', 'builder'),
      signal('guidance_request', 'newcomer'),
      send('PUT', `/questions/${first}/answer`, { answer: 'Europe.' }),
      send('POST', `/questions/${first}/acknowledge`, {}),
      brief({ title: 'Again.' }),
      send('POST', '/threads', { title: 'x', body: 'y', run_id: 'doomed', actor }),
      send('POST', `/threads/${run.discussion}/posts`, { body: 'x', actor }),
      send('PATCH', `/threads/${run.discussion}`, { priority: 'low', actor }),
      close(),
      publish('control_signal', signalOf('completion', { run_id: ' doomed', summary: MARK })),
      publish('open_thread', { title: MARK, body: MARK, run_id: 'doomed', actor }),
      publish('add_post', { thread_id: run.discussion, body: MARK, actor }),
    ];
    for (const answer of await Promise.all(refused)) expectProblem(answer, 'RUN_ERASED');
    expectProblem(await nextAttempt('builder'), 'RUN_CLOSED');
    expect(await dump(service.url)).toEqual(before);
  });

  it('erases only what its caller has: a run with later events is refused', async () => {
    const { discussion } = await markedRun(send, 'doomed');
    const last = async () => (await aRun(send, 'doomed').events()).at(-1)?.sequence as number;
    const upTo = await last();
    await send('POST', `/threads/${discussion}/posts`, { body: 'late', actor: { type: 'operator', name: 'ana' } });
    const later = await last();
    const before = await dump(service.url);
    expectProblem(await erase(`doomed?up_to=${upTo}`), 'RUN_CHANGED');
    expectProblem(await erase(`doomed?up_to=${later - 1}`), 'RUN_CHANGED');
    expectProblem(await erase('doomed?up_to=-1'), 'VALIDATION_FAILED');
    expect(await dump(service.url)).toEqual(before);
    // What happens in other runs does not count, nor does the event of the erasure itself when it is repeated.
    await aRun(send, 'other').ask('builder');
    await hold();
    expect((await erase(`doomed?up_to=${later}`)).status).toBe(202);
    expect((await erase(`doomed?up_to=${later}`)).status).toBe(202);
    await release();
    await eraseAll(`doomed?up_to=${later}`);
    expect(await marksIn(service.url)).toEqual({});
  });

  it('ends although it has begun before the words of an import are indexed', async () => {
    await markedRun(send, 'doomed');
    const database = await imported(engine, await exportFiles([await exportOf(service, 'doomed')]));
    const unindexed = await serviceOn(engine, { database });
    expect((await unindexed.send('DELETE', '/runs/doomed')).status).toBe(202);
    expect((await unindexed.send('DELETE', '/runs/doomed')).status).toBe(202);
    await unindexed.app.close();
    const own = await serviceOn(engine, { database, config: { ROLE: 'all', POLL_INTERVAL_MS: '20' } });
    await expect.poll(async () => (await own.send('DELETE', '/runs/doomed')).status, { timeout: 20_000 }).toBe(204);
    expect(await marksIn(database.url)).toEqual({});
    expect((await own.send('GET', `/threads?q=${MARK}1`)).body.items).toEqual([]);
  });

  it('refuses a run that is open or unknown', async () => {
    await aRun(send, 'open').ask('builder');
    const before = await dump(service.url);
    expectProblem(await erase('open'), 'RUN_OPEN');
    expectProblem(await erase('nobody'), 'RUN_NOT_FOUND');
    expect(await dump(service.url)).toEqual(before);
  });

  it('discards what waits for a consumer, lets its lanes go on, and tells of the erasure', async () => {
    const told: string[] = [];
    const own = await startApp(engine, {
      overrides: {
        handlers: [
          handler(['forum.events.**', 'forum.integration.**'], ({ topic, payload }) => {
            told.push(`${topic} ${JSON.stringify(payload)}`);
          }),
        ],
      },
    });
    try {
      const run = await markedRun(own.send, 'doomed');
      await own.send('POST', '/outbox', { topic: 'forum.integration.next', message_key: 'shared', payload: {} });
      await sqlBeside(own.url, 'insert into search_questions_left values (1)');
      expect((await own.send('DELETE', '/runs/doomed')).status).toBe(202);
      // Nothing was given yet: what is given now is of an erased run.
      while ((await own.send('POST', '/bus/process', { limit: 200 })).body.claimed > 0);
      expect(told.map(text => text.split(' ')[0])).toEqual(
        expect.arrayContaining(['forum.integration.next', 'forum.events.run.erased']),
      );
      expect(told.filter(text => text.includes(MARK) || text.includes('"erased":true'))).toEqual([]);
      await sqlBeside(own.url, 'delete from search_questions_left');
      await expect.poll(async () => (await own.send('DELETE', '/runs/doomed')).status, { timeout: 20_000 }).toBe(204);
      // Replayed from the beginning, it is not told either.
      for (const { name } of (await own.send('GET', '/bus/subscriptions')).body.items) {
        await own.send('POST', `/bus/subscriptions/${name}/replay`, { after: 0 });
      }
      while ((await own.send('POST', '/bus/process', { limit: 200 })).body.claimed > 0);
      expect(told.filter(text => text.includes(MARK) || text.includes('"erased":true'))).toEqual([]);
      const statuses = await sqlBeside(own.url, 'select distinct status from deliveries order by status');
      expect(statuses.map(({ status }) => status)).toEqual(['discarded', 'sent']);
      expect(run.messages).toHaveLength(2);
    } finally {
      await own.close();
    }
  });

  it('happens by itself to runs that were closed long ago, and to no others', async () => {
    const clock = new ManualClock();
    const day = 24 * 3_600_000;
    const config = { EVENT_RETENTION_DAYS: '30', ROLE: 'all', POLL_INTERVAL_MS: '20' };
    const own = await startApp(engine, { config, overrides: { clock } });
    try {
      await markedRun(own.send, 'old');
      clock.advance(20 * day);
      await markedRun(own.send, 'young');
      await aRun(own.send, 'open').ask('builder');
      clock.advance(10 * day + 1);
      const erased = async () => {
        const rows = await sqlBeside(own.url, 'select run_id from runs where erased_at is not null');
        const left = await sqlBeside(own.url, 'select run_id from erasures');
        return left.length > 0 ? [] : rows.map(row => row.run_id);
      };
      await expect.poll(erased, { timeout: 20_000 }).toEqual(['old']);
      const [event] = (await own.send('GET', '/events?event_type=forum.run.erased')).body.items;
      expect(event).toMatchObject({
        ...{ run_id: 'old', ticket: 'TCK-1', thread_id: null, payload: { reason: 'retention' } },
        actor: { type: 'system', name: 'forumbus' },
      });
      const rows = Object.values(await marksIn(own.url)).flat();
      expect(rows.filter(row => row.includes('of old'))).toEqual([]);
      expect(rows.some(row => row.includes('of young'))).toBe(true);
    } finally {
      await own.close();
    }
  });
});

describe('erasing runs on sqlite', () => {
  const config = { ROLE: 'all', POLL_INTERVAL_MS: '20' };

  it('builds a search index anew that does not hold the words of the texts', async () => {
    const { url, send } = await serviceOn('sqlite', { config });
    await markedRun(send, 'doomed');
    const kept = await markedRun(send, 'kept');
    for (const place of ['titles', 'openings', 'replies', 'questions'])
      await sqlBeside(url, `insert into search_${place}(search_${place}) values ('delete-all')`);
    await expect.poll(async () => (await send('DELETE', '/runs/doomed')).status, { timeout: 20_000 }).toBe(204);
    const left = Object.values(await marksIn(url)).flat();
    expect(left.filter(row => row.includes('of doomed'))).toEqual([]);
    const found = (await send('GET', '/threads?q=of+kept')).body.items as { thread_id: string }[];
    expect(found.map(({ thread_id }) => thread_id)).toContain(kept.discussion);
    expect((await send('GET', '/questions?q=of+kept')).body.items).not.toEqual([]);
    expect((await send('GET', '/threads?q=of+doomed')).body.items).toEqual([]);
  });

  it('goes on with the others if one fails', async () => {
    const { app, url, send } = await serviceOn('sqlite');
    for (const run_id of ['first', 'second']) await markedRun(send, run_id);
    await sqlBeside(url, 'insert into search_questions_left values (1)');
    for (const run_id of ['first', 'second']) expect((await send('DELETE', `/runs/${run_id}`)).status).toBe(202);
    await app.close();
    await sqlBeside(
      url,
      `create trigger failing before update on events when old.run_id = 'first' begin select raise(abort, 'No.'); end`,
    );
    await serviceOn('sqlite', { database: { url, drop: async () => {} }, config });
    const left = () => sqlBeside(url, 'select run_id from erasures');
    await expect.poll(left, { timeout: 20_000 }).toEqual([{ run_id: 'first' }]);
  });
});

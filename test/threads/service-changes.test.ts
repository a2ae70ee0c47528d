import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { withoutTrace } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { agent, conversation, operator } from '../helpers/threads.ts';

type Happening = [event_type: string, payload: object];

const moved = (from: string, to: string): Happening => ['forum.state.changed', { from, to }];
const raised = (from: string, to: string): Happening => ['forum.priority.changed', { from, to }];
const assigned = (from: string | null, to: string | null): Happening => ['forum.assigned', { from, to }];
const closed: Happening = ['forum.thread.closed', {}];

/** On a thread that is new, normal and nobody's. */
const changes: [name: string, change: object, ...happenings: Happening[]][] = [
  ['the state', { state: 'triaged' }, moved('new', 'triaged')],
  ['the priority', { priority: 'urgent' }, raised('normal', 'urgent')],
  ['the assignee', { assignee: 'ana' }, assigned(null, 'ana')],
  ['an assignee with white space around the name', { assignee: ' ana\t' }, assigned(null, 'ana')],
  ['the state to closed', { state: 'closed' }, moved('new', 'closed'), closed],
  ['state and priority', { state: 'answered', priority: 'low' }, moved('new', 'answered'), raised('normal', 'low')],
  ['priority and assignee', { priority: 'high', assignee: 'bo' }, raised('normal', 'high'), assigned(null, 'bo')],
  [
    'everything',
    { state: 'waiting_human', priority: 'high', assignee: 'bo' },
    moved('new', 'waiting_human'),
    raised('normal', 'high'),
    assigned(null, 'bo'),
  ],
  [
    'everything, and close',
    { state: 'closed', priority: 'high', assignee: 'bo' },
    moved('new', 'closed'),
    raised('normal', 'high'),
    assigned(null, 'bo'),
    closed,
  ],
  ['one thing and repeat the others', { state: 'new', priority: 'low', assignee: null }, raised('normal', 'low')],
];

const byType = (a: Happening, b: Happening) => a[0].localeCompare(b[0]);

describe.each(engines)('changes of a thread on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const { open, view, change, events } = conversation((...request) => service.send(...request));

  const changesNothing = <T>(request: () => Promise<T>) => withoutTrace(service.url, request);

  it.each(changes)('one request changes %s', async (_, fields, ...happenings) => {
    const before = await open();
    const { status, body } = await change(before.thread_id, fields);
    expect(status).toBe(200);
    const written = await events(before.last_sequence);
    const { state = 'new', priority = 'normal', assignee = null } = fields as Record<string, string | null>;
    expect(body).toEqual({
      ...before,
      state,
      priority,
      assignee: assignee?.trim() ?? null,
      // Closed, it waits for nobody; answered, somebody has spoken.
      unanswered: state !== 'closed' && state !== 'answered',
      last_sequence: written.at(-1)?.sequence,
      last_actor: operator,
      updated_at: body.updated_at,
      closed_at: state === 'closed' ? body.updated_at : null,
      version: before.version + 1,
    });
    expect(await view(before.thread_id)).toEqual(body);
    expect(written.map(({ event_type, payload }): Happening => [event_type, payload]).sort(byType)).toEqual(
      happenings.toSorted(byType),
    );
    for (const event of written) expect(event).toMatchObject({ thread_id: before.thread_id, actor: operator });
    expect(new Set(written.map(event => event.correlation_id)).size).toBe(1);
    // An act of its own: not a consequence of what has happened before.
    const earlier = await events(0, `&thread_id=${before.thread_id}`);
    expect(earlier.filter(event => event.correlation_id === written[0]?.correlation_id)).toEqual(written);
    // Nothing happens in a thread after it has been closed.
    if (state === 'closed') expect(written.at(-1)?.event_type).toBe('forum.thread.closed');
  });

  it.each([
    ['nothing', {}],
    ['its own state', { state: 'triaged' }],
    ['its own priority', { priority: 'high' }],
    ['its own assignee', { assignee: 'ana' }],
    ['its own assignee with white space around the name', { assignee: ' ana ' }],
    ['all that it has', { state: 'triaged', priority: 'high', assignee: 'ana' }],
  ])('a request that gives it %s writes nothing', async (_, fields) => {
    const { thread_id } = await open({ priority: 'high' });
    const { body: before } = await change(thread_id, { state: 'triaged', assignee: 'ana' });
    const { status, body } = await changesNothing(() => change(thread_id, { ...fields, actor: agent }));
    expect(status).toBe(200);
    expect(body).toEqual(before);
  });

  it('null takes the assignee away, once', async () => {
    const { thread_id } = await open();
    const { body: before } = await change(thread_id, { assignee: 'ana' });
    const { body } = await change(thread_id, { assignee: null });
    expect(body).toMatchObject({ assignee: null, version: before.version + 1 });
    const written = await events(before.last_sequence);
    expect(written.map(({ event_type, payload }) => [event_type, payload])).toEqual([assigned('ana', null)]);
    expect((await changesNothing(() => change(thread_id, { assignee: null }))).body).toEqual(body);
  });

  describe('once it is closed', () => {
    let thread: Record<string, unknown> & { thread_id: string };
    beforeAll(async () => {
      const { thread_id } = await open();
      thread = (await change(thread_id, { state: 'closed', assignee: 'ana' })).body;
    });

    it.each([
      { state: 'new' },
      { state: 'answered' },
      { priority: 'urgent' },
      { assignee: 'bo' },
      { assignee: null },
      { state: 'closed', priority: 'urgent' },
      { state: 'answered', priority: 'normal', assignee: 'ana' },
    ])('%j is refused', async fields => {
      expectProblem(await changesNothing(() => change(thread.thread_id, fields)), 'THREAD_CLOSED');
    });

    it.each([
      {},
      { state: 'closed' },
      { priority: 'normal' },
      { state: 'closed', priority: 'normal', assignee: 'ana' },
    ])('%j is what it is already', async fields => {
      const { status, body } = await changesNothing(() => change(thread.thread_id, fields));
      expect(status).toBe(200);
      expect(body).toEqual(thread);
    });
  });

  it('a move that is not allowed takes what was asked with it along', async () => {
    const { thread_id } = await open();
    await change(thread_id, { state: 'triaged' });
    const answer = await changesNothing(() => change(thread_id, { state: 'new', priority: 'urgent', assignee: 'ana' }));
    expectProblem(answer, 'TRANSITION_NOT_ALLOWED');
  });

  it.each([
    ['no actor', { actor: undefined, state: 'triaged' }, '/actor'],
    ['an unknown state', { state: 'open' }, '/state'],
    ['null as state', { state: null }, '/state'],
    ['an unknown priority', { priority: 'critical' }, '/priority'],
    ['null as priority', { priority: null }, '/priority'],
    ['a blank assignee', { assignee: ' ' }, '/assignee'],
    ['an assignee of 201 characters', { assignee: 'x'.repeat(201) }, '/assignee'],
    ['an actor as assignee', { assignee: operator }, '/assignee'],
    ['what cannot be changed', { title: 'Regions' }, '/title'],
  ])('%s is refused', async (_, fields, pointer) => {
    const { thread_id } = await open();
    const answer = await changesNothing(() => change(thread_id, fields));
    expectProblem(answer, 'VALIDATION_FAILED');
    expect(answer.body.errors).toMatchObject([{ in: 'body', pointer }]);
  });

  it('what does not exist cannot be changed', async () => {
    expectProblem(await change('nowhere', { state: 'triaged' }), 'THREAD_NOT_FOUND');
    expectProblem(await change('nowhere', { state: 'triaged' }, { 'if-match': '"1"' }), 'THREAD_NOT_FOUND');
  });

  describe('with If-Match', () => {
    /** A thread of version 2, so that there is a version before it. */
    const second = async (): Promise<string> => {
      const { thread_id } = await open();
      expect((await change(thread_id, { priority: 'low' })).body.version).toBe(2);
      return thread_id;
    };

    it.each([
      ['its version', '"2"'],
      ['anything', '*'],
      ['a list with its version', '"1", "2"'],
      ['a list with its version and others that are none', '"x" , "2",W/"1"'],
      ['its version after the weak tag of it', 'W/"2", "2"'],
      // Proxies that compress answers weaken their tags.
      ['the weak tag of its version', 'W/"2"'],
      ['a list with the weak tag of its version', '"1", W/"2", "3"'],
      ['the tag that a viewer of it has got', '"2-unseen"'],
    ])('%s is changed: %s', async (_, tags) => {
      const thread_id = await second();
      const { status, body } = await change(thread_id, { state: 'triaged' }, { 'if-match': tags });
      expect(status).toBe(200);
      expect(body).toMatchObject({ state: 'triaged', version: 3 });
    });

    it.each([
      ['the version before', '"1"'],
      ['a version to come', '"3"'],
      ['the weak tag of the version before', 'W/"1"'],
      ['a list without its version', '"1", W/"1", "3"'],
      ['an empty tag', '""'],
      ['a tag that is no version', '"latest"'],
      // Tags are compared character by character, not as numbers.
      ['its version with a zero before it', '"02"'],
      ['its version in another notation', '"2e0"'],
      // One tag: a comma between quotes separates nothing.
      ['a tag with a comma', '"1,2"'],
      ['a number beyond all versions', '"99999999999999999999"'],
    ])('%s is stale: %s', async (_, tags) => {
      const thread_id = await second();
      for (const fields of [{ state: 'triaged' }, { priority: 'low' }, { state: 'closed', assignee: 'ana' }]) {
        const answer = await changesNothing(() => change(thread_id, fields, { 'if-match': tags }));
        expectProblem(answer, 'PRECONDITION_FAILED');
      }
    });

    it.each([
      ['a bare number', '2'],
      ['a quote that does not end', '"2'],
      ['single quotes', "'2'"],
      ['nothing', ''],
      ['two tags without a comma', '"1" "2"'],
      ['a tag with a space', '"2 "'],
      ['a weak tag in lower case', 'w/"2"'],
      ['a star among tags', '*, "2"'],
      ['a tag and then no tag', '"2", 2'],
    ])('%s is malformed: %s', async (_, tags) => {
      const thread_id = await second();
      const answer = await changesNothing(() => change(thread_id, { state: 'triaged' }, { 'if-match': tags }));
      expectProblem(answer, 'VALIDATION_FAILED');
      expect(answer.body.errors).toMatchObject([{ in: 'headers', pointer: '/if-match' }]);
    });
  });
});

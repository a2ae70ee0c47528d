import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import openapi from '../../openapi/openapi.json' with { type: 'json' };
import { problemTable } from '../../src/errors.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { refusables } from '../helpers/refusables.ts';
import { refusedBodies } from '../helpers/refused-bodies.ts';
import { refusedSignals } from '../helpers/refused-signals.ts';
import { signal } from '../helpers/signals.ts';

const table = [...refusedSignals, ...refusedBodies];
const ana = { type: 'human', name: 'ana' };
const message = { topic: 'forum.integration.chat', payload: { text: 'Hello.' } };

/** A response, or the name of one that several operations share. */
interface Documented {
  $ref?: string;
  description?: string;
}

describe.each(engines)('bodies on %s', engine => {
  let service: TestApp;
  let world: Awaited<ReturnType<typeof refusables>>;

  const post = (url: string, body: unknown = {}) => service.send('POST', url, body);

  beforeAll(async () => {
    service = await startApp(engine);
    world = await refusables(service.send);
    expect((await post('/outbox', { ...message, message_id: 'msg-1' })).status).toBe(201);
  });
  afterAll(() => service.close());

  describe('that must be refused', () => {
    /** The database after the row before, and as it was before all of them. */
    let last: Record<string, string[]>;
    let first: Record<string, string[]>;
    beforeAll(async () => {
      first = await dump(service.url);
      last = first;
    });

    it.each(table)('$method $url: $name', async row => {
      const { url, body } = world.filled(row);
      const before = last;
      const answer = await service.send(row.method, url, body);
      last = await dump(service.url);
      expect(answer.body).toMatchObject({ code: row.code, status: problemTable[row.code].status });
      expect(answer.status).toBe(problemTable[row.code].status);
      expect(answer.headers['content-type']).toBe('application/problem+json');
      const { errors = [] } = answer.body;
      expect([...new Set(errors.map((item: { pointer: string }) => item.pointer))].sort()).toEqual(
        (row.pointers ?? []).sort(),
      );
      for (const item of errors) expect(item).toMatchObject({ in: 'body', code: expect.stringMatching(/^[A-Z_]+$/) });
      expect(last).toEqual(before);
      expect(documentedCodes(row.method, url, answer.status)).toContain(row.code);
    });

    it('have left no trace', async () => {
      expect(await dump(service.url)).toEqual(first);
    });

    it('would have been noticed: an accepted body changes the dump', async () => {
      await post('/outbox', message);
      expect(await dump(service.url)).not.toEqual(first);
    });
  });

  /** The codes that the document names for this status of the operation at this URL. */
  function documentedCodes(method: string, url: string, status: number): string[] {
    const paths = openapi.paths as unknown as Record<string, Record<string, { responses: object }>>;
    const [path] = Object.entries(paths).filter(([template]) =>
      new RegExp(`^${template.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(url),
    );
    const responses = path?.[1][method.toLowerCase()]?.responses as Record<string, Documented>;
    const { $ref, description } = responses[status] ?? {};
    const shared: Record<string, Documented> = openapi.components.responses;
    const said = $ref === undefined ? description : shared[$ref.split('/').at(-1) as string]?.description;
    return [...(said ?? '').matchAll(/`([A-Z_]+)`/g)].map(match => match[1] as string);
  }

  describe('that name what is wrong', () => {
    it('an unknown control_type answers the known ones', async () => {
      const { body } = await post('/control-signals', signal('approval'));
      for (const type of ['guidance_request', 'guidance_answer', 'completion', 'validation']) {
        expect(body.errors[0].detail).toContain(type);
      }
    });

    it('an unsupported schema version answers the supported ones', async () => {
      const { body } = await post('/control-signals', signal('completion', { schema_version: 2 }));
      expect(body.supported).toEqual([1]);
    });

    it('an ambiguous answer names the open questions, oldest first', async () => {
      const { body } = await post('/control-signals', signal('guidance_answer', { agent_name: 'torn' }));
      expect(body.question_ids).toHaveLength(2);
      expect(body.question_ids[0]).toBe(world.ids['{torn}']);
    });

    it('a payload that is too deep says so', async () => {
      let payload: unknown = 1;
      for (let level = 0; level < 65; level += 1) payload = [payload];
      const { body } = await post('/outbox', { ...message, payload });
      expect(body.errors).toEqual([expect.objectContaining({ in: 'body', pointer: '/payload', code: 'TOO_DEEP' })]);
    });

    it('a payload so deep that recursion would overflow the stack says so, too', async () => {
      const { body } = await service.app
        .inject({
          method: 'POST',
          url: '/outbox',
          headers: { 'content-type': 'application/json' },
          payload: `{"topic":"a.b","payload":${'['.repeat(400_000)}${']'.repeat(400_000)}}`,
        })
        .then(answer => ({ body: answer.json() }));
      expect(body.errors).toEqual([expect.objectContaining({ pointer: '/payload', code: 'TOO_DEEP' })]);
    });

    it('a body with very many errors answers a few of them', async () => {
      const fields = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`field_${index}`, 1]));
      const answer = await post('/control-signals', signal('completion', fields));
      expect(answer.status).toBe(400);
      expect(answer.body.errors.length).toBeLessThanOrEqual(100);
    });
  });

  describe('with white space around a name', () => {
    /** Every kind of white space that counts as such. */
    const padded = (name: string) => ` \t\u00a0${name}\n\u2003 `;

    it.each([
      ['of one character', 'x'],
      ['of 200 characters', 'x'.repeat(200)],
      ['of 200 characters outside the BMP', '😀'.repeat(200)],
      ['with white space inside', 'run one  of two'],
    ])('are taken as the trimmed name %s', async (_, name) => {
      const fields = { run_id: padded(name), agent_name: padded(name), ticket: padded(name) };
      const actor = { type: 'human', name: padded(name) };
      const first = await post('/control-signals', signal('completion', { ...fields, actor }));
      expect(first.status).toBe(201);
      const trimmed = { run_id: name, agent_name: name, ticket: name };
      expect(first.body.signal).toMatchObject({ ...trimmed, actor: { type: 'human', name } });
      expect(first.body.thread).toMatchObject(trimmed);
      const second = await post('/control-signals', signal('completion', trimmed));
      expect(second.body.thread.thread_id).toBe(first.body.thread.thread_id);
      const path = `/control-threads/${encodeURIComponent(name)}/${encodeURIComponent(padded(name))}`;
      expect((await service.send('GET', path)).body.thread_id).toBe(first.body.thread.thread_id);
    });

    it('are taken as trimmed option labels, asked and selected', async () => {
      const run_id = 'run-labels';
      const options = ['yes', 'n'.repeat(200)].map(label => ({ label: padded(label) }));
      const asked = await post('/control-signals', signal('guidance_request', { run_id, options }));
      expect(asked.body.question.options).toEqual([{ label: 'yes' }, { label: 'n'.repeat(200) }]);
      const selected = [padded('n'.repeat(200))];
      const given = await post('/control-signals', signal('guidance_answer', { run_id, selected }));
      expect(given.body.question.selected).toEqual(['n'.repeat(200)]);
    });

    it('are taken as a trimmed kind of evidence', async () => {
      const evidence = [{ kind: padded('k'.repeat(200)), ref: 'ci.txt' }];
      const { body } = await post('/control-signals', signal('validation', { run_id: 'run-evidence', evidence }));
      expect(body.control.validation.evidence).toEqual([{ kind: 'k'.repeat(200), ref: 'ci.txt' }]);
    });

    it('are taken as a trimmed title and author of a thread', async () => {
      const fields = { title: padded('t'.repeat(500)), body: 'Text.', run_id: padded('run-1') };
      const { status, body } = await post('/threads', { ...fields, actor: { type: 'human', name: padded('ana') } });
      expect(status).toBe(201);
      expect(body).toMatchObject({ title: 't'.repeat(500), run_id: 'run-1', opened_by: ana });
    });
  });

  it('keep the white space of texts', async () => {
    const question = '  Which region?\n\n\teu or us?  \n';
    const { body } = await post('/control-signals', signal('guidance_request', { run_id: 'run-text', question }));
    expect(body.question.question).toBe(question);
    expect((await service.send('GET', `/control-signals/${body.signal.signal_id}`)).body.question).toBe(question);
  });

  it('keep every character that is allowed', async () => {
    const question = '\u0001\u001f "\\/ é 😀 \u2028 \ufffd \u{10ffff} <script>';
    const { body } = await post('/control-signals', signal('guidance_request', { run_id: 'run-chars', question }));
    expect((await service.send('GET', `/questions/${body.question.question_id}`)).body.question).toBe(question);
  });

  it('keep payloads of 64 levels, with any text in them', async () => {
    let payload: unknown = ['\u0000', '\ud83d', '', null, 0.1, { '': {} }];
    for (let level = 2; level < 64; level += 1) payload = [payload];
    const { status, body } = await post('/outbox', { ...message, payload });
    expect(status).toBe(201);
    expect((await service.send('GET', `/outbox/${body.message_id}`)).body.payload).toEqual(payload);
  });
});

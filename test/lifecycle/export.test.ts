import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { MARK, markedRun } from '../helpers/marked-run.ts';
import { expectProblem } from '../helpers/problems.ts';
import { aRun } from '../helpers/runs.ts';

type Line = { type: string; lines?: number } & Record<string, Record<string, unknown>>;

describe.each(engines)('the export of a run on %s', engine => {
  let service: TestApp;
  let send: TestApp['send'];
  beforeEach(async () => {
    service = await startApp(engine);
    ({ send } = service);
  });
  afterEach(() => service.close());

  async function exported(run_id: string): Promise<Line[]> {
    const { statusCode, headers, body } = await service.app.inject(`/runs/${run_id}/export`);
    expect([statusCode, headers['content-type']]).toEqual([200, 'application/x-ndjson; charset=utf-8']);
    return body
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line));
  }

  it('has everything of the run and nothing of others, and says how many lines it has', async () => {
    await markedRun(send, 'other');
    const { discussion, thread_id } = await markedRun(send, 'kept');
    const lines = await exported('kept');
    expect(lines.at(-1)).toEqual({ type: 'end', lines: lines.length - 1 });
    const of = (type: string) => lines.filter(line => line.type === type).map(line => line[type] ?? {});
    const types = [...new Set(lines.map(({ type }) => type))];
    expect(types).toEqual(['run', 'agent', 'thread', 'post', 'question', 'event', 'end']);
    const items = async (url: string) => (await send('GET', url)).body.items;
    expect(of('run')).toEqual([await aRun(send, 'kept').snapshot()]);
    expect(of('agent')).toEqual(await items('/control-threads?run_id=kept'));
    expect(of('thread')).toEqual(await items('/threads?run_id=kept'));
    expect(of('question')).toEqual(await items('/questions?run_id=kept&order=newest'));
    expect(of('event')).toEqual(await aRun(send, 'kept').events());
    for (const id of [discussion, thread_id]) {
      expect(of('post').filter(post => post.thread_id === id)).toEqual(await items(`/threads/${id}/posts?limit=200`));
    }
    expect(JSON.stringify(lines)).not.toContain('of other');
    expectProblem(await send('GET', '/runs/nobody/export'), 'RUN_NOT_FOUND');
  });

  it('has no post of which it has no event, in a run that goes on meanwhile', async () => {
    await aRun(send, 'busy').brief({ title: 'x' });
    const body = { title: 'x', body: 'x', run_id: 'busy', actor: { type: 'operator', name: 'ana' } };
    const { thread_id } = (await send('POST', '/threads', body)).body;
    const post = () => send('POST', `/threads/${thread_id}/posts`, { body: 'x', actor: body.actor });
    for (let number = 0; number < 120; number += 1) await post();
    // The later lines are read when the first ones have been taken.
    const exporting = exported('busy');
    while (!Array.isArray(await Promise.race([exporting, post()])));
    const lines = await exporting;
    const up_to = Number((lines[0] as unknown as { up_to: number }).up_to);
    const later = lines.filter(({ post }) => Number(post?.sequence) > up_to);
    expect(later).toEqual([]);
    expect(lines.filter(({ type }) => type === 'post').length).toBeGreaterThan(120);
  });

  it('goes over many pages, and has no text once the run is erased', async () => {
    const run = aRun(send, 'long');
    await run.finish('builder');
    for (let number = 0; number < 250; number += 1) {
      const body = { title: `${MARK} ${number}`, body: 'x', run_id: 'long', actor: { type: 'operator', name: 'ana' } };
      expect((await send('POST', '/threads', body)).status).toBe(201);
    }
    const lines = await exported('long');
    expect(lines.at(-1)?.lines).toBe(lines.length - 1);
    expect(lines.filter(({ type }) => type === 'thread')).toHaveLength(251);
    const sequences = lines.flatMap(({ type, event }) => (type === 'event' ? Number(event?.sequence) : []));
    expect(sequences).toHaveLength(503);
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
    await run.close();
    await expect.poll(async () => (await send('DELETE', '/runs/long')).status, { timeout: 30_000 }).toBe(204);
    const after = await exported('long');
    // The close of the run and of its thread, and the erasure.
    expect(after).toHaveLength(lines.length + 4);
    expect(JSON.stringify(after)).not.toContain(MARK);
  });
});

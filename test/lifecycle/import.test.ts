import { describe, expect, it } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { engines } from '../helpers/engines.ts';
import { comparable, exportFiles, exportOf, imported, serviceOn } from '../helpers/exports.ts';
import { markedRun, projectionFaults } from '../helpers/marked-run.ts';
import { aRun } from '../helpers/runs.ts';

const ways: [from: Engine, to: Engine][] = [
  ['sqlite', 'sqlite'],
  ['sqlite', 'postgres'],
  ['postgres', 'sqlite'],
];

describe.each(ways)('an import from %s into %s', (from, to) => {
  it('gives what was exported, and rows that the log leads to', async () => {
    const old = await serviceOn(from);
    await markedRun(old.send, 'run-1');
    await markedRun(old.send, 'run-2');
    const open = aRun(old.send, 'run-3');
    await open.brief({ title: 'Open', done_criteria: 'Tests are green.', agents: ['builder', 'never'] });
    const question = await open.ask('builder', { question: 'Which harbour?', context: 'a long quay' });
    await expect.poll(async () => (await old.send('DELETE', '/runs/run-2')).status, { timeout: 30_000 }).toBe(204);
    const names = ['run-1', 'run-2', 'run-3'];
    const texts = await Promise.all(names.map(name => exportOf(old, name)));

    const database = await imported(to, await exportFiles(texts));
    expect(await projectionFaults(database.url)).toEqual([]);
    const fresh = await serviceOn(to, { database, config: { ROLE: 'all' } });
    for (const [index, name] of names.entries())
      expect(comparable(await exportOf(fresh, name))).toBe(comparable(texts[index] as string));

    const found = async (q: string) => (await fresh.send('GET', `/threads?q=${q}`)).body.items.length;
    await expect.poll(() => found('harbour'), { timeout: 10_000 }).toBe(1);
    await expect.poll(async () => (await fresh.send('GET', '/questions?q=quay')).body.items.length).toBe(1);
    const { body } = await fresh.send('GET', '/events?order=newest&limit=1');
    const newest = body.items[0].sequence;
    await aRun(fresh.send, 'run-3').answer(question);
    const [answer] = await aRun(fresh.send, 'run-3').events('forum.question.answered');
    expect(answer?.sequence).toBeGreaterThan(newest);
    expect(
      (await fresh.send('POST', '/runs/run-3/close')).body.reasons.map((one: { code: string }) => one.code),
    ).toEqual(['AGENT_NOT_SEEN', 'MISSING_COMPLETION', 'MISSING_VALIDATION']);
  });
});

it('takes a run that went on while it was exported, as far as its events say', async () => {
  const old = await serviceOn('sqlite');
  const run = aRun(old.send, 'run-1');
  const first = await run.ask('builder');
  const before = (await exportOf(old, 'run-1')).trimEnd().split('\n');
  await run.answer(first);
  await run.ask('tester');
  await old.send('POST', '/threads', {
    title: 'Later',
    body: 'x',
    run_id: 'run-1',
    actor: { type: 'operator', name: 'ana' },
  });
  const after = (await exportOf(old, 'run-1')).trimEnd().split('\n');
  const isEvent = (line: string) => /^\{"type":"(event|end)/.test(line);
  // The run was read first, its other views late, and the events up to the moment of the first line.
  const lines = [before[0], ...after.slice(1).filter(line => !isEvent(line)), ...before.filter(isEvent).slice(0, -1)];
  const text = [...lines, `{"type":"end","lines":${lines.length}}`].join('\n');

  const database = await imported('sqlite', await exportFiles([text]));
  expect(await projectionFaults(database.url)).toEqual([]);
  const fresh = await serviceOn('sqlite', { database });
  const events = (of: string[]) => of.filter(line => line.startsWith('{"type":"event"'));
  expect(events((await exportOf(fresh, 'run-1')).split('\n'))).toEqual(events(before));
  await aRun(fresh.send, 'run-1').answer(first);
});

it.each(engines)('of an erased run on %s lets no search find its generated titles', async engine => {
  const source = await serviceOn(engine);
  for (const run_id of ['kept', 'doomed']) {
    await aRun(source.send, run_id).finish('builder');
    expect((await aRun(source.send, run_id).close()).status).toBe(200);
  }
  await expect.poll(async () => (await source.send('DELETE', '/runs/doomed')).status).toBe(204);
  const exports = await Promise.all(['kept', 'doomed'].map(run_id => exportOf(source, run_id)));
  const config = { ROLE: 'all', POLL_INTERVAL_MS: '20' };
  const { send } = await serviceOn(engine, { database: await imported(engine, await exportFiles(exports)), config });
  const found = async (run_id: string) =>
    (await send('GET', `/threads?q=control&run_id=${run_id}`)).body.items.map(({ kind }: { kind: string }) => kind);
  // The newest thread is indexed first.
  await expect.poll(() => found('kept'), { timeout: 20_000 }).toEqual(['control']);
  expect(await found('doomed')).toEqual([]);
});

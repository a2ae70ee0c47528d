import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { ownLists } from '../helpers/lists.ts';
import { expectProblem } from '../helpers/problems.ts';
import { aRun } from '../helpers/runs.ts';

describe.each(engines)('the list of runs on %s', engine => {
  let service: TestApp;
  beforeEach(async () => {
    service = await startApp(engine);
  });
  afterEach(() => service.close());

  const runOf = (run_id: string) => aRun(service.send, run_id);
  const page = async (query = '') => (await service.send('GET', `/runs${query}`)).body;
  const ids = async (query = ''): Promise<string[]> =>
    (await page(query)).items.map((item: { run_id: string }) => item.run_id);
  /** All pages of a list, as ids. */
  const walk = async (query: string, limit: number, between?: () => Promise<void>) => {
    const pages = await ownLists(service.send).walk(`/runs?${query}`, limit, between);
    return pages.flat().map(({ run_id }) => run_id);
  };

  it('has the newest run first, whatever happens in the older ones', async () => {
    expect(await page()).toEqual({ items: [], next_cursor: null });
    // Neither the names nor who begins a run decides.
    await runOf('b').brief({ title: 'First' });
    await runOf('c').signal('completion', 'builder');
    await runOf('a').ask('builder');
    await runOf('B').brief();
    const order = ['B', 'a', 'c', 'b'];
    expect(await ids()).toEqual(order);
    await runOf('b').signal('guidance_request', 'builder');
    await runOf('c').brief({ title: 'Later' });
    expect(await ids()).toEqual(order);
    // What is refused begins no run.
    expect((await runOf('d').signal('guidance_answer', 'builder')).status).toBe(409);
    expect((await runOf('d').brief({ agents: 1 })).status).toBe(400);
    expect(await ids()).toEqual(order);
  });

  it('can be narrowed to a status, a ticket, or both', async () => {
    for (const ticket of ['T-1', 'T-2']) {
      const begun = (status: string) => runOf(`${status} ${ticket}`);
      await begun('running').signal('completion', 'builder', { ticket });
      await begun('awaiting').brief({ ticket });
      await begun('awaiting').ask('builder');
      await begun('completed').brief({ ticket });
      await begun('completed').finish('builder');
      await begun('closed').finish('builder');
      await begun('closed').brief({ ticket });
      await begun('closed').close();
    }
    await runOf('running without').brief();
    expect(await ids('?status=running')).toEqual(['running without', 'running T-2', 'running T-1']);
    expect(await ids('?status=awaiting_guidance')).toEqual(['awaiting T-2', 'awaiting T-1']);
    expect(await ids('?status=completed')).toEqual(['completed T-2', 'completed T-1']);
    expect(await ids('?status=closed')).toEqual(['closed T-2', 'closed T-1']);
    expect(await ids('?ticket=T-1')).toEqual(['closed T-1', 'completed T-1', 'awaiting T-1', 'running T-1']);
    expect(await ids('?ticket=%20T-1&status=completed')).toEqual(['completed T-1']);
    expect(await ids('?ticket=t-1')).toEqual([]);
    // A run moves between the lists with its brief and with its questions.
    await runOf('running without').brief({ ticket: 'T-1' });
    await runOf('running T-1').ask('builder');
    expect(await ids('?ticket=T-1&status=running')).toEqual(['running without']);
    expect(await ids('?ticket=T-1&status=awaiting_guidance')).toEqual(['awaiting T-1', 'running T-1']);
  });

  it('refuses a query that it does not know, and cursors that are not its own', async () => {
    for (const query of [
      'status=open',
      'status=',
      'ticket=%20',
      'title=Move',
      'limit=0',
      'limit=201',
      'limit=x',
      'limit=1e400',
    ]) {
      expectProblem(await service.send('GET', `/runs?${query}`), 'VALIDATION_FAILED');
    }
    for (const agent of ['a', 'b']) await runOf(agent).signal('completion', agent);
    const foreign = (await service.send('GET', '/events?limit=1')).body.next_cursor;
    const own = (await page('?limit=1')).next_cursor;
    const forged = (...parts: unknown[]) => Buffer.from(JSON.stringify(parts)).toString('base64url');
    for (const cursor of [foreign, `${own}x`, 'x', forged('runs', '1'), forged('runs'), forged('runs', 1.5)]) {
      expectProblem(await service.send('GET', `/runs?cursor=${cursor}`), 'INVALID_CURSOR');
    }
    expect(await ids(`?cursor=${own}`)).toEqual(['a']);
  });

  it('comes in pages of any size that make up the whole', async () => {
    const all = Array.from({ length: 11 }, (_, n) => `run ${10 - n}`);
    for (const id of all.toReversed()) await runOf(id).brief({ ticket: 'T-1' });
    for (const limit of [1, 2, 5, 10, 11, 200]) {
      for (const query of ['', 'ticket=T-1', 'status=running', 'status=running&ticket=T-1']) {
        expect(await walk(query, limit)).toEqual(all);
      }
    }
  });

  it('neither skips nor repeats a run while runs change between the pages', async () => {
    const calm = Array.from({ length: 12 }, (_, n) => `calm ${n}`);
    const restless = Array.from({ length: 12 }, (_, n) => `restless ${n}`);
    for (const n of calm.keys()) {
      await runOf(`calm ${n}`).brief({ ticket: 'T-1' });
      await runOf(`restless ${n}`).finish('builder');
      await runOf(`restless ${n}`).brief({ ticket: 'T-1' });
    }
    const changes = [
      (run_id: string) => runOf(run_id).ask('builder'),
      (run_id: string) => runOf(run_id).close(),
      (run_id: string) => runOf(run_id).brief({ title: 'Without a ticket' }),
      (run_id: string) => runOf(`after ${run_id}`).brief({ ticket: 'T-1' }),
    ];
    let turns = 0;
    const between = async () => {
      for (const [index, change] of changes.entries()) {
        await change(restless[(turns * changes.length + index) % restless.length] as string);
      }
      turns += 1;
    };
    const newestFirst = calm.toReversed();
    // The whole list: everything that was there is there once, in its place, and what is new comes before the first page.
    const before = await ids();
    expect(await walk('', 3, between)).toEqual(before);
    // A narrowed list: whoever fits all the time.
    for (const query of ['ticket=T-1', 'status=running', 'ticket=T-1&status=running']) {
      const walked = await walk(query, 3, between);
      expect(new Set(walked).size).toBe(walked.length);
      expect(walked.filter(run_id => calm.includes(String(run_id)))).toEqual(newestFirst);
    }
    expect(turns).toBeGreaterThan(10);
  });
});

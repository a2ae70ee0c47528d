import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Event } from '../../src/events/schemas.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { allItems } from '../helpers/pages.ts';
import { signal } from '../helpers/signals.ts';

const names = ['run_id', 'thread_id', 'agent_name', 'event_type'] as const;

describe.each(engines)('the filters of the event log on %s', engine => {
  let service: TestApp;
  let all: Event[];
  beforeAll(async () => {
    service = await startApp(engine);
    for (const run_id of ['r1', 'r2']) {
      for (const agent_name of ['a', 'b']) {
        for (const type of ['guidance_request', 'guidance_answer', 'completion']) {
          await service.send('POST', '/control-signals', signal(type, { run_id, agent_name }));
        }
      }
      const discussion = { title: 'T', body: 'B', run_id, agent_name: 'a', actor: { type: 'agent', name: 'a' } };
      await service.send('POST', '/threads', discussion);
      await service.send('PUT', `/runs/${run_id}`, { title: 'T' });
    }
    all = await allItems(path => service.send('GET', path), '/events?');
  });
  afterAll(() => service.close());

  it('return what matches all of them, whatever they are combined with', async () => {
    const value = (name: (typeof names)[number]) =>
      fc.option(fc.constantFrom(...new Set(all.map(event => event[name] ?? 'none')), 'zzz'), { nil: undefined });
    const filters = fc.record({
      run_id: value('run_id'),
      thread_id: value('thread_id'),
      agent_name: value('agent_name'),
      event_type: value('event_type'),
    });
    await fc.assert(
      fc.asyncProperty(filters, async filter => {
        const given = names.flatMap((name): [string, string][] => {
          const wanted = filter[name];
          return wanted === undefined ? [] : [[name, wanted]];
        });
        const found = await allItems(path => service.send('GET', path), `/events?${new URLSearchParams(given)}`);
        expect(found).toEqual(all.filter(event => given.every(([name, wanted]) => event[name as 'run_id'] === wanted)));
        const newest = new URLSearchParams([...given, ['order', 'newest']]);
        expect(await allItems(path => service.send('GET', path), `/events?${newest}`)).toEqual(found.toReversed());
      }),
      { numRuns: 60 },
    );
  });
});

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';

describe.each(engines)("a viewer's marks on %s", engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const open = async (priority: string): Promise<string> => {
    const thread = { title: 'x', body: 'y', actor: { type: 'agent', name: 'builder' }, priority };
    return (await service.send('POST', '/threads', thread)).body.thread_id;
  };
  const mark = (id: string) => service.send('PUT', `/threads/${id}/reads/human:ana`, {});
  const isUnseen = async (id: string): Promise<boolean> =>
    (await service.send('GET', `/threads/${id}?viewer=human:ana`)).body.unseen;

  it('in two priorities leave unseen what comes after them', async () => {
    const priorities = ['urgent', 'high', 'normal', 'low'];
    for (const priority of priorities) await mark(await open(priority));
    const later = await Promise.all(priorities.map(open));
    expect(await Promise.all(later.map(isUnseen))).toEqual([true, true, true, true]);
    const { items } = (await service.send('GET', '/threads?queue=unseen&viewer=human:ana')).body;
    expect(items.map((item: { thread_id: string }) => item.thread_id).sort()).toEqual(later.sort());
  });
});

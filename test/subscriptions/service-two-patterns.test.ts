import { expect, it, onTestFinished } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { scratchDatabase } from '../helpers/engines.ts';

// On SQLite no two processes serve one database.
it('gives a subscription all that its new patterns want while a process with the old ones still runs', async () => {
  const database = await scratchDatabase('postgres');
  const given: string[] = [];
  const start = async (ROLE: 'all' | 'http', topics: string[]) => {
    const handlers = [
      { name: 'h', topics, transactional: false, handle: ({ topic }: { topic: string }) => void given.push(topic) },
    ];
    const service = await startApp('postgres', {
      database,
      overrides: { handlers },
      config: { ROLE, POLL_INTERVAL_MS: '60000' },
    });
    onTestFinished(service.close);
    return service;
  };
  const older = await start('all', ['forum.events.thread.opened']);
  const newer = await start('http', ['forum.events.**']);
  // Only the older process looks through the log here.
  const thread = { title: 'x', body: 'y', actor: { type: 'human', name: 'ana' } };
  for (const service of [older, newer, older]) await service.send('POST', '/threads', thread);
  const both = ['forum.events.thread.opened', 'forum.events.post.added'];
  await expect.poll(() => given.toSorted(), { timeout: 10_000 }).toEqual([...both, ...both, ...both].toSorted());
});

import { describe, expect, it, onTestFinished } from 'vitest';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { sendAll } from './closed-loop.ts';
import { newLoad } from './load.ts';
import { Processes } from './processes.ts';

describe.each(engines)('on %s', engine => {
  it('a service counts the statements, commits and pages of a signal', async () => {
    const { path } = await forThisTest(scratchFolder());
    const { url: databaseUrl } = await forThisTest(scratchDatabase(engine));
    const processes = new Processes(path, 'warn');
    onTestFinished(() => processes.close());
    const env = { ROLE: 'http' };
    const service = await processes.service({ name: 'counts', databaseUrl, handler: 'none', counts: true, env });
    const [next] = newLoad(1, 'completions') as [() => string];
    // The first one also makes the thread of its agent, and lets statements be prepared.
    await sendAll(service.port, 1, [next()]);
    const before = await service.counts();
    await sendAll(
      service.port,
      1,
      Array.from({ length: 5 }, () => next()),
    );
    const after = await service.counts();
    expect(after.commits - before.commits).toBeGreaterThanOrEqual(5);
    expect(after.statements - before.statements).toBeGreaterThan(25);
    if (engine === 'sqlite') expect(after.pages - before.pages).toBeGreaterThan(25);
    else expect(after.pages).toBe(0);
  });
});

import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Forumbus } from '../../src/client/index.ts';
import { cpuOf } from '../bench/usage.ts';
import { WaitingAgents } from '../bench/waiting-agents.ts';
import { forThisTest, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';

/* The small form of `npm run bench -- --only=g`. */

const COUNT = 50;
/** Of one wait. Seconds. */
const LIMIT = 1;
const ROUNDS = 4;
/** Many times what a request takes on a quiet machine. Seconds of CPU. */
const CPU_OF_A_REQUEST = 0.02;

it('agents that wait for hours send one request in each wait, and all get their answers', async () => {
  const { path } = await forThisTest(scratchFolder());
  const service = await startService({ DATABASE_URL: `sqlite:${join(path, 'forumbus.db')}` });
  const url = await service.listening();
  const agents = new WaitingAgents({ url, run_id: 'run-1', from: 0, count: COUNT });
  agents.limit = LIMIT;
  await agents.ask();
  const [began, cpu] = [performance.now(), process.platform === 'linux' ? cpuOf(service.pid) : 0];
  const waiting = agents.wait();
  await expect.poll(() => agents.figures.requests, { timeout: 60_000 }).toBeGreaterThan(COUNT * ROUNDS);
  const { requests } = agents.figures;
  const seconds = (performance.now() - began) / 1000;
  expect(requests).toBeLessThanOrEqual(COUNT * Math.ceil(seconds / LIMIT));
  if (process.platform === 'linux') expect(cpuOf(service.pid) - cpu).toBeLessThan(requests * CPU_OF_A_REQUEST);
  expect(agents.figures.answered).toBe(0);

  const person = new Forumbus({ url });
  const { items } = await person.questions({ state: 'open', limit: 200 });
  expect(items).toHaveLength(COUNT);
  await Promise.all(items.map(({ question_id }) => person.answer(question_id, { answer: 'eu-west-1' })));
  await waiting;
  expect(agents.figures.answered).toBe(COUNT);
  expect((await person.questions({ limit: 200 })).items).toHaveLength(COUNT);
});

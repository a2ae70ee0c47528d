import { StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { describe, expect, it } from 'vitest';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { called, clientOf, connected } from '../helpers/mcp.ts';
import { freePort } from '../helpers/ports.ts';
import { fresh } from '../helpers/posts.ts';
import { forThisTest, type ServiceProcess, startService } from '../helpers/process.ts';

const ROUNDS = 10;

const questionsOf = async (service: ServiceProcess, run: string) =>
  (await service.send('GET', `/questions?run_id=${run}`)).body.items;

describe.each(engines)('calls that are cut off on %s', engine => {
  it('ask once, however often a client breaks off in the middle and repeats', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    const service = await startService({ DATABASE_URL });
    const run = fresh();
    const url = `${await service.listening()}/mcp?run=${run}&agent=builder`;
    for (let round = 0; round < ROUNDS; round += 1) {
      const client = clientOf(round % 2 === 0 ? '2026-07-28' : '2025-11-25');
      await client.connect(new StreamableHTTPClientTransport(new URL(url)));
      const begun = Promise.withResolvers<void>();
      const asking = called(client, 'ask', { question: 'Now?' }, { onprogress: () => begun.resolve() });
      asking.catch(() => {});
      // Half of them break off before the question can be stored, the others while they wait.
      if (round % 4 >= 2) await begun.promise;
      await client.close();
      await Promise.allSettled([asking]);
    }
    const last = await connected(url, '2026-07-28');
    const begun = Promise.withResolvers<void>();
    const asking = called(last, 'ask', { question: 'Now?' }, { onprogress: () => begun.resolve() });
    await begun.promise;
    const [question, ...more] = await questionsOf(service, run);
    expect(more).toEqual([]);
    expect(question.acknowledged_at).toBeNull();
    await service.send('PUT', `/questions/${question.question_id}/answer`, { answer: 'Now.' });
    expect((await asking).text).toBe('Answered by operator: Now.');
    await expect.poll(async () => (await questionsOf(service, run))[0].acknowledged_at).not.toBeNull();
  });

  it('get the answer once, though the service is killed while it holds them', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    const run = fresh();
    const PORT = String(await freePort());
    const url = `http://127.0.0.1:${PORT}/mcp?run=${run}&agent=builder`;
    let answered = '';
    for (const round of [1, 2, 3, 4]) {
      const service = await startService({ DATABASE_URL, PORT });
      const client = await connected(url, round % 2 === 0 ? '2026-07-28' : '2025-11-25');
      const begun = Promise.withResolvers<void>();
      const asking = called(client, 'ask', { question: 'Now?' }, { onprogress: () => begun.resolve() });
      asking.catch(() => {});
      await begun.promise;
      const [{ question_id }, ...more] = await questionsOf(service, run);
      expect(more).toEqual([]);
      if (round < 4) {
        service.kill('SIGKILL');
        await service.exited;
        await client.close();
        continue;
      }
      await service.send('PUT', `/questions/${question_id}/answer`, { answer: 'Now.' });
      answered = (await asking).text;
      const { body } = await service.send('GET', `/events?run_id=${run}&event_type=forum.question.answered`);
      expect(body.items).toHaveLength(1);
    }
    expect(answered).toBe('Answered by operator: Now.');
  });
});

import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TestApp } from '../helpers/app.ts';
import { dump } from '../helpers/database.ts';
import { emptyDatabase, engines } from '../helpers/engines.ts';
import { fileOf } from '../helpers/files.ts';
import { MARK, markedRun, marksIn, projectionFaults } from '../helpers/marked-run.ts';
import { forThisTest, runCommand, startService } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

const OTHERS = 1000;
/** Posts of the run that is erased, so that its erasure takes many transactions. */
const POSTS = 600;
const CLIENTS = 20;
const ana = { type: 'operator', name: 'ana' };

/** The files of a database, and beside it, in which the mark stands. */
async function filesWithMarks(url: string): Promise<string[]> {
  const folder = dirname(fileOf(url));
  const found: string[] = [];
  for (const name of await readdir(folder)) {
    if ((await readFile(join(folder, name))).toString('latin1').toLowerCase().includes(MARK)) found.push(name);
  }
  return found;
}

/** The rows of all tables but those that are about the run; search tables have their words in other bytes after each change. */
async function rowsOfOthers(url: string): Promise<Record<string, string[]>> {
  const left = Object.entries(await dump(url)).filter(
    ([name]) =>
      !/^(search_|erasures|counts|deliveries|topics|idempotency|messages|subscription|question_approvals|sqlite_)/.test(
        name,
      ),
  );
  return Object.fromEntries(left.map(([name, rows]) => [name, rows.filter(row => !row.includes('doomed'))]));
}

/** Does things at once, a few at a time. */
async function inParallel(count: number, act: (number: number) => Promise<void>): Promise<void> {
  let next = 0;
  const client = async () => {
    while (next < count) await act(next++);
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

describe.each(engines)('a run that is erased beside a thousand others on %s', engine => {
  it('goes on after kill -9, and leaves no byte of its texts', { timeout: 400_000 }, async () => {
    const { url } = await forThisTest(emptyDatabase(engine));
    const env = { DATABASE_URL: url, POLL_INTERVAL_MS: '50' };
    const service = await startService(env);
    const send: TestApp['send'] = (...request) => service.send(...request);
    await inParallel(OTHERS, async number => {
      const type = number % 2 === 0 ? 'completion' : 'guidance_request';
      expect((await send('POST', '/control-signals', signal(type, { run_id: `other-${number}` }))).status).toBe(201);
    });
    const { discussion } = await markedRun(send, 'doomed');
    await inParallel(POSTS, async number => {
      const post = { body: `${MARK} and further words, such as ${number}`, actor: ana };
      expect((await send('POST', `/threads/${discussion}/posts`, post)).status).toBe(201);
    });
    expect(Object.keys(await marksIn(url))).toContain('events');
    if (engine === 'sqlite') expect(await filesWithMarks(url)).not.toEqual([]);
    const before = await rowsOfOthers(url);

    const asked = send('DELETE', '/runs/doomed').catch(() => undefined);
    const left = () => sqlBeside(url, 'select phase, at, post from erasures');
    await expect.poll(async () => Number((await left())[0]?.post), { timeout: 20_000, interval: 1 }).toBeGreaterThan(0);
    service.kill('SIGKILL');
    await Promise.all([service.exited, asked]);
    expect(await left()).toHaveLength(1);
    expect(Object.keys(await marksIn(url))).toContain('events');

    const next = await startService(env);
    await expect.poll(left, { timeout: 60_000 }).toEqual([]);
    expect(await marksIn(url)).toEqual({});
    expect((await next.send('GET', `/threads?q=${MARK}`)).body.items).toEqual([]);
    expect((await next.send('DELETE', '/runs/doomed')).status).toBe(204);
    expect(await rowsOfOthers(url)).toEqual(before);
    expect(await projectionFaults(url)).toEqual([]);
    next.kill('SIGTERM');
    expect((await next.exited).code).toBe(0);
    if (engine === 'postgres') return;

    const command = await runCommand('compact', [], { DATABASE_URL: url });
    expect(command.code, command.output).toBe(0);
    expect(command.logs).toEqual([
      expect.objectContaining({ msg: 'compacted', bytes_before: expect.any(Number), bytes_after: expect.any(Number) }),
    ]);
    expect(await filesWithMarks(url)).toEqual([]);
    const last = await startService(env);
    expect(await rowsOfOthers(url)).toEqual(before);
    expect((await last.send('GET', '/questions?q=region&limit=200')).body.items).toHaveLength(200);
    const refused = await runCommand('compact', [], { DATABASE_URL: url });
    expect(refused.code).toBe(1);
    expect(refused.logs[0]?.msg).toMatch(/in use by another Forumbus process/);
  });
});

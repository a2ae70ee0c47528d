import { expect, onTestFinished, vi } from 'vitest';
import { handlersFolder } from './handlers.ts';
import { expectStored, expectUnavailable, Load } from './load.ts';
import { type ServiceProcess, send, startService } from './process.ts';
import { signal } from './signals.ts';
import { sqlBeside } from './sql.ts';
import { openStream, type StreamReader } from './stream.ts';

/* A PostgreSQL server that goes away under load, and what callers may expect of the service then. */

/** What nobody waits longer for. Milliseconds. */
const BOUND_MS = 10_000;
/** What a slow machine adds to that: the service says "about ten seconds". */
const SLACK_MS = 3000;
const within = { timeout: 20_000, interval: 50 };
const HANDLER = `export const topic = 'forum.events.**';\nexport function handle(): void {}\n`;

/** Starts a service with a handler on a PostgreSQL server. */
export async function startOn(url: string, ROLE = 'all'): Promise<ServiceProcess> {
  const HANDLERS_DIR = await handlersFolder({ 'x.ts': HANDLER });
  return startService({ DATABASE_URL: url, POLL_INTERVAL_MS: '100', LEASE_MS: '3000', HANDLERS_DIR, ROLE });
}

const healthOf = async (origin: string) => (await send(origin, 'GET', '/bus/health')).body;

/** Asks for the health all the time, and never waits long for it. */
export async function until(origin: string, status: string): Promise<{ reasons: { code: string; detail: string }[] }> {
  const begun = performance.now();
  for (;;) {
    const asked = performance.now();
    const health = await healthOf(origin);
    expect(performance.now() - asked).toBeLessThan(3000);
    if (health.status === status) return health;
    if (performance.now() - begun > within.timeout) throw new Error(JSON.stringify(health));
    await new Promise(setImmediate);
  }
}

/** Follows the log through every break, as a client does, until it has seen an event of this type. */
async function follow(origin: string, last: string): Promise<number[]> {
  const seen: number[] = [];
  let lastId = '0';
  for (;;) {
    let reader: StreamReader;
    try {
      reader = await openStream(origin, '', lastId);
      for (;;) {
        const event = await reader.event();
        lastId = String(event.sequence);
        seen.push(event.sequence);
        if (event.event_type === last) return seen;
      }
    } catch {
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  }
}

/** Waits for an answer through every break. */
async function waitForAnswer(origin: string, id: string): Promise<unknown> {
  for (;;) {
    const answer = await send(origin, 'GET', `/questions/${id}?wait=20`);
    if (answer.status === 200 && answer.body.state === 'answered') return answer.body.answer;
    if (answer.status !== 200) expectUnavailable(answer);
  }
}

/** Breaks the server under load, mends it, and looks whether all is as it should be. */
export async function survives(
  url: string,
  break_: () => Promise<void>,
  mend: () => Promise<void>,
  code: string,
): Promise<void> {
  let broken = false;
  onTestFinished(() => (broken ? mend() : undefined));
  const service = await startOn(url);
  const origin = await service.listening();
  const asking = signal('guidance_request', { run_id: 'asking' });
  const { question_id } = (await service.send('POST', '/control-signals', asking)).body.question;
  const answered = waitForAnswer(origin, question_id);
  const followed = follow(origin, 'forum.question.answered');
  const load = new Load(origin);
  onTestFinished(() => load.stop().catch(() => {}));
  await vi.waitUntil(() => load.acknowledged.size > 20, within);
  await until(origin, 'ok');

  await break_();
  broken = true;
  const brokenAt = performance.now();
  const { reasons } = await until(origin, 'down');
  expect(performance.now() - brokenAt).toBeLessThan(BOUND_MS);
  expect(reasons.map(reason => reason.code)).toContain(code);
  expect(JSON.stringify(reasons)).not.toMatch(/127\.0\.0\.1|postgres:|password|ECONN/);
  // One that comes while nothing is to be had waits no longer than those that were under way.
  expectUnavailable(await service.send('GET', '/runs'));
  await vi.waitUntil(() => load.open.size > 8, within);
  await mend();
  broken = false;

  const before = load.acknowledged.size;
  await vi.waitUntil(() => load.acknowledged.size > before + 8, within);
  await load.stop();
  expect(load.slowest).toBeLessThan(BOUND_MS + SLACK_MS);
  await until(origin, 'ok');
  await expectStored(service, load);
  await load.repeat();
  await expectStored(service, load);

  await service.send('PUT', `/questions/${question_id}/answer`, { answer: 'Europe.' });
  expect(await answered).toBe('Europe.');
  const { items } = (await service.send('GET', '/events?limit=1&event_type=forum.question.answered')).body;
  const seen = await followed;
  expect(seen.at(-1)).toBe(items[0].sequence);
  expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
  const stored = await sqlBeside(url, `select sequence from events where sequence <= ${items[0].sequence}`);
  expect(seen).toHaveLength(stored.length);
  await vi.waitFor(async () => {
    const { by_status } = (await service.send('GET', '/outbox/stats')).body;
    expect(by_status).toMatchObject({ pending: 0, processing: 0, failed: 0, dead: 0 });
  }, within);
  // Its standing connection is back: it hears of others, and they know that it is alive.
  const standing = `select 1 from pg_locks l join pg_stat_activity a using (pid)
    where a.application_name = 'forumbus standing' and l.locktype = 'advisory' and l.granted`;
  await vi.waitFor(async () => expect(await sqlBeside(url, standing)).toHaveLength(1), within);
  expect(service.logs.filter(({ level }) => level >= 60)).toEqual([]);
  service.kill('SIGTERM');
  expect(await service.exited).toEqual({ code: 0, signal: null });
}

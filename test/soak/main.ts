import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createToken, type LimitedService, startLimited } from './service.ts';

/*
 * The service with few file descriptors and little memory, three hostile agents, and one honest agent with its operator.
 * Exits with 0 if the operator was served in time, memory stayed bounded and nothing acknowledged was lost.
 */

const LIMITS = { descriptors: 256, heapMiB: 512 };
const BOUNDS = { p99Ms: 250, residentMiB: 300 };
const HOSTILE = fileURLToPath(new URL('hostile.ts', import.meta.url));
/** The pause between two acts of the operator. Milliseconds. */
const PAUSE_MS = 100;

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } });
const minutes = Number(values.minutes);
if (!(minutes > 0 && minutes <= 60)) {
  process.stderr.write('npm run soak -- [--minutes 10]\n');
  process.exit(2);
}

const folder = await mkdtemp(join(tmpdir(), 'forumbus-soak-'));
const env = { DATABASE_URL: `sqlite:${join(folder, 'forumbus.db')}`, PORT: '0', LOG_LEVEL: 'info' };
let service: LimitedService | undefined;
const hostile: ChildProcess[] = [];
let holds = false;
try {
  holds = await soak();
} finally {
  for (const child of hostile) child.kill('SIGKILL');
  await service?.stop();
  await rm(folder, { recursive: true, force: true });
}
process.exit(holds ? 0 : 1);

async function soak(): Promise<boolean> {
  const operator = await createToken(env, '--role', 'operator', '--actor', 'operator:ana');
  const agent = await createToken(env, '--role', 'agent', '--runs', 'honest', '--agents', 'builder');
  const tokens = await Promise.all(
    [1, 2, 3].map(n => createToken(env, '--role', 'agent', '--runs', `hostile-${n}`, '--agents', '*')),
  );
  service = await startLimited(env, LIMITS);
  const { origin } = service;
  for (const [index, token] of tokens.entries()) {
    hostile.push(fork(HOSTILE, [origin, token, `hostile-${index + 1}`, 'mallory'], { stdio: 'inherit' }));
  }
  const figures = { latencies: [] as number[], failed: [] as string[], resident: 0, acknowledged: new Set<string>() };
  const send = client(origin, operator, figures);
  const sendAsAgent = client(origin, agent, figures);
  const end = performance.now() + minutes * 60_000;
  for (let n = 1; performance.now() < end && !service.ended(); n += 1) {
    const fields = { control_type: 'guidance_request', question: `Question ${n}?` };
    const asked = await sendAsAgent('POST', '/control-signals', signal(fields), `q${n}`);
    const question = asked?.question?.question_id;
    await send('GET', '/questions?state=open&run_id=honest');
    if (question) await send('PUT', `/questions/${question}/answer`, { answer: 'This one.' });
    await send('GET', '/runs/honest');
    const done = await sendAsAgent('POST', '/control-signals', signal({ control_type: 'completion' }), `c${n}`);
    for (const stored of [asked, done]) if (stored?.signal) figures.acknowledged.add(stored.signal.signal_id);
    figures.resident = Math.max(figures.resident, await service.residentBytes());
    if (n % 100 === 0)
      say(`${n} rounds, p99 ${Math.round(quantile(figures.latencies, 0.99))} ms, ${mib(figures.resident)} MiB`);
    await delay(PAUSE_MS);
  }
  for (const child of hostile) child.kill('SIGKILL');
  return judge(figures, service.ended(), service.ended() ? [] : await lostSignals(send, figures.acknowledged));
}

interface Figures {
  latencies: number[];
  failed: string[];
  /** The greatest resident memory. Bytes. */
  resident: number;
  /** Ids of signals that were answered with 201. */
  acknowledged: Set<string>;
}

function judge({ latencies, failed, resident, acknowledged }: Figures, ended: boolean, lost: string[]): boolean {
  const p99 = quantile(latencies, 0.99);
  const proofs: [holds: boolean, says: string][] = [
    [!ended, 'the service runs to the end'],
    [
      failed.length === 0,
      `every honest request succeeds (${latencies.length}; ${failed.length} failed: ${failed.slice(0, 3)})`,
    ],
    [p99 < BOUNDS.p99Ms, `p99 of honest requests is ${Math.round(p99)} ms (below ${BOUNDS.p99Ms})`],
    [
      mib(resident) < BOUNDS.residentMiB,
      `resident memory is ${mib(resident)} MiB at most (below ${BOUNDS.residentMiB})`,
    ],
    [!ended && lost.length === 0, `every acknowledged signal is stored (${acknowledged.size}, ${lost.length} lost)`],
  ];
  for (const [holds, says] of proofs) say(`${holds ? 'ok    ' : 'FAULT '} ${says}`);
  return proofs.every(([holds]) => holds);
}

async function lostSignals(send: ReturnType<typeof client>, acknowledged: Set<string>): Promise<string[]> {
  const lost = new Set(acknowledged);
  for (let after = 0; ; ) {
    const page = await send('GET', `/events?run_id=honest&event_type=forum.control.signal&limit=200&after=${after}`);
    for (const { payload, sequence } of page?.items ?? []) {
      lost.delete(payload.signal_id);
      after = sequence;
    }
    if (!page?.next_cursor) return [...lost];
  }
}

function signal(fields: object) {
  return { schema_version: 1, run_id: 'honest', agent_name: 'builder', ...fields };
}

/** Sends as the bearer of a token, and notes how long it took and what failed. */
function client(origin: string, token: string, { latencies, failed }: Figures) {
  // biome-ignore lint/suspicious/noExplicitAny: whatever the service answers
  return async (method: string, path: string, body?: unknown, key?: string): Promise<any> => {
    const began = performance.now();
    try {
      const response = await fetch(`${origin}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...(key && { 'idempotency-key': key }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(10_000),
      });
      const answer = await response.json();
      if (!response.ok) failed.push(`${method} ${path} ${response.status} ${(answer as { code?: string }).code}`);
      return answer;
    } catch (error) {
      failed.push(`${method} ${path} ${error}`);
      return undefined;
    } finally {
      latencies.push(performance.now() - began);
    }
  };
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? 0;
}

function mib(bytes: number): number {
  return Math.round(bytes / 1_048_576);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

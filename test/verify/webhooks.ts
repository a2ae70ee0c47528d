import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Forumbus } from '../../src/client/index.ts';
import { freePort } from '../helpers/ports.ts';
import type { Options } from './options.ts';
import type { Proof } from './proof.ts';
import { seeded } from './random.ts';
import type { Progress } from './report.ts';
import { Restarting } from './restarting.ts';
import type { Store } from './store.ts';
import { delaysOf, type Given, proveStorm, quantile, runOf, type Storm, wantedBy } from './webhook-proofs.ts';

/** Agents, each with a thread: an event of one waits for those before it. */
const AGENTS = 200;
/** How long the last events may take, and a restart. Milliseconds. */
const PATIENCE_MS = 120_000;
/** A kill comes at most so long after a report. Milliseconds. */
const KILL_WITHIN_MS = 300;

/**
 * Sends each event to many webhooks, a third of which fail, are slow, hang, are gone or do not listen, and compares the
 * others with what they got before there were such. Then it kills the service in the middle of that.
 */
export async function webhookStorm(
  { endpoints, events, runs, rate, kills, seed, p99 }: Options,
  store: Store,
  folder: string,
  progress: Progress,
  interrupted: AbortSignal,
): Promise<{ proofs: Proof[]; table: Record<string, string | number> }> {
  const random = seeded(seed);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const settings = { PORT: String(port), DATABASE_URL: store.url, WEBHOOK_ALLOW_CIDRS: '127.0.0.0/8' };
  const service = new Restarting({ ...settings, RATE_LIMIT_PER_MINUTE: '0' }, join(folder, 'service.log'));
  const file = join(folder, 'given.jsonl');
  const receiver = fork(fileURLToPath(new URL('endpoints-process.ts', import.meta.url)), [file]);
  try {
    const [receiverPort] = await once(receiver, 'message');
    const origin = `http://127.0.0.1:${receiverPort}`;
    const client = new Forumbus({ url, retry_seconds: PATIENCE_MS / 1000 });
    const good = Array.from({ length: Math.ceil((endpoints * 2) / 3) }, (_, n) => `/good/${n}`);
    const kinds = ['fail', 'slow', 'hang', 'gone', 'refuse'];
    const bad = Array.from({ length: endpoints - good.length }, (_, n) => `/${kinds[n % kinds.length]}/${n}`);
    const nobody = `http://127.0.0.1:${await freePort()}`;
    await client.runs.list();
    for (const path of good) await create(url, path, origin + path, runs);

    let sent = 0;
    const begun = performance.now();
    /** Sends so many reports at the given rate, and waits until the good endpoints have got them. */
    const phase = async (count: number, title: string, before = async (_report: number) => {}) => {
      const from = performance.now();
      const last = sent + count;
      const open = new Set<Promise<unknown>>();
      while (sent < last) {
        interrupted.throwIfAborted();
        progress.show(sent / events, `${title}: report ${sent}`);
        const ahead = ((sent + count - last) * 1000) / rate - (performance.now() - from);
        if (ahead > 0) await delay(ahead);
        await before(sent);
        const sending = report(client, sent++, runs).finally(() => open.delete(sending));
        open.add(sending);
      }
      await Promise.all(open);
      await arrived(origin, good, path => wantedBy(path, sent, runs).length, interrupted);
    };
    const [calm, killed] = [Math.ceil(events * 0.15), kills === 0 ? 0 : Math.ceil(events * 0.1)];
    const reports = { calm, stormy: events - calm - killed, killed };
    await phase(reports.calm, 'good endpoints only');
    for (const path of bad) await create(url, path, (path.startsWith('/refuse') ? nobody : origin) + path, runs);
    const load = process.cpuUsage();
    await phase(reports.stormy, 'all endpoints');
    const own = process.cpuUsage(load);
    const killAt = new Set(
      Array.from({ length: kills }, (_, n) => calm + reports.stormy + Math.floor(((n + 1) * killed) / (kills + 1))),
    );
    await phase(killed, `${kills} kills`, async next => {
      if (!killAt.has(next)) return;
      // What is killed is a service that works, not one that starts.
      await client.runs.list();
      await delay(random.below(KILL_WITHIN_MS));
      service.kill();
    });
    const seconds = (performance.now() - begun) / 1000;

    receiver.send('end');
    await once(receiver, 'exit');
    const storm: Storm = { good, given: readGiven(await readFile(file, 'utf8')), reports, runs, kills, p99 };
    const delays = delaysOf(storm);
    const spread = (sorted: number[]) =>
      `p50 ${quantile(sorted, 0.5)} ms, p99 ${quantile(sorted, 0.99)} ms, max ${sorted.at(-1)} ms`;
    const firsts = Object.values(delays).flat().length;
    const toGood = storm.given.filter(({ path }) => path.startsWith('/good/')).length;
    return {
      proofs: proveStorm(storm),
      table: {
        'endpoints, of which bad': `${endpoints}, ${bad.length}`,
        'events, of a second, and their runs': `${events}, ${rate}, ${runs}`,
        'deliveries of good endpoints': firsts,
        '  repeated after kills': toGood - firsts,
        'requests of bad endpoints': storm.given.length - toGood,
        'to arrival, good endpoints only': spread(delays.calm),
        'to arrival, among bad ones': spread(delays.stormy),
        'to arrival, while killed': spread(delays.killed),
        'seconds, and deliveries of a second': `${Math.round(seconds)}, ${Math.round(firsts / seconds)}`,
        'CPU of this process among bad ones': `${Math.round((own.user + own.system) / 1e6)} s`,
      },
    };
  } finally {
    await service.end();
    if (receiver.connected) receiver.disconnect();
  }
}

/** With several runs each webhook follows one of them, as {@link wantedBy} knows. */
async function create(service: string, path: string, url: string, runs: number): Promise<void> {
  const name = path.slice(1).replace('/', '-');
  const filter = runs === 1 ? {} : { run_id: runName(runOf(path, runs)) };
  const body = JSON.stringify({ name, url, event_types: ['forum.control.signal'], filter });
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${service}/webhooks`, { method: 'POST', headers, body });
  if (answer.status !== 201) throw new Error(`POST /webhooks was answered ${answer.status} ${await answer.text()}`);
}

const runName = (number: number) => `run-${number}`;

function report(client: Forumbus, number: number, runs: number): Promise<unknown> {
  const agent = { run_id: runName(number % runs), agent_name: `agent-${number % AGENTS}` };
  return client.signal.completion({ ...agent, summary: String(number) });
}

/** Resolves once each of these endpoints has got as many reports as it wants. */
async function arrived(
  origin: string,
  good: string[],
  wanted: (path: string) => number,
  interrupted: AbortSignal,
): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    interrupted.throwIfAborted();
    const counts = (await (await fetch(origin)).json()) as Record<string, number>;
    // What has not come in time is a fault that the proofs tell.
    if (good.every(path => (counts[path] ?? 0) >= wanted(path)) || performance.now() > end) return;
    await delay(100);
  }
}

function readGiven(text: string): Given[] {
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => {
      const [path, report, sequence, thread_id, delay] = JSON.parse(line);
      return { path, report, sequence, thread_id, delay };
    });
}

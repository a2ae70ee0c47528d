import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/*
 * A hostile agent, as a process of its own: it does what its token lets it do, as large, deep and often as it can, until its
 * parent ends it. It speaks to one address of this machine.
 */

const [origin = '', token = '', run = '', agent = ''] = process.argv.slice(2);
const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
const { port } = new URL(origin);
const PATIENCE_MS = 20_000;
/** Sockets that this agent holds open at once, idle or with half a request head. */
const SOCKETS = 150;

const marks = (count: number) => `a${'\u0316\u0301'.repeat(count)}`;
const signal = (fields: object) => ({ schema_version: 1, run_id: run, agent_name: agent, ...fields });
const ask = (question: string, fields: object = {}) =>
  signal({ control_type: 'guidance_request', question, ...fields });
let deep: unknown = 'bottom';
for (let level = 0; level < 20_000; level += 1) deep = [deep];

let acts = 0;
const bodies: (() => unknown)[] = [
  () => ask(marks(8000)),
  () => ask(`${'word '.repeat(3000)}?`, { context: 'x y '.repeat(15_000) }),
  () => ask('Which?', { priority: 'urgent', expires_in_seconds: 1 }),
  () => ask('Which?', { options: Array.from({ length: 10_000 }, (_, n) => ({ label: `l${n}` })) }),
  () => ask('Which?', { expires_in_seconds: 60, default_answer: 'Yes.' }),
  () => signal({ control_type: 'completion', evidence: Array.from({ length: 100_000 }, () => ({})) }),
  () => signal({ control_type: 'completion', summary: 's'.repeat(1_000_000) }),
  () => signal({ control_type: 'completion', summary: 's'.repeat(16_000), evidence: evidence(50) }),
  () =>
    signal({ control_type: 'validation', status: 'passed', done_criteria: 'c '.repeat(8000), evidence: evidence(50) }),
  () => Array.from({ length: 200_000 }, () => null),
  () => Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`key${n}`, n])),
  () => deep,
];
const reads = () => [
  `/events?thread_id=zzz&run_id=${run}`,
  `/events?event_type=forum.run.closed&agent_name=${agent}&run_id=${run}`,
  `/events?run_id=${run}&limit=200`,
  `/questions?run_id=${run}&limit=200`,
  `/runs/${run}`,
  `/runs/${run}?wait=5&after_version=999999`,
  `/threads?run_id=${run}&q=${encodeURIComponent(marks(60))}`,
  `/threads?run_id=${run}&q=${encodeURIComponent('wo xy wo')}&limit=200`,
  `/control-threads/${run}/${agent}`,
  `/openapi.json`,
  `/threads?cursor=WyJ0aHJlYWRzIiwxLDFd&run_id=${run}`,
];

function evidence(count: number) {
  return Array.from({ length: count }, (_, n) => ({ kind: 'log', ref: `r${n}`, note: 'n'.repeat(4000) }));
}

async function post(): Promise<void> {
  const body = bodies[acts % bodies.length] as () => unknown;
  acts += 1;
  const key = Math.random() < 0.5 ? { 'idempotency-key': `k${acts}` } : {};
  await request('/control-signals', { method: 'POST', headers: { ...headers, ...key }, body: JSON.stringify(body()) });
}

async function read(): Promise<void> {
  acts += 1;
  const paths = reads();
  await request(paths[acts % paths.length] as string, { headers });
}

async function request(path: string, init: RequestInit): Promise<void> {
  const response = await fetch(`${origin}${path}`, { ...init, signal: AbortSignal.timeout(PATIENCE_MS) });
  await response.arrayBuffer();
}

/** Holds sockets that send nothing, or half a head. */
async function holdSockets(): Promise<void> {
  const held = Array.from({ length: SOCKETS }, (_, n) => {
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => {});
    if (n % 2 === 0) socket.write('GET /livez HTTP/1.1\r\nhost: localhost\r\nx-slow: ');
    return socket;
  });
  await delay(15_000);
  for (const socket of held) socket.destroy();
}

/** Repeats an act until the process is ended; a failed one pauses a little, so that the loop never spins. */
async function forever(act: () => Promise<void>): Promise<void> {
  for (;;) await act().catch(() => delay(50));
}

process.once('disconnect', () => process.exit(0));
void forever(holdSockets);
for (let n = 0; n < 4; n += 1) void forever(post);
for (let n = 0; n < 8; n += 1) void forever(read);

import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expectations, loadPreviousRelease, previousRelease, previousTokens } from '../helpers/previous-release.ts';
import { type Arrival, byLane, CONSUMERS, type Fate, FILES, fates, policyOf } from '../helpers/upgrade.ts';
import { Fleet } from './fleet.ts';
import type { Options } from './options.ts';
import type { Proof } from './proof.ts';
import type { Progress } from './report.ts';
import type { Store } from './store.ts';

/** How long all of it may take on a slow machine. Milliseconds. */
const PATIENCE_MS = 180_000;
/** Messages that are handled when a process is killed. */
const HANDLED_BEFORE_KILL = 15;

/** One call of a handler. */
interface Call extends Arrival {
  attempt: number;
  generation: number;
  pid: number;
}

/** What is read of an answer. */
interface Answer {
  message_id?: string;
  replayed?: number;
}

interface Upgraded {
  proofs: Proof[];
  table: Record<string, string | number>;
}

/**
 * Loads a database of the previous release, starts the service on it, kills a process while it delivers what waits, and
 * proves that nothing is lost or overtaken. Then it resumes what is paused, replays what is dead and repeats what was sent.
 */
export async function upgrade(
  { engine, processes, leaseMs }: Options,
  store: Store,
  folder: string,
  progress: Progress,
  interrupted: AbortSignal,
): Promise<Upgraded> {
  const begun = performance.now();
  await loadPreviousRelease(store.url);
  const [handlers, notes] = [join(folder, 'handlers'), join(folder, 'notes.jsonl')];
  await writeHandlers(handlers);
  appendFileSync(notes, '');
  const cancelled = AbortSignal.any([AbortSignal.timeout(PATIENCE_MS), interrupted]);
  const settings = { OUTBOX_RETENTION_HOURS: '0', RATE_LIMIT_PER_MINUTE: '0', BACKOFF_BASE_MS: '100' };
  const env = { ...settings, PORT: '0', LEASE_MS: String(leaseMs), DATABASE_URL: store.url, VERIFY_NOTES: notes };
  const fleet = new Fleet(folder, () => ({ ...env, HANDLERS_DIR: handlers }), cancelled);
  const calls = () => readCalls(notes);
  /** False if it does not come about in time: then a proof fails. */
  const until = async (condition: () => boolean | Promise<boolean>): Promise<void> => {
    const last = performance.now() + PATIENCE_MS / 3;
    while (!cancelled.aborted && performance.now() < last && !(await condition())) await delay(50);
    interrupted.throwIfAborted();
  };
  try {
    await Promise.all(Array.from({ length: processes }, (_, slot) => fleet.start(slot)));
    const listening = performance.now();
    const send = async (method: string, path: string, body?: unknown) => {
      const { origin } = await fleet.anyUp(up => up[0] as (typeof up)[0]);
      const headers = { authorization: `Bearer ${previousTokens.admin}`, 'content-type': 'application/json' };
      const response = await fetch(origin + path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
      return { status: response.status, body: (await response.json()) as Answer };
    };
    await until(() => calls().length >= HANDLED_BEFORE_KILL);
    const handledBefore = calls().length;
    await fleet.replace(await fleet.anyUp(up => up[0] as (typeof up)[0]));
    progress.say(`a process is killed after ${handledBefore} messages, and started again`);

    const all = fates();
    // What its publisher put off until 2099 stays, and what stands behind it.
    const due = all.filter(fate => !isPutOff(all, fate));
    const of = (...when: Fate['when'][]) => due.filter(fate => when.includes(fate.when));
    const arrived = (expected: readonly Fate[]) => {
      const seen = new Set(calls().map(nameOf));
      return expected.every(fate => seen.has(nameOf(fate)));
    };
    await until(() => arrived(of('now')));
    await until(async () => (await unsettled(store)) === 0);
    const [first, unfinished] = [calls(), await rowsOf(store)];

    const paused = previousRelease.topics.filter(topic => topic.paused === 1);
    for (const { topic } of paused) await send('POST', `/bus/topics/${topic}/resume`);
    await until(() => arrived(of('now', 'resume')));
    await until(async () => (await unsettled(store)) === 0);
    const second = calls().slice(first.length);
    const { body: replay } = await send('POST', '/outbox/replay', { status: 'dead' });
    await until(() => arrived(due));
    await until(async () => (await unsettled(store)) === 0);
    const third = calls().slice(first.length + second.length);

    const repeated = await repeatSent(send);
    const marker = 'verify-marker';
    await send('POST', '/outbox', { message_id: marker, topic: 'forum.integration.chat', payload: {} });
    await until(() => calls().some(({ message_id }) => message_id === marker));
    const last = calls().slice(first.length + second.length + third.length);
    const lastRows = await rowsOf(store);
    await fleet.stop();

    const known = new Set(all.map(nameOf));
    const ofBefore = (some: Call[]) => some.filter(call => known.has(nameOf(call)));
    const dead = all.filter(({ when }) => when === 'dead');
    const { discarded } = expectations();
    return {
      proofs: [
        proof('no process ended by itself', fleet.past.length, fleet.unexpected),
        proof('all that waits arrives, in the order of each consumer and key', of('now').length, [
          ...unlike(byLane(once(ofBefore(first))), byLane(of('now'))),
        ]),
        proof(
          'a repeat is a later attempt: of a killed process, or after a lost lease',
          first.length,
          badRepeats(first),
        ),
        proof('what is dead stays so, with its attempts, its error and its history', dead.length, [
          ...dead.flatMap(fate => wrongState(unfinished, fate, 'dead')),
          ...(replay.replayed === dead.length ? [] : [`${replay.replayed} are replayed`]),
        ]),
        proof('what is discarded stays so', discarded.length, [
          ...discarded.flatMap(one => wrongState(lastRows, { ...one, consumer: one.consumer }, 'discarded')),
        ]),
        proof('what is paused arrives after its topic is resumed', of('resume').length, [
          ...unlike(byLane(ofBefore(second)), byLane(of('resume'))),
        ]),
        proof(
          'what is dead arrives after a replay, and then what it has blocked',
          of('dead', 'replay').length,
          unlike(byLane(ofBefore(third)), byLane(of('dead', 'replay'))),
        ),
        proof('a repeated message is answered with the stored one', repeated.count, repeated.faults),
        proof(
          'a repeated message is not delivered',
          repeated.count,
          ofBefore(last).map(call => `${nameOf(call)} arrives again`),
        ),
        proof('no other message of before the upgrade arrives', calls().length, strangers(calls(), known)),
      ],
      table: {
        'rows of the previous release': previousRelease.outbox.length,
        'deliveries due': due.length,
        'handled before the kill': handledBefore,
        'calls of handlers': calls().length,
        'from start to listening, with the upgrade': `${Math.round(listening - begun)} ms`,
        'whole run': `${((performance.now() - begun) / 1000).toFixed(1)} s, ${engine}`,
      },
    };
  } finally {
    fleet.killAll();
    await fleet.stop();
  }
}

/** Handlers that write down what they are given. */
async function writeHandlers(folder: string): Promise<void> {
  await mkdir(folder);
  for (const [consumer, topics] of Object.entries(CONSUMERS)) {
    const source = `import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
export const topic = ${JSON.stringify(topics)};
export const policy = ${JSON.stringify(policyOf(consumer))};
export async function handle(message, { attempt }) {
  const { message_id, message_key, generation } = message;
  const call = { consumer: '${consumer}', message_id, message_key, generation, attempt, pid: process.pid };
  appendFileSync(process.env.VERIFY_NOTES, JSON.stringify(call) + '\\n');
  // Room for a kill between the effect and its acknowledgement.
  await delay(Math.random() * 20);
}
`;
    await writeFile(join(folder, FILES[consumer] as string), source);
  }
}

function readCalls(path: string): Call[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.filter(line => line !== '').map(line => JSON.parse(line));
}

function nameOf({ consumer, message_id }: Pick<Arrival, 'consumer' | 'message_id'>): string {
  return `${consumer} ${message_id}`;
}

/** Whether its publisher put it off, or one before it in its lane, for longer than anybody waits. */
function isPutOff(all: readonly Fate[], { consumer, message_key, message_id }: Fate): boolean {
  const lane = all.filter(one => one.consumer === consumer && one.message_key === message_key);
  const upTo = lane.findIndex(one => one.message_id === message_id);
  const before = message_key === null ? [] : lane.slice(0, upTo);
  return [...before, lane[upTo] as Fate].some(({ row }) => row.available_at > Date.now());
}

/** The first call of each message and consumer: a kill makes others. */
function once(calls: readonly Call[]): Call[] {
  const first = new Map<string, Call>();
  for (const call of calls) if (!first.has(nameOf(call))) first.set(nameOf(call), call);
  return [...first.values()];
}

function badRepeats(calls: readonly Call[]): string[] {
  const groups = Map.groupBy(calls, nameOf);
  return [...groups].flatMap(([name, [first, ...others]]) =>
    others
      .filter(call => !first || call.attempt <= first.attempt)
      .map(call => `${name} arrives again as attempt ${call.attempt}`),
  );
}

/** Lanes whose messages are not the expected ones in their order. */
function unlike(actual: Record<string, string[]>, expected: Record<string, string[]>): string[] {
  return [...new Set([...Object.keys(actual), ...Object.keys(expected)])]
    .filter(lane => JSON.stringify(actual[lane]) !== JSON.stringify(expected[lane]))
    .map(
      lane => `${lane}: ${actual[lane]?.join(', ') ?? 'nothing'} instead of ${expected[lane]?.join(', ') ?? 'nothing'}`,
    );
}

interface DeliveryRow {
  message_id: string;
  consumer: string | null;
  status: string;
  attempts: number;
  last_error: string | null;
  history: string;
}

/** All deliveries, read past the service. */
async function rowsOf(store: Store): Promise<DeliveryRow[]> {
  const rows = await store.query(`
    select coalesce(messages.message_id, 'msg_' || substr(events.event_id, 5)) as message_id, name as consumer,
      deliveries.status, deliveries.attempts, deliveries.last_error, deliveries.history
    from deliveries left join messages on messages.number = message_number
      left join events on events.sequence = event_sequence
      left join subscriptions on subscriptions.subscription_id = deliveries.subscription_id`);
  return rows as unknown as DeliveryRow[];
}

/** Deliveries that are being handled, or are to be handled at once. */
async function unsettled(store: Store): Promise<number> {
  const [row] = await store.query(`select count(*) as count from deliveries
    where status = 'processing' or (claimable_at is not null and available_at < ${Date.now()})`);
  return Number(row?.count);
}

function wrongState(
  rows: readonly DeliveryRow[],
  { message_id, consumer, row }: Pick<Fate, 'message_id' | 'row'> & { consumer: string | null },
  status: string,
): string[] {
  const found = rows.find(one => one.message_id === message_id && one.consumer === consumer);
  const isSame =
    found?.status === status &&
    Number(found.attempts) === row.attempts &&
    found.last_error === row.last_error &&
    found.history === row.history;
  return isSame ? [] : [`${consumer} ${message_id} is ${JSON.stringify(found) ?? 'not there'}`];
}

/** Publishes again what was sent. */
async function repeatSent(
  send: (method: string, path: string, body: unknown) => Promise<{ status: number; body: Answer }>,
): Promise<{ count: number; faults: string[] }> {
  const { sent } = expectations();
  const faults: string[] = [];
  for (const { message_id, row } of sent) {
    const { topic, message_key } = row;
    const payload = JSON.parse(row.payload as string);
    const key = message_key === null ? {} : { message_key };
    const { status, body } = await send('POST', '/outbox', { message_id, topic, payload, ...key });
    if (status !== 200 || body.message_id !== message_id) faults.push(`${message_id}: ${status}`);
  }
  return { count: sent.length, faults };
}

/** Events of before the upgrade that were not waiting, and published messages that were sent. */
function strangers(calls: readonly Call[], known: ReadonlySet<string>): string[] {
  const before = new Set(previousRelease.outbox.map(row => row.origin_id ?? row.message_id));
  const others = calls.filter(call => before.has(call.message_id) && !known.has(nameOf(call)));
  return others.map(call => `${nameOf(call)} arrives`);
}

function proof(claim: string, checked: number, faults: string[]): Proof {
  return { claim, checked, faults };
}

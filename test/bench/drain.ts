import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { type Progress, WORK } from './child.ts';
import { allDispatched, sendAll } from './closed-loop.ts';
import type { Code } from './code.ts';
import { Connection } from './connection.ts';
import { messageRequest } from './load.ts';
import type { Subject } from './processes.ts';
import { cpuOf } from './usage.ts';

/** Connections that publish. */
const PUBLISHERS = 64;
/** How long nothing may be handled. Milliseconds. */
const PATIENCE_MS = 60_000;

export interface Drain {
  /** Names the processes in the table of memory. */
  name: string;
  databaseUrl: string;
  messages: number;
  /** Messages handled before the clock runs: the code is compiled and the statements are prepared by then. */
  warm: number;
  /** Different keys of the messages; 0: they have none. */
  keys: number;
  /** Processes that share the work. */
  processes?: number;
  env?: Record<string, string>;
  /** The code of the services: by default this clone's. */
  code?: Code | undefined;
  /** Called when the messages are there and no process runs. */
  before?: () => void;
  /** Whether messages stay behind that cannot be sent. */
  leaves?: boolean;
}

/** Per second. */
export interface Drained {
  published: number;
  dispatched: number;
  /** CPU of the services for one dispatch. Microseconds. */
  cpu: number;
}

/** Publishes messages to a service that does not dispatch, and then starts one that handles them. */
export async function drain({ processes: all }: Bench, setup: Drain): Promise<Drained> {
  const { name, databaseUrl, processes = 1, env = {}, code } = setup;
  const start = (role: string, heard?: (progress: Progress) => void) =>
    all.service({ name, databaseUrl, code, handler: 'counting', env: { ...env, ROLE: role }, ...(heard && { heard }) });
  const publisher = await start('http');
  const published = await publish(publisher, setup);
  await all.stop(publisher);
  setup.before?.();

  const heard = Array.from({ length: processes }, (): Progress[] => []);
  const subjects = await Promise.all(heard.map(list => start('all', progress => list.push(progress))));
  const handled = () => heard.reduce((sum, list) => sum + (list.at(-1)?.count ?? 0), 0);
  const used = () => subjects.reduce((sum, { pid }) => sum + cpuOf(pid), 0);
  const [before, begun] = [used(), handled()];
  await allHandled(handled, setup);
  const cpu = (1e6 * (used() - before)) / (handled() - begun);
  const dispatched = rateOf(heard, setup.warm / processes);
  const [first] = subjects as [Subject];
  if (!setup.leaves) await isEmptied(first);
  for (const subject of subjects) await all.stop(subject);
  return { published, dispatched, cpu };
}

async function publish({ port }: Subject, { messages, warm, keys }: Drain): Promise<number> {
  const requests = function* (count: number) {
    for (let number = 0; number < count; number += 1) {
      yield messageRequest(WORK, keys > 0 ? `key-${number % keys}` : undefined, number);
    }
  };
  await sendAll(port, PUBLISHERS, requests(warm));
  const began = performance.now();
  await sendAll(port, PUBLISHERS, requests(messages));
  return messages / ((performance.now() - began) / 1000);
}

async function allHandled(handled: () => number, { messages, warm }: Drain): Promise<void> {
  for (let count = 0, since = performance.now(); count < messages + warm; await delay(5)) {
    const now = handled();
    if (now > count) since = performance.now();
    else if (performance.now() - since > PATIENCE_MS) throw new Error(`No message is handled any more after ${now}.`);
    count = now;
  }
}

/** While all processes were at work: since each had handled its part of the warming, until the first had nothing left. */
function rateOf(heard: Progress[][], warm: number): number {
  const began = Math.max(...heard.map(list => list.find(({ count }) => count >= warm)?.at ?? Number.NaN));
  const ended = Math.min(...heard.map(list => list.at(-1)?.at ?? Number.NaN));
  const handledAt = (time: number) => heard.reduce((sum, list) => sum + countAt(list, time), 0);
  const rate = (handledAt(ended) - handledAt(began)) / ((ended - began) / 1000);
  return ended > began ? rate : Number.NaN;
}

/** Between two samples as if they had been handled evenly. */
function countAt(list: Progress[], time: number): number {
  const next = list.findIndex(({ at }) => at >= time);
  const after = next === -1 ? list.at(-1) : list[next];
  const before = list[next - 1];
  if (!after) return 0;
  if (!before || next === -1) return after.count;
  return before.count + ((after.count - before.count) * (time - before.at)) / (after.at - before.at);
}

async function isEmptied({ port }: Subject): Promise<void> {
  const connection = await Connection.open(port);
  await allDispatched(connection);
  connection.close();
}

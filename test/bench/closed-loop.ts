import { setTimeout as delay } from 'node:timers/promises';
import { Connection } from './connection.ts';
import { type Mix, newLoad } from './load.ts';
import type { Subject } from './processes.ts';

/** How long the messages of a round may take until all are dispatched. Milliseconds. */
const DISPATCH_PATIENCE_MS = 120_000;

export interface Round {
  /** Requests that were answered with a 2xx. */
  count: number;
  /** Requests per second until the last was answered. */
  answered: number;
  /** Requests per second until also the last message of them was dispatched. */
  dispatched: number;
  /** Of each request, sorted. Milliseconds. */
  took: Float64Array;
}

export interface Load {
  connections: number;
  mix: Mix;
  /** Nothing is sent after that. */
  seconds: number;
}

/** Signals by as many connections as are given to one process or, split evenly, to several that share a database. */
export async function signalRound(
  subjects: Subject[],
  { connections, mix, seconds }: Load,
  dispatch: boolean,
): Promise<Round> {
  const each = await Promise.all(
    subjects.map(({ port }) => Connection.openAll(port, Math.ceil(connections / subjects.length))),
  );
  const all = each.flat();
  const speakers = newLoad(all.length, mix);
  const began = performance.now();
  const deadline = began + seconds * 1000;
  const took: number[] = [];
  const speak = async (connection: Connection, next: () => string) => {
    for (let now = performance.now(); now < deadline; ) {
      await connection.send(next());
      const then = now;
      now = performance.now();
      took.push(now - then);
    }
  };
  await Promise.all(all.map((connection, index) => speak(connection, speakers[index] as () => string)));
  const answered = took.length / secondsSince(began);
  if (dispatch) await allDispatched(all[0] as Connection);
  const dispatched = took.length / secondsSince(began);
  for (const connection of all) connection.close();
  return { count: took.length, answered, dispatched, took: Float64Array.from(took).sort() };
}

function secondsSince(since: number): number {
  return (performance.now() - since) / 1000;
}

/** Whether any message is not sent. Asks for one of each status: to count them would take from what is measured. */
export async function anyUnsent(connection: Connection): Promise<boolean> {
  const some = async (status: string) => {
    const { items } = await connection.get<{ items: unknown[] }>(`/outbox?status=${status}&limit=1`);
    return items.length > 0;
  };
  if (await some('dead')) throw new Error('Some messages are dead.');
  return (await some('pending')) || (await some('processing')) || some('failed');
}

export async function allDispatched(connection: Connection): Promise<void> {
  const deadline = performance.now() + DISPATCH_PATIENCE_MS;
  while (await anyUnsent(connection)) {
    if (performance.now() > deadline) throw new Error('Not all messages were dispatched in time.');
    await delay(5);
  }
}

/** Sends these requests, as many at a time as there are connections. */
export async function sendAll(port: number, connections: number, requests: Iterable<string>): Promise<void> {
  const all = await Connection.openAll(port, connections);
  const left = requests[Symbol.iterator]();
  const speak = async (connection: Connection) => {
    for (let next = left.next(); !next.done; next = left.next()) await connection.send(next.value);
  };
  await Promise.all(all.map(speak));
  for (const connection of all) connection.close();
}

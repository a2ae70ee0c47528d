import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { signalRound } from './closed-loop.ts';
import type { Code } from './code.ts';
import { Connection, headOf } from './connection.ts';
import { memoryOf } from './memory-of.ts';
import type { Subject } from './processes.ts';

interface Asked {
  question: { question_id: string };
  thread: { last_sequence: number };
}

/** Seconds that a waiter waits before it asks again. */
const WAIT = 20;
/** Requests that are being made at the same time. */
const AT_ONCE = 50;

/** Memory with 2,000 waiters of a question each and 1,000 streams of all events, idle and with signals coming in. */
export async function crowd(bench: Bench, name: string, code: Code): Promise<void> {
  const { processes, report, options, folder } = bench;
  const [waiters, streams] = options.quick ? [200, 100] : [2000, 1000];
  const service = await processes.service({
    name,
    databaseUrl: `sqlite:${folder}/e-crowd.db`,
    code,
    handler: 'none',
    env: {
      WAITS_PER_CALLER: String(2 * waiters),
      STREAMS_PER_CALLER: String(2 * streams),
      RATE_LIMIT_PER_MINUTE: '0',
      MAX_EVENT_LOOP_DELAY_MS: '0',
    },
  });
  const now = () => memoryOf(service.pid)?.now ?? Number.NaN;
  const { questions, newest } = await askAll(service, waiters);
  // The sockets of those who asked are closed, and the code is compiled.
  await delay(1000);
  const before = now();
  const ended = new AbortController();
  const waiting = await openInParts(questions, question => wait(service.port, question, ended.signal));
  await delay(2000);
  const withWaiters = now();
  const streaming = await openInParts(Array.from({ length: streams }), () => stream(service.port, newest));
  await delay(2000);
  const withStreams = now();
  // Every event goes to every stream.
  await signalRound([service], { connections: 2, mix: 'mixed', seconds: options.quick ? 1 : 5 }, true);

  const busy = memoryOf(service.pid)?.peak ?? Number.NaN;

  const each = (later: number, earlier: number, count: number) => (1024 * (later - earlier)) / count;
  const [waiter, streamer] = [each(withWaiters, before, waiters), each(withStreams, withWaiters, streams)];
  report.row(`${waiters} waiters`, `${withWaiters.toFixed(0)} MiB, ${waiter.toFixed(0)} KiB each`);
  report.row(`and ${streams} streams`, `${withStreams.toFixed(0)} MiB, ${streamer.toFixed(0)} KiB each`);
  report.record('e.waiter', [waiter], 'KiB');
  report.record('e.stream', [streamer], 'KiB');
  report.record('e.stream with signals', [each(busy, withWaiters, streams)], 'KiB');
  ended.abort();
  for (const { close } of waiting) close();
  for (const socket of streaming) socket.destroy();
  await processes.stop(service);
}

async function openInParts<T, U>(all: readonly T[], open: (one: T) => Promise<U>): Promise<U[]> {
  const opened: U[] = [];
  for (let from = 0; from < all.length; from += AT_ONCE) {
    opened.push(...(await Promise.all(all.slice(from, from + AT_ONCE).map(open))));
  }
  return opened;
}

/** A question of an agent each. @returns their ids, and the newest sequence of the log */
async function askAll({ port }: Subject, count: number): Promise<{ questions: string[]; newest: number }> {
  const connection = await Connection.open(port);
  const questions: string[] = [];
  let newest = 0;
  for (let number = 0; number < count; number += 1) {
    const body = JSON.stringify({
      ...{ schema_version: 1, control_type: 'guidance_request', question: 'Which region?' },
      ...{ run_id: `run-${number % 100}`, agent_name: `agent-${number}` },
    });
    const answer = await connection.send(`${headOf('POST', '/control-signals')}${body.length}\r\n\r\n${body}`);
    const { question, thread } = JSON.parse(answer.toString()) as Asked;
    questions.push(question.question_id);
    newest = thread.last_sequence;
  }
  connection.close();
  return { questions, newest };
}

/** Waits for an answer again and again, over one connection. */
async function wait(port: number, question: string, signal: AbortSignal): Promise<{ close: () => void }> {
  const connection = await Connection.open(port);
  const again = async () => {
    while (!signal.aborted) await connection.get(`/questions/${question}?wait=${WAIT}`);
  };
  // The end of the connection is the end of the waiting.
  void again().catch(() => {});
  return { close: () => connection.close() };
}

/** Follows the log from here on. */
async function stream(port: number, after: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  socket.on('error', () => {}).resume();
  socket.write(`${headOf('GET', `/events/stream?after=${after}`)}\r\n`);
  return socket;
}

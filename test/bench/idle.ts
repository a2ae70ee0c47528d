import { setTimeout as delay } from 'node:timers/promises';
import type { Bench } from './bench.ts';
import { type Started, sharedNow } from './child.ts';
import { percentile } from './closed-loop.ts';
import { Connection } from './connection.ts';
import { newLoad } from './load.ts';
import { ms } from './report.ts';

/** Between a signal that was seen to be handled and the next one. Milliseconds. */
const PAUSE_MS = 5;
/** Signals before those that count. */
const WARM = 100;
/** How long a handler may be waited for. Milliseconds. */
const PATIENCE_MS = 10_000;

/** Of each signal, sorted. Milliseconds. */
export interface Idle {
  /** From the 201 to the handler's start; 0 if that was earlier. */
  afterAnswer: Float64Array;
  afterRequest: Float64Array;
}

/** (c) How long after its 201 a signal reaches its handler, on a service that does nothing else. */
export async function idle(bench: Bench): Promise<void> {
  const { report, folder, options } = bench;
  report.section('(c) from the answer to the start of the handler, on an idle service');
  const setup = { name: '(c) SQLite', databaseUrl: `sqlite:${folder}/c.db` };
  const { afterAnswer, afterRequest } = await idleRound(bench, { ...setup, signals: options.quick ? 200 : 1000 });
  const [p50, p99] = [percentile(afterAnswer, 0.5), percentile(afterAnswer, 0.99)];
  report.row('from the 201, p50 / p99', `${ms(p50)} / ${ms(p99)}`);
  report.row(
    'from the request, p50 / p99',
    `${ms(percentile(afterRequest, 0.5))} / ${ms(percentile(afterRequest, 0.99))}`,
  );
  report.target('c: from the 201 to the handler, p50', p50, { below: 1 }, { unit: ' ms' });
  report.target('c: from the 201 to the handler, p99', p99, { below: 5 }, { unit: ' ms' });
}

export async function idleRound(
  { processes }: Bench,
  {
    name,
    databaseUrl,
    signals,
    env = {},
  }: { name: string; databaseUrl: string; signals: number; env?: Record<string, string> },
): Promise<Idle> {
  const starts = new Starts();
  const heard = (started: Started) => starts.add(started);
  const service = await processes.service({ name, databaseUrl, handler: 'noting', env, heard });
  const connection = await Connection.open(service.port);
  const [next] = newLoad(1, 'mixed') as [() => string];
  const afterAnswer = new Float64Array(signals);
  const afterRequest = new Float64Array(signals);
  for (let number = -WARM; number < signals; number += 1) {
    const request = next();
    const sent = sharedNow();
    const body = await connection.send(request);
    const answered = sharedNow();
    const started = await starts.of(signalId(body));
    if (number >= 0) {
      afterAnswer[number] = Math.max(0, started - answered);
      afterRequest[number] = started - sent;
    }
    await delay(PAUSE_MS);
  }
  connection.close();
  await processes.stop(service);
  return { afterAnswer: afterAnswer.sort(), afterRequest: afterRequest.sort() };
}

/** When the handlers of signals were called, as far as it has been said. */
class Starts {
  readonly #known = new Map<string, number>();
  #awaited: { signal_id: string; resolve: (at: number) => void } | undefined;

  add({ signal_id, at }: Started): void {
    if (this.#awaited?.signal_id === signal_id) this.#awaited.resolve(at);
    else this.#known.set(signal_id, at);
  }

  async of(signal_id: string): Promise<number> {
    const known = this.#known.get(signal_id);
    this.#known.delete(signal_id);
    if (known !== undefined) return known;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#awaited = { signal_id, resolve };
    const late = setTimeout(() => reject(new Error(`No handler was called for ${signal_id}.`)), PATIENCE_MS);
    return promise.finally(() => clearTimeout(late));
  }
}

function signalId(body: Buffer): string {
  const [id] = /sig_[0-9a-f]{32}/.exec(body.toString('latin1')) ?? [];
  if (id === undefined) throw new Error('An answer without a signal.');
  return id;
}

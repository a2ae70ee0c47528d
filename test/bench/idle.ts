import { setTimeout as delay } from 'node:timers/promises';
import { type Bench, inTurns } from './bench.ts';
import { type Started, sharedNow } from './child.ts';
import type { Code } from './code.ts';
import { Connection } from './connection.ts';
import { newLoad } from './load.ts';
import { median, percentile } from './median.ts';
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
  const { report, folder, options, rounds } = bench;
  report.section('(c) from the answer to the start of the handler, on an idle service');
  const setup = { name: '(c) SQLite', databaseUrl: `sqlite:${folder}/c.db` };
  const round = () => idleRound(bench, { ...setup, signals: options.quick ? 200 : 1000 });
  const { service } = await inTurns(rounds, { service: round });
  const at = (what: keyof Idle, share: number) => service.map(idle => percentile(idle[what], share));
  for (const share of [0.5, 0.99]) {
    const [name, bound] = share === 0.5 ? ['p50', 1] : ['p99', 5];
    const after = at('afterAnswer', share);
    report.row(`from the 201, ${name}`, ms(after));
    report.row(`from the request, ${name}`, ms(at('afterRequest', share)));
    report.record(`c.after the 201.${name}`, after, 'ms');
    report.target(`c: from the 201 to the handler, ${name}`, median(after), { below: bound }, { unit: ' ms' });
  }
}

export async function idleRound(
  { processes }: Bench,
  {
    name,
    databaseUrl,
    signals,
    env = {},
    code,
  }: { name: string; databaseUrl: string; signals: number; env?: Record<string, string>; code?: Code },
): Promise<Idle> {
  const starts = new Starts();
  const heard = (started: Started) => starts.add(started);
  const service = await processes.service({ name, databaseUrl, handler: 'noting', env, heard, code });
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

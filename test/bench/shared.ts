import { availableParallelism } from 'node:os';
import { startPostgres } from '../helpers/postgres-server.ts';
import { emptyPostgres } from '../helpers/scratch.ts';
import type { Bench } from './bench.ts';
import { median, type Round, signalRound } from './closed-loop.ts';
import { type Drained, drain } from './drain.ts';
import { type Peer, peerRound, peersAreInstalled, peersHint } from './peers.ts';
import { type Comparison, rate } from './report.ts';

const CONNECTIONS = 64;
/** Two services, the server and the client want a core each. */
const CORES_FOR_TWO = 4;

/** By the number of processes: one, and two that share the database. */
interface Measured {
  signals: Record<1 | 2, Round[]>;
  drained: Record<1 | 2, Drained[]>;
  peers: Peer[];
}

/** (f) Signals and dispatches on PostgreSQL, with one process and with two. */
export async function shared(bench: Bench): Promise<void> {
  bench.report.section('(f) on PostgreSQL, with fsync');
  const starting = startPostgres({ durable: true });
  bench.cleanups.push(async () => (await starting).remove());
  const server = await starting;
  const measured: Measured = { signals: { 1: [], 2: [] }, drained: { 1: [], 2: [] }, peers: [] };
  await signalsShared(bench, server.url, measured);
  for (let round = 0; round < bench.rounds; round += 1) {
    for (const processes of [1, 2] as const) {
      const { url: databaseUrl } = await emptyPostgres(server.url);
      measured.drained[processes].push(await drainShared(bench, databaseUrl, processes));
    }
    if (peersAreInstalled()) {
      measured.peers.push(...(await peerRound(bench, ['pg-boss'], bench.options.quick ? 2000 : 10_000, server.url)));
    }
  }
  print(bench, measured);
}

async function signalsShared(bench: Bench, server: string, { signals }: Measured): Promise<void> {
  const { processes, rounds, options } = bench;
  const start = async (count: number) => {
    const { url: databaseUrl } = await emptyPostgres(server);
    const service = () => processes.service({ name: '(f) PostgreSQL', databaseUrl });
    return Promise.all(Array.from({ length: count }, service));
  };
  const subjects = { 1: await start(1), 2: await start(2) };
  const load = { connections: CONNECTIONS, mix: 'mixed', seconds: options.quick ? 1 : 4 } as const;
  // The first round is for the code to be compiled.
  for (let round = 0; round <= rounds; round += 1) {
    for (const count of [1, 2] as const) {
      const done = await signalRound(subjects[count], load, true);
      if (round > 0) signals[count].push(done);
    }
  }
  for (const subject of [...subjects[1], ...subjects[2]]) await processes.stop(subject);
}

function drainShared(bench: Bench, databaseUrl: string, processes: number): Promise<Drained> {
  const share = bench.options.quick ? 0.2 : 1;
  const setup = { messages: 20_000 * share, warm: 4000 * share, keys: 0, processes };
  return drain(bench, { ...setup, name: '(f) PostgreSQL', databaseUrl });
}

function print({ report }: Bench, { signals, drained, peers }: Measured): void {
  const cores = availableParallelism();
  const condition = cores < CORES_FOR_TWO ? `, says nothing with ${cores} cores` : '';
  const rates = {
    signals: (count: 1 | 2) => median(signals[count].map(({ dispatched }) => dispatched)),
    messages: (count: 1 | 2) => median(drained[count].map(({ dispatched }) => dispatched)),
    published: () => median(drained[1].map(({ published }) => published)),
  };
  for (const what of ['signals', 'messages'] as const) {
    const [one, two] = [rates[what](1), rates[what](2)];
    const name = what === 'signals' ? `signals, ${CONNECTIONS} connections` : 'dispatches';
    const column = what === 'messages' ? 'dispatches_per_s' : 'enqueues_per_s';
    report.row(`${name}, one process`, rate(one), against(peers, column, one));
    report.row(`${name}, two processes`, rate(two), [{ floor: 'one process', figure: rate(one), ratio: two / one }]);
    report.target(`f: ${name} of two processes, of those of one`, two / one, { atLeast: 1.5 }, { condition });
  }
  report.row(
    'published over HTTP, one process',
    rate(rates.published()),
    against(peers, 'enqueues_per_s', rates.published()),
  );
  if (peers.length === 0) report.note(peersHint);
  for (const { ratio, floor } of against(peers, 'enqueues_per_s', rates.signals(1)).slice(0, 1)) {
    report.target(`f: signals/s, of the enqueues/s of ${floor}`, ratio, { atLeast: 3 });
  }
  for (const { ratio, floor } of against(peers, 'dispatches_per_s', rates.messages(1)).slice(0, 1)) {
    report.target(`f: dispatches/s, of those of ${floor}`, ratio, { atLeast: 3 });
  }
}

function against(peers: Peer[], column: 'enqueues_per_s' | 'dispatches_per_s', figure: number): Comparison[] {
  return [...new Set(peers.map(({ peer }) => peer))].map(floor => {
    const rates = peers.filter(({ peer }) => peer === floor).map(peer => peer[column]);
    return { floor, figure: rate(median(rates)), ratio: figure / median(rates) };
  });
}

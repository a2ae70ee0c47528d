import type { Bench } from './bench.ts';
import { median } from './closed-loop.ts';
import { type Drained, drain } from './drain.ts';
import { type Peer, peerRound, peersAreInstalled, peersHint } from './peers.ts';
import { type Comparison, rate } from './report.ts';

interface Case {
  messages: number;
  keys: number;
  concurrency: number | undefined;
}

const cases: Case[] = [
  { messages: 10_000, keys: 0, concurrency: undefined },
  { messages: 10_000, keys: 500, concurrency: undefined },
  { messages: 10_000, keys: 0, concurrency: 64 },
  { messages: 10_000, keys: 500, concurrency: 64 },
  { messages: 20_000, keys: 0, concurrency: undefined },
];

/** (b) Dispatches per second to an empty handler, of messages that are all there when the clock starts. */
export async function dispatches(bench: Bench): Promise<void> {
  const { report, rounds, options } = bench;
  report.section('(b) dispatches to an empty handler, on SQLite');
  const share = options.quick ? 0.2 : 1;
  const chosen = options.quick ? cases.slice(0, 2) : cases;
  const measured = chosen.map((): Drained[] => []);
  const peers: Peer[] = [];
  const hasPeers = peersAreInstalled();
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, one] of chosen.entries())
      measured[index]?.push(await drainCase(bench, one, share, `${round}-${index}`));
    if (hasPeers) peers.push(...(await peerRound(bench, ['plainjob', 'graphile-worker'], 10_000 * share)));
  }
  if (!hasPeers) report.note(peersHint);
  const floors = peerRates(peers);
  for (const [index, { messages, keys, concurrency }] of chosen.entries()) {
    const dispatched = median((measured[index] as Drained[]).map(drained => drained.dispatched));
    const name = `${messages * share} messages, ${keys || 'no'} keys, concurrency ${concurrency ?? 'by default'}`;
    report.row(name, rate(dispatched), comparisons(dispatched, floors));
    if (index === 0) target(report, dispatched, floors);
  }
}

function drainCase(bench: Bench, { messages, keys, concurrency }: Case, share: number, name: string): Promise<Drained> {
  return drain(bench, {
    name: '(b) SQLite',
    databaseUrl: `sqlite:${bench.folder}/b-${name}.db`,
    messages: messages * share,
    warm: 2000 * share,
    keys,
    ...(concurrency && { env: { WORKER_CONCURRENCY: String(concurrency) } }),
  });
}

/** Medians by the name of the peer. */
function peerRates(peers: Peer[]): Map<string, number> {
  const names = new Set(peers.map(({ peer }) => peer));
  return new Map(
    [...names].map(name => [name, median(peers.filter(({ peer }) => peer === name).map(one => one.dispatches_per_s))]),
  );
}

function comparisons(dispatched: number, floors: Map<string, number>): Comparison[] {
  return [...floors].map(([floor, figure]) => ({ floor, figure: rate(figure), ratio: dispatched / figure }));
}

function target(report: Bench['report'], dispatched: number, floors: Map<string, number>): void {
  const least: Record<string, number> = { plainjob: 3, 'graphile-worker': 1 };
  for (const [peer, atLeast] of Object.entries(least)) {
    const floor = floors.get(peer);
    if (floor) report.target(`b: dispatches/s, of those of ${peer}`, dispatched / floor, { atLeast });
  }
}

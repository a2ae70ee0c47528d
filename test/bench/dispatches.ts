import { type Bench, inTurns } from './bench.ts';
import { type Drained, drain } from './drain.ts';
import { median } from './median.ts';
import { namesOf, type Peer, peerRound, peersAreInstalled, peersHint, ratesOf, recordPeers } from './peers.ts';
import { beside, rate } from './report.ts';

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

/** What others have to be reached, as a part of theirs. */
const least: Record<string, number> = { plainjob: 3, 'graphile-worker': 1 };

/** (b) Dispatches per second to an empty handler, of messages that are all there when the clock starts. */
export async function dispatches(bench: Bench): Promise<void> {
  const { report, rounds, options } = bench;
  report.section('(b) dispatches to an empty handler, on SQLite');
  const share = options.quick ? 0.2 : 1;
  const chosen = options.quick ? cases.slice(0, 2) : cases;
  const peers: Peer[] = [];
  const hasPeers = peersAreInstalled();
  if (!hasPeers) report.note(peersHint);
  const turns = chosen.map((one, index) => [
    index,
    (round: number) => drainCase(bench, one, share, `${round}-${index}`),
  ]);
  const others = async (round: number) => {
    const messages = 10_000 * share;
    if (hasPeers)
      peers.push(...(await peerRound(bench, ['plainjob', 'graphile-worker', 'bullmq'], { messages, round })));
    return { published: 0, dispatched: 0, cpu: 0 };
  };
  const measured = await inTurns<string, Drained>(rounds, { ...Object.fromEntries(turns), others });
  for (const [index, { messages, keys, concurrency }] of chosen.entries()) {
    const dispatched = (measured[index] as Drained[]).map(drained => drained.dispatched);
    const name = `${messages * share} messages, ${keys || 'no'} keys, concurrency ${concurrency ?? 'by default'}`;
    const floors = namesOf(peers).map(peer => ({ peer, rates: ratesOf(peers, peer, 'dispatches_per_s') }));
    report.row(
      name,
      rate(dispatched),
      floors.map(({ peer, rates }) => beside(peer, rates, dispatched, rate)),
    );
    report.record(
      `b.${messages} messages, ${keys} keys${concurrency ? `, ${concurrency} at once` : ''}`,
      dispatched,
      '/s',
    );
    if (index > 0) continue;
    for (const { peer, rates } of floors) {
      const atLeast = least[peer];
      const ratio = median(dispatched) / median(rates);
      if (atLeast !== undefined) report.target(`b: dispatches/s, of those of ${peer}`, ratio, { atLeast });
    }
  }
  recordPeers(report, 'b', peers);
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

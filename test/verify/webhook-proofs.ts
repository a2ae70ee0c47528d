import type { Proof } from './proof.ts';

/** A request that an endpoint got. */
export interface Given {
  path: string;
  report: number;
  sequence: number;
  thread_id: string;
  /** From the event to its arrival. Milliseconds. */
  delay: number;
}

/** What a storm of webhooks has left. The reports are numbered from 0 in the order of its phases. */
export interface Storm {
  /** The paths of the endpoints that take everything. */
  good: string[];
  given: Given[];
  /** Reports while there were good endpoints only, while there were all of them, and while the service was killed. */
  reports: { calm: number; stormy: number; killed: number };
  /** Report n is of run n % runs, and an endpoint with the number n at the end of its path wants those of run n % runs. */
  runs: number;
  kills: number;
  /** From the event to its arrival at a good endpoint, at most, in 99 of 100 cases. Milliseconds. */
  p99: number;
}

/** What failing endpoints may cost the good ones, since they take some of the machine: twice the median, or so much of p99. */
const COST = { factor: 2, share: 0.1 };
/** Requests that an endpoint gets before its circuit opens, and as probes. */
const MOST_REQUESTS = 40;

/** The run that an endpoint follows. */
export function runOf(path: string, runs: number): number {
  return Number(path.split('/').at(-1)) % runs;
}

/** The first `count` reports, as far as an endpoint wants them. */
export function wantedBy(path: string, count: number, runs: number): number[] {
  return Array.from({ length: count }, (_, report) => report).filter(report => report % runs === runOf(path, runs));
}

/** The delays of first arrivals at good endpoints, sorted, of each phase. Milliseconds. */
export function delaysOf(storm: Storm): Record<keyof Storm['reports'], number[]> {
  const { calm, stormy, killed } = storm.reports;
  const first = [...firsts(storm).values()].flat();
  const between = (from: number, to: number) =>
    first
      .filter(({ report }) => report >= from && report < to)
      .map(({ delay }) => delay)
      .sort((a, b) => a - b);
  return {
    calm: between(0, calm),
    stormy: between(calm, calm + stormy),
    killed: between(calm + stormy, calm + stormy + killed),
  };
}

/** The value that a share of sorted numbers does not exceed. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

export function proveStorm(storm: Storm): Proof[] {
  const { good, given, reports, runs } = storm;
  const total = reports.calm + reports.stormy + reports.killed;
  const delays = delaysOf(storm);
  const byPath = firsts(storm);
  const missing = good.flatMap(path => {
    const got = new Set((byPath.get(path) ?? []).map(({ report }) => report));
    return wantedBy(path, total, runs)
      .filter(report => !got.has(report))
      .map(report => `${path} has not got report ${report}`);
  });
  const overtaken = [...byPath].flatMap(([path, arrivals]) =>
    [...Map.groupBy(arrivals, ({ thread_id }) => thread_id)].flatMap(([thread_id, lane]) =>
      lane
        .filter(({ sequence }, index) => sequence < (lane[index - 1]?.sequence ?? 0))
        .map(({ sequence }) => `${path} got ${sequence} of ${thread_id} after a later one`),
    ),
  );
  const late = (['calm', 'stormy'] as const)
    .map(phase => [phase, quantile(delays[phase], 0.99)] as const)
    .filter(([, p99]) => !(p99 < storm.p99))
    .map(([phase, p99]) => `p99 of the ${phase} phase is ${p99} ms`);
  const [calm, stormy] = [quantile(delays.calm, 0.5), quantile(delays.stormy, 0.5)];
  const dearer =
    stormy <= Math.max(calm * COST.factor, calm + storm.p99 * COST.share) ? [] : [`${calm} ms became ${stormy} ms`];
  const requests = Map.groupBy(given, ({ path }) => path);
  const failing = [...requests].filter(([path]) => /^\/(fail|hang|gone)\//.test(path));
  const stubborn = failing
    .filter(([, { length }]) => length > MOST_REQUESTS * (1 + storm.kills))
    .map(([path, { length }]) => `${path} got ${length} requests`);
  return [
    {
      claim: 'every good endpoint got every event, also those around a kill',
      checked: good.flatMap(path => wantedBy(path, total, runs)).length,
      faults: missing,
    },
    { claim: 'each thread came in the order of the log, repeats aside', checked: given.length, faults: overtaken },
    {
      claim: `p99 from the event to its arrival is below ${storm.p99} ms while nothing is killed`,
      checked: delays.calm.length + delays.stormy.length,
      faults: late,
    },
    { claim: 'failing endpoints make the good ones wait no longer', checked: delays.stormy.length, faults: dearer },
    { claim: 'endpoints that fail, hang or are gone get few requests', checked: failing.length, faults: stubborn },
  ];
}

/** The first arrivals of each report at each good endpoint, in their order. */
function firsts({ good, given }: Storm): Map<string, Given[]> {
  const paths = new Set(good);
  const seen = new Set<string>();
  const first = given.filter(({ path, report }) => {
    if (!paths.has(path)) return false;
    const name = `${path} ${report}`;
    return !seen.has(name) && seen.add(name);
  });
  return Map.groupBy(first, ({ path }) => path);
}

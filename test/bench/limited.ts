import { account, coresOf, cpuOfService, ratesOfRounds } from './accounting.ts';
import { type Bench, inTurns } from './bench.ts';
import type { Load } from './closed-loop.ts';
import { median } from './median.ts';
import type { Subject } from './processes.ts';
import { makeQuota, quotaHint } from './quota.ts';
import { beside, rate } from './report.ts';
import { usedRound } from './used-round.ts';

/** Of a core, for each service: two of them, the server and the client then leave some of two cores idle. */
const SHARE = 0.25;
/** Beyond its share by so much, a service was not held. */
const TOLERANCE = 1.1;
/** With less of all cores idle, the server and the client may have been short of them. */
const ENOUGH_IDLE = 0.1;

/**
 * One service and two with a quarter of a core each. So the server and the client have cores to spare on any machine of
 * two cores, and two services can show what they take in twice the CPU of one.
 */
export async function limited(
  bench: Bench,
  services: Record<'one' | 'two', Subject[]>,
  load: Load,
  server: number,
): Promise<void> {
  const { report, rounds } = bench;
  for (const { pid } of [...services.one, ...services.two]) {
    const quota = makeQuota(SHARE);
    if (!quota) return report.note(`With a share of a core for each service: left out. ${quotaHint}`);
    bench.cleanups.push(() => quota.remove());
    quota.hold(pid);
  }
  const one = (subjects: Subject[]) => () => usedRound(subjects, load, { server });
  // What queues up differs from before.
  for (const subjects of [services.one, services.two]) await one(subjects)();
  const measured = await inTurns(rounds, { one: one(services.one), two: one(services.two) });
  const rates = { one: ratesOfRounds(measured.one), two: ratesOfRounds(measured.two) };
  report.row('signals, a quarter of a core, one process', rate(rates.one));
  account(report, 'f.signals, a quarter of a core', measured.one);
  report.row('signals, a quarter of a core each, two', rate(rates.two), [
    beside('one process', rates.one, rates.two, rate),
  ]);
  account(report, 'f.signals of two processes, a quarter of a core', measured.two);
  const used = [
    coresOf(measured.one, cpuOfService(0)),
    ...[0, 1].map(at => coresOf(measured.two, cpuOfService(at))),
  ].map(median);
  if (used.some(cores => cores > SHARE * TOLERANCE)) report.note('The quota did not hold: these figures say nothing.');
  const isShort = median(measured.two.map(({ idle }) => idle)) < ENOUGH_IDLE;
  report.target(
    'f: signals/s of two with a quarter of a core each, of one',
    median(rates.two) / median(rates.one),
    { atLeast: 1.5 },
    { condition: isShort ? ', says little while hardly a core is idle' : '' },
  );
}

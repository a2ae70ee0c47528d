import { repeats } from './delivery-proofs.ts';
import type { Note } from './notes.ts';
import { signalsOf } from './proof.ts';
import type { Run } from './run.ts';

/** What the run was like, for the table under it. */
export function figures({ load, operator, done, fleet, observed, milliseconds }: Run): Record<string, string | number> {
  const { sent, acknowledged, unknown, latencies } = load;
  const { notes, events, deliveries, messages } = observed;
  const { kill, stop, terminate, restart, leave } = done.counts;
  const stored = signalsOf(observed).filter(signal => unknown.has(signal.correlation_id)).length;
  const seconds = milliseconds / 1000;
  return {
    'acts of the clients': `${load.acts}, of which ${load.lostRaces} lost a race`,
    'signals sent': sent.size,
    '  acknowledged': acknowledged.length,
    '  unknown: no answer, or 503': `${unknown.size}, of which ${stored} had been stored`,
    'events, published messages': `${events.length}, ${messages.length}`,
    deliveries: deliveries.length,
    'processes killed': kill + leave,
    'processes stopped past their lease': stop,
    ...(terminate > 0 && { 'times all connections were cut': terminate }),
    ...(restart > 0 && { 'crashes of PostgreSQL': restart }),
    'repeated attempts': repeats(notes),
    'dead ones replayed, discarded': `${operator.counts.replayed}, ${operator.counts.discarded}`,
    'late outcomes refused (stale acks)': fleet.past.reduce((sum, service) => sum + service.staleAcks, 0),
    'from restart to listening': spread(
      done.restarted.map(one => (one.listeningAt ?? Number.NaN) - one.startedAt),
      1,
    ),
    'from restart to first dispatch': spread(untilFirstDispatch(done.restarted, notes), 1),
    'from request to 201': spread(latencies, 0.99),
    'whole run': `${seconds.toFixed(1)} s, ${Math.round(deliveries.length / seconds)} deliveries a second`,
  };
}

/** Of the processes that dispatched anything before their own end. */
function untilFirstDispatch(restarted: Run['done']['restarted'], notes: Note[]): number[] {
  const first = new Map(notes.toReversed().map(note => [note.pid, note.at]));
  return restarted.flatMap(({ pid, startedAt }) => {
    const at = first.get(pid);
    return at === undefined ? [] : [at - startedAt];
  });
}

/** The median, and the highest or another upper mark (1 or the share below it). */
function spread(milliseconds: number[], upper: number): string {
  if (milliseconds.length === 0) return 'none';
  const sorted = milliseconds.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  return `p50 ${at(0.5)} ms, ${upper === 1 ? 'max' : `p${upper * 100}`} ${at(upper)} ms`;
}

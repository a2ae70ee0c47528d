import { type Report, spreadText, us } from './report.ts';
import type { UsedRound } from './used-round.ts';

/*
 * Where the CPU of signals goes: to each service, to the server and to the client. With what the cores had left it shows
 * whether cores or locks limit a figure.
 */

/** Of one round. */
type Of = (round: UsedRound) => number;

/** Dispatched signals per second, one of each round. */
export function ratesOfRounds(rounds: readonly UsedRound[]): number[] {
  return rounds.map(({ dispatched }) => dispatched);
}

/**
 * Cores in use, one of each round.
 * @param cpu of a signal. Microseconds
 */
export function coresOf(rounds: readonly UsedRound[], cpu: Of): number[] {
  return rounds.map(round => (cpu(round) * round.dispatched) / 1e6);
}

export function cpuOfService(at: number): Of {
  return ({ cpuOfEach }) => cpuOfEach[at] as number;
}

/**
 * Keeps the figures of these rounds, and prints what a signal of them took.
 * @param key of the figures, with its section: `f.signals`
 */
export function account(report: Report, key: string, rounds: readonly UsedRound[]): void {
  report.record(`${key}.rate`, ratesOfRounds(rounds), '/s');
  report.record(
    `${key}.cpu`,
    each(({ cpu }) => cpu),
    'µs',
  );
  const services = rounds[0]?.cpuOfEach.length ?? 0;
  for (let at = 0; at < services; at += 1) part(`service ${at + 1}`, cpuOfService(at));
  part('server', ({ serverCpu }) => serverCpu);
  part('client', ({ clientCpu }) => clientCpu);
  const idle = each(round => 100 * round.idle);
  report.row('  of all cores, idle', `${spreadText(idle, value => value.toFixed(0))} %`);
  report.record(`${key}.idle`, idle, '%');

  function each(of: Of): number[] {
    return rounds.map(of);
  }

  function part(name: string, of: Of): void {
    const cores = coresOf(rounds, of);
    report.row(`  CPU of a signal: ${name}`, us(each(of)));
    report.row(
      `  cores that ${name} used`,
      spreadText(cores, value => value.toFixed(2)),
    );
    report.record(`${key}.${name} cpu`, each(of), 'µs');
    report.record(`${key}.${name} cores`, cores, '');
  }
}

import { join } from 'node:path';
import { startPostgres } from '../helpers/postgres-server.ts';
import { emptyPostgres } from '../helpers/scratch.ts';
import { type Bench, inTurns } from './bench.ts';
import { type Code, cloneAt } from './code.ts';
import { drain } from './drain.ts';
import { idleRound } from './idle.ts';
import type { Mix } from './load.ts';
import { percentile } from './median.ts';
import type { HandlerName, Subject } from './processes.ts';
import { beside, ms, rate, say, us } from './report.ts';
import { type UsedRound, usedRound } from './used-round.ts';
import { checkOut, install } from './worktree.ts';

/** This clone, and the revision that it is compared with. */
type Two<T> = Record<'old' | 'new', T>;

const loads: [number, Mix][] = [
  [1, 'mixed'],
  [64, 'mixed'],
  [64, 'completions'],
];

/** Measures this clone and another revision in turns; the ratios are new by old. */
export async function against(bench: Bench, revision: string): Promise<void> {
  const { folder, cleanups, options, report } = bench;
  const stop = new AbortController();
  const checkingOut = checkOut(revision, join(folder, 'revision'));
  cleanups.push(async () => {
    stop.abort();
    await (await checkingOut).remove();
  });
  const worktree = await checkingOut;
  report.section(`This clone against ${revision} (${worktree.commit}): new by old`);
  if (worktree.installs) {
    say(`  The lock file of ${worktree.commit} is another one: npm ci installs its libraries.`);
    await install(worktree, stop.signal);
  } else say('  Both have the same lock file, and share node_modules.');
  const code: Two<Code | undefined> = { old: cloneAt(worktree.path), new: undefined };
  const sqlite = (which: string) => async () => `sqlite:${folder}/${which}.db`;
  if (options.only.has('a')) {
    for (const handler of ['none', 'empty'] as const) {
      const name = (which: string) => sqlite(`${which}-${handler}`);
      await signalsAgainst(bench, code, `SQLite, ${handler === 'none' ? 'no' : 'a'} handler`, handler, name);
    }
  }
  if (options.only.has('b')) await drainsAgainst(bench, code, 'SQLite', sqlite);
  if (options.only.has('c')) await idleAgainst(bench, code);
  if (!options.only.has('f')) return;
  const starting = startPostgres({ durable: true });
  cleanups.push(async () => (await starting).remove());
  const server = await starting;
  const postgres = () => async () => (await emptyPostgres(server.url)).url;
  await signalsAgainst(bench, code, 'PostgreSQL, a handler', 'empty', postgres, await server.pid());
  await drainsAgainst(bench, code, 'PostgreSQL', postgres);
}

/** @param databaseOf answers how to make a database, by the name of a file */
async function signalsAgainst(
  bench: Bench,
  code: Two<Code | undefined>,
  what: string,
  handler: HandlerName,
  databaseOf: (name: string) => () => Promise<string>,
  server?: number,
): Promise<void> {
  const { processes, options, rounds } = bench;
  const start = async (which: keyof Two<unknown>, counts: boolean) =>
    processes.service({
      name: `${which}, ${what}`,
      databaseUrl: await databaseOf(`${which}-${counts ? 'counted' : 'signals'}`)(),
      code: code[which],
      handler,
      counts,
    });
  const subjects: Two<Subject> = { old: await start('old', false), new: await start('new', false) };
  const seconds = options.quick ? 1 : 4;
  const one = (which: keyof Two<unknown>, connections: number, mix: Mix) =>
    usedRound([subjects[which]], { connections, mix, seconds }, server === undefined ? {} : { server });
  // The code is compiled by then.
  for (const which of ['old', 'new'] as const) await one(which, 64, 'mixed');
  for (const [connections, mix] of loads) {
    const measured = await inTurns(rounds, {
      old: () => one('old', connections, mix),
      new: () => one('new', connections, mix),
    });
    print(bench, `${what}, ${connections} ${mix}`, measured, connections === 1);
  }
  for (const which of ['old', 'new'] as const) await processes.stop(subjects[which]);

  const statements: Two<number> = { old: 0, new: 0 };
  for (const which of ['old', 'new'] as const) {
    const counting = await start(which, true);
    const before = await counting.counts();
    const { count } = await usedRound([counting], { connections: 64, mix: 'mixed', seconds: seconds / 2 });
    statements[which] = ((await counting.counts()).statements - before.statements) / count;
    await processes.stop(counting);
  }
  const text = ([value = 0]: readonly number[]) => value.toFixed(1);
  bench.report.row(`${what}, 64 mixed: statements`, text([statements.new]), [
    beside('old', [statements.old], [statements.new], text),
  ]);
}

function print({ report }: Bench, what: string, measured: Two<UsedRound[]>, isAlone: boolean): void {
  const compare = (name: string, text: (values: readonly number[]) => string, of: (round: UsedRound) => number) => {
    const [before, now] = [measured.old.map(of), measured.new.map(of)];
    if (now.some(value => Number.isFinite(value))) report.row(name, text(now), [beside('old', before, now, text)]);
  };
  compare(`${what}: signals`, rate, ({ dispatched }) => dispatched);
  compare('  CPU of a signal: the service', us, ({ cpu }) => cpu);
  compare('  CPU of a signal: the database server', us, ({ serverCpu }) => serverCpu);
  if (isAlone) compare('  p50', ms, ({ took }) => percentile(took, 0.5));
  else compare('  p99', ms, ({ took }) => percentile(took, 0.99));
}

async function drainsAgainst(
  bench: Bench,
  code: Two<Code | undefined>,
  what: string,
  databaseOf: (name: string) => () => Promise<string>,
): Promise<void> {
  const share = bench.options.quick ? 0.2 : 1;
  const one = (which: keyof Two<unknown>) => async (round: number) =>
    drain(bench, {
      name: `${which}, messages on ${what}`,
      databaseUrl: await databaseOf(`${which}-messages-${round}`)(),
      ...{ messages: 10_000 * share, warm: 2000 * share, keys: 0, code: code[which] },
    });
  const measured = await inTurns(bench.rounds, { old: one('old'), new: one('new') });
  for (const name of ['dispatched', 'published'] as const) {
    const [before, now] = [measured.old.map(round => round[name]), measured.new.map(round => round[name])];
    bench.report.row(`${what}, messages: ${name}`, rate(now), [beside('old', before, now, rate)]);
  }
  const [before, now] = [measured.old.map(({ cpu }) => cpu), measured.new.map(({ cpu }) => cpu)];
  bench.report.row('  CPU of a dispatch: the service', us(now), [beside('old', before, now, us)]);
}

async function idleAgainst(bench: Bench, code: Two<Code | undefined>): Promise<void> {
  const signals = bench.options.quick ? 200 : 500;
  const one = (which: keyof Two<unknown>) => () => {
    const databaseUrl = `sqlite:${bench.folder}/${which}-idle.db`;
    const given = code[which];
    return idleRound(bench, { name: `${which}, idle`, databaseUrl, signals, ...(given && { code: given }) });
  };
  const measured = await inTurns(bench.rounds, { old: one('old'), new: one('new') });
  for (const share of [0.5, 0.99]) {
    const of = (which: keyof Two<unknown>) => measured[which].map(idle => percentile(idle.afterRequest, share));
    const name = `from the request to the handler, p${100 * share}`;
    bench.report.row(name, ms(of('new')), [beside('old', of('old'), of('new'), ms)]);
  }
}

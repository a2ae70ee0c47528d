import type { Bench } from './bench.ts';
import { WORK } from './child.ts';
import { allDispatched, sendAll, signalRound } from './closed-loop.ts';
import type { Code } from './code.ts';
import { Connection } from './connection.ts';
import { crowd } from './crowd.ts';
import { messageRequest } from './load.ts';
import { memoryOf } from './memory-of.ts';
import { installPackage } from './package.ts';

/** The names of the services that run from the package. */
const LOADED = '(e) package, signals and messages';
const CROWDED = '(e) package, waiters and streams';

/** (e) What the package, built and installed, uses under load and with a crowd; and what the services of other sections used. */
export async function usedMemory(bench: Bench): Promise<void> {
  const { report, processes, folder } = bench;
  report.section('(e) resident memory of the services');
  const code = await installPackage(folder);
  await loaded(bench, code);
  await crowd(bench, CROWDED, code);

  const used = processes.memory;
  const names = new Set(used.map(({ name }) => name));
  const peakOf = (names: string[]) =>
    Math.max(...used.filter(one => names.includes(one.name)).map(one => one.memory.peak));
  for (const name of names) {
    const last = used.findLast(one => one.name === name)?.memory.now ?? 0;
    report.row(name, `${peakOf([name]).toFixed(0)} MiB at most, ${last.toFixed(0)} at the end`);
  }
  const [load, all] = [peakOf([LOADED]), peakOf([CROWDED])];
  report.record('e.package under load', [load], 'MiB');
  report.record('e.package with waiters and streams', [all], 'MiB');
  report.target('e: the package under load', load, { below: 150 }, { unit: ' MiB' });
  report.target('e: the package with waiters and streams', all, { below: 300 }, { unit: ' MiB' });
}

/** The loads of sections (a) and (b). */
async function loaded({ processes, options, folder, report }: Bench, code: Code): Promise<void> {
  const databaseUrl = `sqlite:${folder}/e-loaded.db`;
  const service = await processes.service({ name: LOADED, databaseUrl, code, handler: 'empty' });
  const idle = memoryOf(service.pid)?.now ?? Number.NaN;
  report.record('e.package at rest', [idle], 'MiB');
  report.row('the package, before its first request', `${idle.toFixed(0)} MiB`);
  const seconds = options.quick ? 1 : 5;
  for (const connections of [1, 16, 64, 256]) {
    for (const mix of ['mixed', 'completions'] as const) {
      await signalRound([service], { connections, mix, seconds }, true);
    }
  }
  const messages = options.quick ? 4000 : 20_000;
  const requests = Array.from({ length: messages }, (_, number) => messageRequest(WORK, undefined, number));
  await sendAll(service.port, 64, requests);
  const connection = await Connection.open(service.port);
  await allDispatched(connection);
  connection.close();
  await processes.stop(service);
}

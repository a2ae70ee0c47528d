import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type HostName, hostNames, install, installed } from './hosts.ts';
import { assertAlone, enter, isInside } from './namespace.ts';
import { claudeScenarios } from './scenarios-claude.ts';
import { codexScenarios } from './scenarios-codex.ts';
import { inspectorScenarios } from './scenarios-inspector.ts';
import { startService } from './service.ts';
import { type Scenario, Stage } from './stage.ts';

/*
 * Runs real hosts with our hooks, commands and MCP tools, against a scripted model and a real service, where nothing but
 * loopback can be reached. Shows that each answer reaches the model exactly once, and that the MCP inspector can call every
 * tool. Exits with 1 if not.
 */

const scenarios: Record<HostName, Scenario[]> = {
  claude: claudeScenarios,
  codex: codexScenarios,
  inspector: inspectorScenarios,
};

const usage = `npm run live -- HOST[@VERSION]... [--only PATTERN] [--keep]
  HOST              ${hostNames.join(', ')}; npm installs its newest version if none is named
  --only PATTERN    only scenarios whose name matches
  --keep            keeps the folder of the run, which a failure keeps in any case
`;

/** No scenario takes longer. Milliseconds. */
const LIMIT_MS = 180_000;

const { hosts, only, keep } = optionsOrUsage();
process.exitCode = isInside() ? await play() : await prepare();

async function prepare(): Promise<number> {
  for (const { name, version } of hosts) install(name, version);
  return enter();
}

async function play(): Promise<number> {
  assertAlone();
  const folder = mkdtempSync(join(tmpdir(), 'forumbus-live-'));
  const service = await startService(folder);
  let failed = 0;
  for (const { name, version } of hosts) {
    const host = installed(name, version);
    say(`${name} ${host.version}`);
    for (const scenario of scenarios[name].filter(one => only.test(one.name))) {
      const own = join(folder, `${name}-${scenario.name}`);
      mkdirSync(own);
      const stage = new Stage(host, service, own, `${name}-${scenario.name}`);
      const begun = performance.now();
      const reason = await failureOf(scenario, stage);
      const seconds = ((performance.now() - begun) / 1000).toFixed(0);
      say(`${reason === undefined ? 'ok    ' : 'FAILED'}  ${scenario.name}: ${scenario.shows} (${seconds} s)`);
      if (reason !== undefined) {
        failed += 1;
        say(reason.replaceAll(/^/gm, '        '));
      }
    }
  }
  await service.stop();
  if (failed > 0 || keep) say(`The files of the run are in ${folder}.`);
  else rmSync(folder, { recursive: true, force: true });
  return failed > 0 ? 1 : 0;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Why a scenario has failed; undefined if it has not. */
async function failureOf(scenario: Scenario, stage: Stage): Promise<string | undefined> {
  const late = new Promise<never>((_resolve, reject) => {
    setTimeout(() => reject(new Error(`It takes longer than ${LIMIT_MS / 1000} s.`)), LIMIT_MS).unref();
  });
  try {
    await stage.open();
    await Promise.race([scenario.run(stage), late]);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    await stage.close();
  }
}

function optionsOrUsage() {
  try {
    const { values, positionals } = parseArgs({
      options: { only: { type: 'string', default: '' }, keep: { type: 'boolean', default: false } },
      allowPositionals: true,
    });
    const hosts = positionals.map(given => {
      const [, name, version = 'latest'] = /^(\w+)(?:@(.+))?$/.exec(given) ?? [];
      const known = hostNames.find(one => one === name);
      if (!known) throw new Error(`There is no host ${given}.`);
      return { name: known, version };
    });
    if (hosts.length === 0) throw new Error('Name a host.');
    return { hosts, only: new RegExp(values.only), keep: values.keep };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`);
    process.exit(2);
  }
}

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from '../cli/find-program.ts';
import { hostFilesOf, type Scope } from '../cli/host-edits.ts';
import { StateFolder } from '../cli/state-folder.ts';
import { textOf } from '../error-text.ts';
import { CHECK_EVENT } from '../hooks/hook.ts';
import { type HostName, hostNames } from '../hooks/hosts.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

interface Surroundings {
  env: Record<string, string | undefined>;
  cwd: string;
}

/** The oldest versions that the hooks were tried with, where they were. */
const OLDEST: Partial<Record<HostName, string>> = { claude: '2.1.220', codex: '0.171.0', gemini: '0.61.0' };

/** A host gives a hook no less. Milliseconds. */
const HOOK_MS = 10_000;
const VERSION_MS = 20_000;

/**
 * Checks the hosts of agents that have our hooks in the settings of the user or of the folder. Fires the hooks to see
 * whether they run and reach the service. Compares the host's version with those that they were tried with.
 */
export function checkHosts(surroundings: Surroundings): Finding[] {
  return hostNames.flatMap(host => {
    const scopes: Scope[] = ['user', 'project'];
    const fired = scopes.flatMap(scope => checkFile(host, scope, surroundings));
    if (fired.length === 0) return [];
    const timeouts = host === 'claude' ? scopes.flatMap(scope => checkQuestionTimeout(scope, surroundings)) : [];
    return [...fired, ...timeouts, ...checkVersion(host, surroundings)];
  });
}

function checkFile(host: HostName, scope: Scope, surroundings: Surroundings): Finding[] {
  const { path, text } = settingsOf(host, scope, surroundings);
  const commands = new Set(text.match(new RegExp(`forumbus hook ${host}\\b(?! --wake)`, 'g')));
  return [...commands].map(command => fire(command, path, surroundings));
}

function settingsOf(host: HostName, scope: Scope, { env, cwd }: Surroundings): { path: string; text: string } {
  const [file] = hostFilesOf(host, scope, { env, cwd, state: new StateFolder(env) });
  try {
    return { path: file?.path ?? '', text: file?.read() ?? '' };
  } catch {
    // What another user has is not ours to check.
    return { path: '', text: '' };
  }
}

/** Runs a hook as its host does, by a shell with the event on standard input. */
function fire(command: string, path: string, { env, cwd }: Surroundings): Finding {
  const log = new StateFolder(env);
  const before = linesOf(log).length;
  const input = JSON.stringify({ hook_event_name: CHECK_EVENT, session_id: 'doctor', cwd });
  const run = spawnSync(command, { shell: true, cwd, env: env as NodeJS.ProcessEnv, input, timeout: HOOK_MS });
  const said = `${run.stdout}${run.stderr}`.trim();
  if (run.error || run.status !== 0 || said !== '') {
    // A program that reads no input cannot be written to; what it says explains more.
    const reason = said || (run.error ? textOf(run.error) : `exit code ${run.status}`);
    const advice = 'Install the package globally, so that `forumbus` is on the PATH of the host.';
    return problem('hooks', `\`${command}\` of ${path} does not run: ${reason}.`, advice);
  }
  const reason = linesOf(log)
    .slice(before)
    .find(line => line.includes(` ${CHECK_EVENT} `));
  if (reason === undefined) return ok('hooks', `\`${command}\` of ${path} runs and reaches the service.`);
  const advice = 'Start the service with `forumbus up`, or correct FORUMBUS_URL and the token.';
  return warning('hooks', `\`${command}\` of ${path} runs, but: ${reason.replace(/^.* Doctor /, '')}`, advice);
}

function linesOf({ path }: StateFolder): string[] {
  try {
    return readFileSync(join(path, 'hooks.log'), 'utf8').trimEnd().split('\n');
  } catch {
    return [];
  }
}

/** Claude Code can end the dialog of a question by itself; an answer that comes later then counts for nothing. */
function checkQuestionTimeout(scope: Scope, surroundings: Surroundings): Finding[] {
  const { path, text } = settingsOf('claude', scope, surroundings);
  const [, timeout = 'never'] = /"askUserQuestionTimeout"\s*:\s*"([^"]*)"/.exec(text) ?? [];
  if (timeout === 'never') return [];
  const finding = `askUserQuestionTimeout in ${path} ends a question after ${timeout}, and the agent goes on without an answer.`;
  return [warning('hooks', finding, 'Set it to "never".')];
}

function checkVersion(host: HostName, { env, cwd }: Surroundings): Finding[] {
  const oldest = OLDEST[host];
  const program = findProgram(host, env);
  if (oldest === undefined || program === undefined) return [];
  const { stdout } = spawnSync(program, ['--version'], {
    cwd,
    env: env as NodeJS.ProcessEnv,
    encoding: 'utf8',
    timeout: VERSION_MS,
  });
  const [version] = /\d+\.\d+\.\d+/.exec(stdout ?? '') ?? [];
  if (version === undefined) {
    return [warning('hooks', `${program} does not say its version.`, `Use version ${oldest} or later.`)];
  }
  if (version.localeCompare(oldest, 'en', { numeric: true }) >= 0) {
    return [ok('hooks', `${program} is version ${version}.`)];
  }
  const finding = `${program} is version ${version}; the hooks were tried with ${oldest} and later.`;
  return [warning('hooks', finding, 'Upgrade it.')];
}

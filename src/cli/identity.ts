import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { Source } from '../client/index.ts';
import { faultOf } from '../client/transport.ts';
import { UsageError } from './command.ts';

/** Who calls, and which service. */
export interface Identity {
  url: string;
  token: string | undefined;
  run_id: string;
  agent_name: string;
  /** Whether a flag, the environment or an agent's host names the agent. */
  isAgent: boolean;
}

interface Flags {
  url?: string | undefined;
  'token-file'?: string | undefined;
  run?: string | undefined;
  agent?: string | undefined;
}

/** The address of a service that was started without settings. */
export const DEFAULT_URL = 'http://127.0.0.1:4010';

/** The longest name. Characters. */
const NAME_LENGTH = 200;

/**
 * Flags first, then the environment, then what the folder and the host show.
 * @throws UsageError if a token file cannot be read or the URL or the token is none
 */
export function identityOf(flags: Flags, env: Record<string, string | undefined>, cwd: string): Identity {
  const url = flags.url ?? (env.FORUMBUS_URL || DEFAULT_URL);
  const token = tokenOf(flags, env);
  const fault = faultOf({ url, token });
  if (fault !== undefined) throw new UsageError(fault);
  if (!/^https?:\/\/[^/]/.test(url) || !URL.canParse(url))
    throw new UsageError(`${url} is no URL; write it like ${DEFAULT_URL}.`);
  const agent = flags.agent ?? (env.FORUMBUS_AGENT || hostOf(env));
  return {
    url,
    token,
    run_id: flags.run ?? (env.FORUMBUS_RUN || runOf(cwd)),
    agent_name: agent ?? 'agent',
    isAgent: agent !== undefined,
  };
}

function tokenOf(flags: Flags, env: Record<string, string | undefined>): string | undefined {
  if (flags['token-file'] === undefined && env.FORUMBUS_TOKEN) return env.FORUMBUS_TOKEN.trim();
  const file = flags['token-file'] ?? env.FORUMBUS_TOKEN_FILE;
  if (!file) return undefined;
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`The token file ${file} cannot be read (${code}); check its path and its permissions.`);
  }
}

/** The host that runs this process, by the variables that it sets for its commands. An inner host comes first. */
function hostOf(env: Record<string, string | undefined>): string | undefined {
  // CODEX_HOME is a setting of people.
  if (Object.keys(env).some(name => name.startsWith('CODEX_') && name !== 'CODEX_HOME')) return 'codex';
  if (env.GEMINI_CLI) return 'gemini';
  if (env.CURSOR_AGENT) return 'cursor';
  if (env.COPILOT_CLI) return 'copilot';
  if (env.CLAUDECODE) return 'claude';
  return undefined;
}

/** Hosts' names for the session, by host. */
const SESSIONS: Record<string, string[]> = {
  claude: ['CLAUDE_CODE_SESSION_ID'],
  codex: ['CODEX_SESSION_ID', 'CODEX_THREAD_ID'],
};

/** The longest field of a source. Characters. */
const SOURCE_LENGTH = 500;

/**
 * Where a question of a command comes from: the host that runs the command, and its session. Nothing of it changes while the
 * session lasts but the folder, so that a repeated command sends the same.
 * @returns undefined outside of a host
 */
export function sourceOf(env: Record<string, string | undefined>, cwd: string): Source | undefined {
  const host = hostOf(env);
  if (host === undefined) return undefined;
  const session = SESSIONS[host]?.map(name => env[name]).find(Boolean);
  const short = (text: string) => text.slice(0, SOURCE_LENGTH).toWellFormed();
  return { host, ...(session && { session_id: short(session) }), cwd: short(cwd) };
}

/** `<folder>@<branch>` of the repository around the folder; without one, the folder's name. */
export function runOf(cwd: string): string {
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const branch = branchOf(folder);
    if (branch !== undefined) return `${basename(folder)}@${branch}`.slice(0, NAME_LENGTH);
    if (dirname(folder) === folder) return basename(resolve(cwd)).slice(0, NAME_LENGTH) || 'root';
  }
}

/** The branch that is checked out in a folder, or the beginning of its commit; undefined if it is no work tree. */
function branchOf(folder: string): string | undefined {
  try {
    const git = join(folder, '.git');
    // A work tree beside its repository has a file that names the folder of its state.
    const state = statSync(git).isDirectory()
      ? git
      : resolve(folder, readFileSync(git, 'utf8').slice('gitdir:'.length).trim());
    const head = readFileSync(join(state, 'HEAD'), 'utf8').trim();
    return head.startsWith('ref: ') ? head.replace(/^ref: (refs\/heads\/)?/, '') : head.slice(0, 12);
  } catch {
    return undefined;
  }
}

import { text } from 'node:stream/consumers';
import { Forumbus } from '../client/index.ts';
import { CHECK_EVENT, type HookInput, type Reply, type Station, sessionOf, textOf } from '../hooks/hook.ts';
import { type HostName, hostNames, hosts } from '../hooks/hosts.ts';
import { firstOf } from '../hooks/signals.ts';
import { type Context, defineCommand, exits, UsageError } from './command.ts';
import { secondsOf } from './duration.ts';
import { HookLog } from './hook-log.ts';
import { hookFetch, look } from './hook-transport.ts';
import { hostProcess, stillRuns } from './host-process.ts';
import { type Identity, identityOf } from './identity.ts';
import { Sessions } from './sessions.ts';
import { wake } from './wake.ts';

/** Time to connect while the agent works, and at the beginning or the end of a turn. Milliseconds. */
const CONNECT_MS = { during: 300, between: 2000 };
/** Time for all else, unless the hook waits for people. Milliseconds. */
const ANSWER_MS = { during: 2000, between: 5000 };
/** How often a hook that waits checks whether its host still runs. Milliseconds. */
const PARENT_MS = 2000;
/** Seconds during which a question that cannot be filed is sent again. */
const RETRY_SECONDS = 3;

/** Events while the agent works. */
const during = ['PostToolBatch', 'PostToolUse', 'AfterTool', 'notification'];
/** Events that may wait for people. */
const waiting = ['PermissionRequest', 'PreToolUse', 'BeforeTool'];

export const command = defineCommand({
  name: 'hook',
  summary: 'Answer a hook of an agent’s host (see `forumbus install`)',
  usage: `${hostNames.join('|')} [EVENT] [--wake]`,
  counts: { least: 1, most: 2 },
  words: hostNames,
  options: { wake: { type: 'boolean' } },
  help: `A host starts it and writes the event as JSON to its standard input. EVENT names the event where the JSON does not.
Without news, and whenever something is wrong, it prints nothing and ends with 0; hooks.log in the state folder says why.
  --wake    Claude Code: waits for news after the end of a turn, then ends with 2 so that the next turn begins
FORUMBUS_HEADLESS=1 says that nobody sits at the terminal, FORUMBUS_PARK=1 that a headless session ends while it waits,
FORUMBUS_AWAY=1 that approvals are asked here (Codex), FORUMBUS_EXPIRES=8h after which time questions expire.`,
  async run(context, [name, event], values) {
    const host = hostNames.find(known => known === name);
    if (!host) throw new UsageError(`The host is one of ${hostNames.join(', ')}, not ${name}.`);
    if (context.stdin.isTTY) throw new UsageError('A host runs this command: see `forumbus install --help`.');
    const log = new HookLog(context.state);
    let input: HookInput = {};
    try {
      input = inputOf(await text(context.stdin), event);
      return await answer(context, host, input, values.wake === true);
    } catch (error) {
      log.add(host, String(input.hook_event_name ?? event ?? ''), error);
      return exits.done;
    }
  },
});

/** Whether the event means more than a chance to tell news. */
function acts(host: HostName, event: string): boolean {
  return host === 'claude' && event === 'PostToolUse';
}

/** @throws SyntaxError if it is not an object */
function inputOf(json: string, event: string | undefined): HookInput {
  const input: unknown = JSON.parse(json);
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new SyntaxError('The input is not a JSON object.');
  }
  // Copilot and Cursor write some names in their own way.
  const { hook_event_name = event, session_id, sessionId, conversation_id, ...rest } = input as HookInput;
  return { ...rest, hook_event_name, session_id: session_id ?? sessionId ?? conversation_id };
}

async function answer(context: Context, host: HostName, input: HookInput, isWaiter: boolean): Promise<number> {
  const { env, state } = context;
  const sessions = new Sessions(state);
  const event = String(input.hook_event_name);
  const session = sessionOf(input);
  const identity = bind(context, host, input, sessions);
  if (event === 'SessionEnd') {
    sessions.end(session);
    return exits.done;
  }
  const pace = during.includes(event) ? 'during' : 'between';
  const mayWait = isWaiter || waiting.includes(event);
  const ends = new Ends(mayWait);
  try {
    const { url, token, run_id, agent_name } = identity;
    const agent = `${encodeURIComponent(run_id)}/${encodeURIComponent(agent_name)}`;
    const reads = !mayWait && !acts(host, event) && !sessions.read(session).continued;
    const found = await look({
      inbox: `${url.replace(/\/+$/, '')}/control-threads/${agent}/inbox`,
      token,
      reads,
      connectMs: CONNECT_MS[pace],
      answerMs: ANSWER_MS[pace],
    });
    if (found === 'unreachable') throw new Error(`No connection to ${new URL(url).origin}.`);
    if (found === 'silent') throw new Error(`No answer from ${new URL(url).origin}.`);
    if (found === 'empty') return exits.done;
    const limit = mayWait ? [] : [AbortSignal.timeout(ANSWER_MS[pace])];
    const client = new Forumbus({ ...identity, fetch: hookFetch, retry_seconds: mayWait ? RETRY_SECONDS : 0 });
    const station: Station = {
      host,
      client,
      notes: sessions,
      awaited: sessions.awaited,
      switches: switchesOf(env),
      withdrawn: ends.withdrawn.signal,
      ending: firstOf([ends.orphaned.signal, ...limit]),
    };
    if (event === CHECK_EVENT) {
      await client.inbox.list({ limit: 1 });
      return exits.done;
    }
    if (isWaiter) return await wake(context, station, sessions, session);
    return await say(context, await hosts[host](input, station));
  } finally {
    ends.stop();
  }
}

/** Writes the answer; what stands in it counts as delivered only if the host has read it. */
async function say({ stdout }: Context, { output, delivered }: Reply): Promise<number> {
  if (output) {
    await new Promise<void>((resolve, reject) => {
      stdout.write(`${JSON.stringify(output)}\n`, error => (error ? reject(error) : resolve()));
    });
  }
  await delivered?.();
  return exits.done;
}

/**
 * The agent of a session. Its beginning fixes the run, whatever folder or branch the agent works in later, and tells its
 * commands by the environment.
 */
function bind(context: Context, host: HostName, input: HookInput, sessions: Sessions): Identity {
  const { env } = context;
  const session = sessionOf(input);
  const roots = Array.isArray(input.workspace_roots) ? input.workspace_roots : [];
  const folder = env.CLAUDE_PROJECT_DIR || textOf(input.cwd) || textOf(roots[0]) || context.cwd;
  const notes = sessions.read(session);
  const run = env.FORUMBUS_RUN || notes.run_id;
  const identity = identityOf({ ...(run && { run }), agent: env.FORUMBUS_AGENT || host }, env, folder);
  if (!/^sessionstart$/i.test(String(input.hook_event_name))) return identity;
  const { run_id, agent_name } = identity;
  sessions.write(session, { ...notes, run_id });
  if (env.CLAUDE_ENV_FILE) {
    sessions.exportTo(env.CLAUDE_ENV_FILE, {
      ...(!env.FORUMBUS_RUN && { FORUMBUS_RUN: run_id }),
      ...(!env.FORUMBUS_AGENT && { FORUMBUS_AGENT: agent_name }),
    });
  }
  sessions.clean();
  return identity;
}

function switchesOf(env: Context['env']): Station['switches'] {
  return {
    headless: env.FORUMBUS_HEADLESS === '1' || env.CLAUDE_CODE_ENTRYPOINT !== 'cli',
    park: env.FORUMBUS_PARK === '1',
    away: env.FORUMBUS_AWAY === '1',
    expires_in_seconds: env.FORUMBUS_EXPIRES ? secondsOf('expires', env.FORUMBUS_EXPIRES) : undefined,
  };
}

/** Why a hook ends before it has an answer. */
class Ends {
  /** The host has said so. */
  readonly withdrawn = new AbortController();
  /** The host has died, and its session may be resumed. */
  readonly orphaned = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #withdraw = () => this.withdrawn.abort();

  /** @param watches whether the hook may last so long that its host dies before it */
  constructor(watches: boolean) {
    const parent = process.ppid;
    const host = watches ? hostProcess() : undefined;
    process.once('SIGTERM', this.#withdraw);
    this.#timer = setInterval(() => {
      if (process.ppid !== parent || (host && !stillRuns(host))) this.orphaned.abort();
    }, PARENT_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    process.removeListener('SIGTERM', this.#withdraw);
  }
}

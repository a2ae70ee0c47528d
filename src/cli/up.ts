import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { PROGRAM } from '../invocation.ts';
import { BACKGROUND_FILE, type Background, isAlive, LOG_FILE, markOf, type ProcessMark, until } from './background.ts';
import { type Context, defineCommand, exits, UsageError } from './command.ts';
import { programOf, requireNode, serviceEnv } from './service.ts';

/** A database may have to be upgraded first. Milliseconds. */
const START_MS = 60_000;
/** Bytes. The log before is kept beside it. */
const LOG_SIZE = 10_485_760;

export const command = defineCommand({
  name: 'up',
  summary: 'Start the service in the background, unless it runs',
  usage: '',
  counts: { least: 0, most: 0 },
  options: {},
  help: `Its database and its log are in the user's state folder (~/.local/state/forumbus), unless DATABASE_URL names another
database. PORT and other settings are environment variables: see docs/configuration.md.`,
  async run(context) {
    requireNode();
    const { state, print, env } = context;
    const url = urlOf(env);
    const running = runningOf(context);
    if (running && (await listens(running.url))) {
      await print(`Forumbus listens at ${running.url} already.`, running);
      return exits.done;
    }
    if (running) {
      const at = `The service (process ${running.pid}) does not answer at ${running.url}`;
      throw new UsageError(`${at}; see its log ${state.file(LOG_FILE)}. \`forumbus down\` stops it.`);
    }
    if (await listens(url)) {
      await print(`Forumbus listens at ${url} already; \`forumbus up\` has not started it.`, { url });
      return exits.done;
    }
    const background = await start(context, url);
    await print(`Forumbus listens at ${background.url}; its log is ${state.file(LOG_FILE)}.`, background);
    return exits.done;
  },
});

/** The service that an earlier `forumbus up` has started. */
function runningOf({ state }: Context): Background | undefined {
  const running = state.read<Background>(BACKGROUND_FILE);
  return running && isAlive(running) ? running : undefined;
}

/** @throws UsageError if it does not start */
async function start(context: Context, url: string): Promise<Background> {
  const { state } = context;
  const lock = take(context);
  try {
    // Another `forumbus up` may have started it meanwhile.
    const running = runningOf(context);
    if (running) return running;
    const log = state.file(LOG_FILE);
    const size = rotate(log);
    const output = openSync(log, 'a', 0o600);
    const child = spawn(process.execPath, programOf('main'), {
      // Folders that the settings name are those of the caller.
      cwd: context.cwd,
      // It outlives the npx that may have started this command.
      env: { ...serviceEnv(context), npm_lifecycle_event: undefined } as NodeJS.ProcessEnv,
      stdio: ['ignore', output, output],
      detached: true,
      argv0: PROGRAM,
    });
    // A process that cannot be started has no id.
    child.once('error', () => {});
    closeSync(output);
    child.unref();
    const mark = child.pid === undefined ? undefined : markOf(child.pid);
    if (!mark) throw new UsageError(`The service did not start: ${lastWords(log, size)}`);
    const background: Background = { ...mark, url };
    state.write(BACKGROUND_FILE, background);
    if (!(await until(async () => !isAlive(mark) || (await listens(url)), START_MS)) || !isAlive(mark)) {
      if (isAlive(mark)) throw new UsageError(`The service does not listen after a minute; see its log ${log}.`);
      rmSync(state.file(BACKGROUND_FILE), { force: true });
      throw new UsageError(`The service did not start: ${lastWords(log, size)}`);
    }
    return background;
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Lets one `forumbus up` at a time start a service. @throws UsageError */
function take({ state }: Context): string {
  const lock = state.file('up.lock');
  const own = JSON.stringify(markOf(process.pid));
  for (let again = false; ; again = true) {
    try {
      writeFileSync(lock, own, { flag: 'wx', mode: 0o600 });
      return lock;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = state.read<ProcessMark>('up.lock');
      if (again || (holder && isAlive(holder))) {
        throw new UsageError('Another `forumbus up` is starting the service; try again in a moment.');
      }
      rmSync(lock, { force: true });
    }
  }
}

/** @throws UsageError if the port is to be a free one */
function urlOf({ HOST, PORT, BASE_PATH = '' }: Record<string, string | undefined>): string {
  if (PORT === '0')
    throw new UsageError('PORT=0 picks another port each time; name one for a service in the background.');
  const host = !HOST || ['0.0.0.0', '::', 'localhost'].includes(HOST) ? '127.0.0.1' : HOST;
  return `http://${host.includes(':') ? `[${host}]` : host}:${PORT || 4010}${BASE_PATH.replace(/\/$/, '')}`;
}

/** Whether Forumbus answers, and no other program. */
async function listens(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/version`, { signal: AbortSignal.timeout(2000) });
    const { version, node } = (await response.json()) as Record<string, unknown>;
    return response.ok && typeof version === 'string' && typeof node === 'string';
  } catch {
    return false;
  }
}

/** Moves a large log away. @returns the size of the log that goes on */
function rotate(log: string): number {
  const size = statSync(log, { throwIfNoEntry: false })?.size ?? 0;
  if (size < LOG_SIZE) return size;
  renameSync(log, `${log}.1`);
  return 0;
}

/** The reason that a service logged before it ended. */
function lastWords(log: string, from: number): string {
  const lines = readFileSync(log).subarray(from).toString('utf8').trim().split('\n');
  const last = lines.at(-1) || 'it said nothing.';
  try {
    return String(JSON.parse(last).msg);
  } catch {
    return last;
  }
}

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Forumbus, ForumbusError, isPassing } from '../client/index.ts';
import { type Command, type Context, exits, type Surroundings, sharedOptions, UsageError } from './command.ts';
import { commands } from './commands.ts';
import { Unreachable } from './deliver.ts';
import { faultText } from './fault-text.ts';
import { type Identity, identityOf } from './identity.ts';
import { oneLine, written } from './output.ts';
import { refusalText } from './refusals.ts';
import { Spool } from './spool.ts';
import { StateFolder } from './state-folder.ts';
import { unreachableRemedy } from './unreachable.ts';

/** How long a request is repeated before the service counts as unreachable. Seconds. */
const RETRY_SECONDS = 3;

/** Runs a command line. @returns the exit code */
export async function run(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const isJson = args.includes('--json');
  const { stdout, stderr } = surroundings;
  try {
    return await dispatch(args, surroundings);
  } catch (error) {
    const { code, exit, message } = failureOf(error, surroundings.env);
    const told = isJson
      ? written(stdout, `${JSON.stringify({ error: { code, message } })}\n`)
      : written(stderr, `${oneLine(message)}\n`);
    // Where nobody reads it, the exit code has to do.
    await told.catch(() => {});
    return exit;
  }
}

async function dispatch(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { stdout } = surroundings;
  const [first = 'serve', ...rest] = args;
  if (first === '--version') return done(stdout, `${version()}\n`);
  if (first === '--help' || first === '-h') return done(stdout, await overview());
  const command = await commands.find(({ name }) => name === first)?.load();
  if (!command) throw new UsageError(`There is no command ${first}; \`forumbus --help\` lists them.`);
  if (command.ownArguments) return command.run(contextOf({}, surroundings), rest, {});
  const { values, positionals } = parsed(command, rest);
  if (values.help) return done(stdout, helpOf(command));
  if (values.version) return done(stdout, `${version()}\n`);
  const { least, most } = command.counts;
  if (positionals.length < least || positionals.length > most) {
    const given = positionals.length < least ? 'Something is missing' : 'These are too many arguments (quote a text)';
    throw new UsageError(`${given}. ${usageOf(command)}`);
  }
  return command.run(contextOf(values, surroundings), positionals, values);
}

/** @throws UsageError */
function parsed(command: Command, args: string[]) {
  try {
    return parseArgs({ args, options: { ...sharedOptions, ...command.options }, allowPositionals: true, strict: true });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const [reason] = message.split(/\.\s/);
    const isText = code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION' && command.counts.most > 0;
    const [, written] = / a dash use '([^']+=)/.exec(message) ?? [];
    const hint = isText
      ? ' (a text that begins with a dash comes last, after --)'
      : written
        ? ` (one that begins with a dash is written ${written}…)`
        : '';
    throw new UsageError(`${reason}${hint}. ${usageOf(command)}`);
  }
}

function usageOf({ name, usage }: Command): string {
  return `Usage: forumbus ${`${name} ${usage}`.trim()}`;
}

function contextOf(values: Record<string, unknown>, surroundings: Surroundings): Context {
  const { env, cwd, stdout, stderr } = surroundings;
  let identity: Identity | undefined;
  const state = new StateFolder(env);
  const who = () => (identity ??= identityOf(values, env, cwd));
  const connect = (agent: { run_id: string; agent_name: string }) => {
    const { url, token } = who();
    return new Forumbus({ url, token, ...agent, retry_seconds: RETRY_SECONDS });
  };
  return {
    ...surroundings,
    // When they are used: some commands call no service, and a hook must not fail aloud.
    get identity() {
      return who();
    },
    get client() {
      return connect(who());
    },
    connect,
    state,
    spool: new Spool(state),
    print: (text, value) => written(stdout, `${values.json ? JSON.stringify(value) : text}\n`),
    tell: text => void stderr.write(`${oneLine(text)}\n`),
  };
}

function failureOf(error: unknown, env: Surroundings['env']): { code: string; exit: number; message: string } {
  if (error instanceof Unreachable) return { code: 'UNREACHABLE', exit: exits.unreachable, message: error.message };
  if (!(error instanceof ForumbusError)) return { code: 'USAGE', exit: exits.refused, message: faultText(error) };
  const { code, message } = error;
  if (!isPassing(error)) return { code, exit: exits.refused, message: refusalText(error) };
  const remedy = error.status === 0 ? unreachableRemedy(env) : 'Try again later.';
  return { code, exit: exits.unreachable, message: `${message} ${remedy}` };
}

async function overview(): Promise<string> {
  const loaded = await Promise.all(commands.map(({ load }) => load()));
  const width = Math.max(...loaded.map(({ name }) => name.length));
  const lines = loaded.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}\n`).join('');
  return `Usage: forumbus [COMMAND] [OPTIONS]

${lines}
\`forumbus COMMAND --help\` explains one, \`forumbus --version\` prints the version.
`;
}

function helpOf(command: Command): string {
  const { summary, help } = command;
  return `${usageOf(command)}

${summary}.
${help ? `\n${help}\n` : ''}
  --url URL          the service; FORUMBUS_URL, or http://127.0.0.1:4010
  --token-file FILE  a file with the token; FORUMBUS_TOKEN_FILE, or the token itself in FORUMBUS_TOKEN
  --run RUN          the run; FORUMBUS_RUN, or <folder>@<branch>
  --agent AGENT      the agent; FORUMBUS_AGENT, or the name of the host, or "agent"
  --json             prints one line of JSON
`;
}

/** Of the package; the compiled form has a copy of package.json at the same distance. */
function version(): string {
  return String(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version);
}

async function done(stream: NodeJS.WriteStream, text: string): Promise<number> {
  await written(stream, text);
  return exits.done;
}

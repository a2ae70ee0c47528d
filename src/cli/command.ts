import type { ParseArgsOptionsConfig, parseArgs } from 'node:util';
import type { Forumbus } from '../client/index.ts';
import type { Identity } from './identity.ts';
import type { Spool } from './spool.ts';
import type { StateFolder } from './state-folder.ts';

/** Exit codes. `unreachable` and `open` are EX_UNAVAILABLE and EX_TEMPFAIL of sysexits.h. */
export const exits = { done: 0, refused: 1, expired: 3, ended: 4, unreachable: 69, open: 75 } as const;

/** The command cannot be done. `message` is one sentence with the remedy. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** What main.ts takes from the process. */
export interface Surroundings {
  env: Record<string, string | undefined>;
  cwd: string;
  stdin: NodeJS.ReadStream;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
}

/** What a command works with. */
export interface Context extends Surroundings {
  identity: Identity;
  client: Forumbus;
  /** A client for another agent. */
  connect(agent: { run_id: string; agent_name: string }): Forumbus;
  state: StateFolder;
  spool: Spool;
  /** Writes the answer: the text, or with --json the value as one line. Resolves once it is written. @throws UsageError */
  print(text: string, value: unknown): Promise<void>;
  /** Writes a line for people to stderr. */
  tell(text: string): void;
}

type Values<O extends ParseArgsOptionsConfig> = ReturnType<
  typeof parseArgs<{ options: O; allowPositionals: true }>
>['values'];

interface Definition<O extends ParseArgsOptionsConfig> {
  name: string;
  /** One line, for the list of commands. */
  summary: string;
  /** After `forumbus <name>`; empty if it takes nothing. */
  usage: string;
  /** Beside those of every command. */
  options: O;
  /** First arguments that the shell completes. */
  words?: readonly string[];
  /** The number of arguments that it takes. */
  counts: { least: number; most: number };
  /** It reads all its arguments itself, `--help` included. */
  ownArguments?: boolean;
  /** Extra lines of the help. */
  help?: string;
  /** @returns the exit code @throws UsageError, ForumbusError */
  run(context: Context, positionals: string[], values: Values<O & typeof sharedOptions>): Promise<number>;
}

export type Command = Definition<ParseArgsOptionsConfig>;

/** Returns its argument; it exists for the type of `values`. */
export function defineCommand<const O extends ParseArgsOptionsConfig>(command: Definition<O>): Command {
  return command as unknown as Command;
}

/** The options of every command that calls the service. */
export const sharedOptions = {
  url: { type: 'string' },
  'token-file': { type: 'string' },
  run: { type: 'string' },
  agent: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const satisfies ParseArgsOptionsConfig;

import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import packageJson from '../../package.json' with { type: 'json' };
import { type Config, readConfig } from '../config.ts';
import { errorCode, troubleOf } from '../db/errors.ts';
import { StartError } from '../errors.ts';
import { createLogger, type Logger, logWarnings } from '../logging.ts';

/** Argument of a command's work. */
export interface CommandContext {
  config: Config;
  log: Logger;
}

/** Prints help at `--help`, the version at `--version`, and ends the process with 0. Without either, does nothing. */
export async function answerHelp(usage: string, purpose: string): Promise<void> {
  const asked = (option: string) => process.argv.slice(2).includes(option);
  const help = asked('--help') || asked('-h');
  if (!help && !asked('--version')) return;
  const text = help ? `Usage: ${usage}\n\n${purpose}\n` : `${packageJson.version}\n`;
  // Nothing goes on meanwhile: the promise stays open.
  await new Promise(() => process.stdout.write(text, () => process.exit(0)));
}

/**
 * Runs an operator's command with the settings and a log. If it throws, logs that as {@link logFailure} and sets the exit
 * code to 1.
 * @param failure log message of an error that is not a StartError
 */
export async function runCommand(failure: string, work: (context: CommandContext) => Promise<void>): Promise<void> {
  const log = createLogger('info');
  logWarnings(log);
  try {
    await work({ config: readConfig(process.env), log });
  } catch (error) {
    logFailure(log, failure, error);
    process.exitCode = 1;
  }
}

/**
 * Logs why a process ends: a StartError, or that the database is unavailable, as one sentence; any other error with its stack.
 * @param failure as for {@link runCommand}
 */
export function logFailure(log: Logger, failure: string, error: unknown): void {
  const trouble = troubleOf(error);
  if (error instanceof StartError) log.fatal(error.message);
  else if (trouble) log.fatal({ code: errorCode(error) }, `${failure} ${trouble.detail} Retry later.`);
  else log.fatal({ err: error }, failure);
}

/**
 * Writes the last text of a command, and ends the process. So it ends although something, such as a handler's timer,
 * keeps it alive.
 */
export function endWith(stream: NodeJS.WriteStream, text: string, code: number): void {
  stream.write(text, () => process.exit(code));
}

/** Opens a resource, such as a database, runs `work` with it, and closes it also after an error. */
export async function withResource<T extends { close(): Promise<void> }, R>(
  opening: Promise<T>,
  work: (resource: T) => Promise<R>,
): Promise<R> {
  const resource = await opening;
  try {
    return await work(resource);
  } finally {
    await resource.close();
  }
}

/**
 * Parses the command line.
 * @param usage the usage line, shown in errors
 * @param count the number of positional arguments, or the least
 * @throws StartError with the reason and the usage line
 */
export function readArguments<O extends ParseArgsOptionsConfig>(
  usage: string,
  count: number | { least: number },
  options: O,
) {
  const [least, most] = typeof count === 'number' ? [count, count] : [count.least, Number.POSITIVE_INFINITY];
  try {
    const read = parseArgs({ options, allowPositionals: true, strict: true });
    const given = read.positionals.length;
    if (given >= least && given <= most) return read;
    throw new Error(`Arguments expected: ${least}${most > least ? ' or more' : ''}, given: ${given}`);
  } catch (error) {
    const [reason] = (error as Error).message.split('. ');
    throw new StartError(`${reason}. Usage: ${usage}`);
  }
}

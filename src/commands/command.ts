import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import packageJson from '../../package.json' with { type: 'json' };
import { type Config, readConfig } from '../config.ts';
import { StartError } from '../errors.ts';
import { createLogger, type Logger, logWarnings } from '../logging.ts';

/** What a command is given. */
export interface Given {
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
 * Runs a command of the operator: reads the settings, and logs why it failed, with 1 as the exit code. A StartError is
 * one sentence; anything else is a fault of the program and is logged with its stack.
 * @param failure said of such a fault
 */
export async function runCommand(failure: string, work: (given: Given) => Promise<void>): Promise<void> {
  const log = createLogger('info');
  logWarnings(log);
  try {
    await work({ config: readConfig(process.env), log });
  } catch (error) {
    if (error instanceof StartError) log.fatal(error.message);
    else log.fatal({ err: error }, failure);
    process.exitCode = 1;
  }
}

/** Lends what `opening` opens, a database mostly, and closes it afterwards, whatever happens. */
export async function lending<T extends { close(): Promise<void> }, R>(
  opening: Promise<T>,
  work: (opened: T) => Promise<R>,
): Promise<R> {
  const opened = await opening;
  try {
    return await work(opened);
  } finally {
    await opened.close();
  }
}

/**
 * Reads the command line.
 * @param usage how the command is called; it is what the operator reads if it was called otherwise
 * @param count how many arguments it takes that are no options
 * @throws StartError
 */
export function readArguments<O extends ParseArgsOptionsConfig>(usage: string, count: number, options: O) {
  try {
    const read = parseArgs({ options, allowPositionals: true, strict: true });
    if (read.positionals.length === count) return read;
    throw new Error(`Arguments expected: ${count}, given: ${read.positionals.length}`);
  } catch (error) {
    const [reason] = (error as Error).message.split('. ');
    throw new StartError(`${reason}. The command is: ${usage}`);
  }
}

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { PROGRAM } from '../invocation.ts';
import type { Context } from './command.ts';

/** `.ts` in a clone, `.js` in the package. */
const EXTENSION = extname(import.meta.url);
const FLOOR = fileURLToPath(new URL('../node-floor.cjs', import.meta.url));
/** As `npm start`. */
const MEMORY = ['--max-semi-space-size=16', '--heap-growing-percent=70'];
/** Of glibc: threads that share the memory that they free give 15 MiB more of it back. As `npm start`. */
const ARENAS = '1';

/** The command line of a program of the service, below src, with this Node. */
export function programOf(file: string, args: readonly string[] = []): string[] {
  const path = fileURLToPath(new URL(`../${file}${EXTENSION}`, import.meta.url));
  return ['--require', FLOOR, ...(file === 'main' ? MEMORY : []), path, ...args];
}

/**
 * The environment of the service. Its database is in the user's state folder unless DATABASE_URL names another. It
 * saves memory unless MALLOC_ARENA_MAX says otherwise.
 */
export function serviceEnv({ env, state }: Pick<Context, 'env' | 'state'>): Record<string, string | undefined> {
  return {
    ...env,
    DATABASE_URL: env.DATABASE_URL || `sqlite:${state.file('forumbus.db')}`,
    MALLOC_ARENA_MAX: env.MALLOC_ARENA_MAX || ARENAS,
  };
}

/** Ends the process with a sentence if this Node is too old for the service. */
export function requireNode(): void {
  createRequire(import.meta.url)(FLOOR);
}

/**
 * Becomes a program of the service: the same process id, so that signals reach it. Where a process cannot be replaced
 * (Windows), the program runs in this one.
 * @param file below src, without extension
 */
export async function become(context: Context, file: string, args: readonly string[] = []): Promise<never> {
  requireNode();
  const env = serviceEnv(context);
  const [path = ''] = programOf(file).slice(-1);
  if (typeof process.execve === 'function' && process.platform !== 'win32' && existsSync(process.execPath)) {
    // Node calls it experimental on stderr.
    process.removeAllListeners('warning');
    process.execve(process.execPath, [PROGRAM, ...programOf(file, args)], env as NodeJS.ProcessEnv);
  }
  Object.assign(context.env, env);
  process.argv.splice(1, Number.POSITIVE_INFINITY, path, ...args);
  await import(pathToFileURL(path).href);
  return new Promise<never>(() => {});
}

import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { extname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { textOf } from '../error-text.ts';
import { StartError } from '../errors.ts';
import { isTopicPattern } from '../subscriptions/patterns.ts';
import { WEBHOOK_PREFIX } from '../subscriptions/subscription.ts';
import type { Handler, Policy } from './handler.ts';
import './handler-import.ts';
import { runAs } from './origin.ts';

interface HandlerModule {
  topic?: unknown;
  handle?: unknown;
  transactional?: unknown;
  policy?: Record<string, unknown>;
  from?: unknown;
}

/**
 * Loads every `.ts`, `.js` and `.mjs` file of a folder as a handler, in alphabetical order. Hidden files,
 * whose names begin with a dot, are left out.
 * @param defaults the policy of a handler that exports none
 * @throws StartError with the file name and the reason if a module does not load or is not a handler
 */
export async function loadHandlers(directory: string, defaults: Policy): Promise<Handler[]> {
  let names: string[];
  try {
    names = await readdir(resolve(directory));
  } catch (error) {
    throw new StartError(
      `The folder HANDLERS_DIR=${directory} cannot be read (${(error as NodeJS.ErrnoException).code}).`,
    );
  }
  const files = names.filter(name => /^[^.].*\.(ts|js|mjs)$/.test(name) && !name.endsWith('.d.ts')).sort();
  return Promise.all(files.map(file => loadHandlerFile(directory, file, defaults)));
}

/**
 * Loads one file of a folder as a handler. Its default export, if that is an object, counts in place of its other exports.
 * @throws StartError as {@link loadHandlers}
 */
export async function loadHandlerFile(directory: string, file: string, defaults: Policy): Promise<Handler> {
  const { href } = pathToFileURL(resolve(directory, file));
  const name = file.replace(/\.\w+$/, '');
  const refuse = (reason: string) => new StartError(`The handler ${join(directory, file)} cannot be used: ${reason}.`);
  if (name.startsWith(WEBHOOK_PREFIX)) throw refuse(`names that begin with ${WEBHOOK_PREFIX} are those of webhooks`);
  let module: HandlerModule;
  try {
    // Whatever its module starts (a timer, a connection) belongs to the handler, too.
    const exported = await runAs({ handler: name }, () => import(href));
    module = typeof exported.default === 'object' && exported.default !== null ? exported.default : exported;
  } catch (error) {
    const place = await placeOf(error, href);
    const reason = textOf(error);
    throw refuse(place ? `${place}: ${reason}` : reason);
  }
  const topics = [module.topic].flat();
  if (module.topic === undefined || typeof module.handle !== 'function')
    throw refuse('it must export topic and handle, or defineHandler({ topic, handle }) as its default');
  const wrong = topics.find(topic => !isTopicPattern(topic));
  if (topics.length === 0 || wrong !== undefined)
    throw refuse(`${JSON.stringify(wrong ?? [])} is not a topic or pattern`);
  const { from } = module;
  if (from !== undefined && from !== 'beginning') throw refuse(`from must be 'beginning' or left out`);
  const policy = { ...defaults, ...module.policy };
  const fault = policyFault(policy, defaults);
  if (fault) throw refuse(fault);
  return {
    name,
    topics: topics as string[],
    transactional: module.transactional === true,
    policy,
    ...(from && { from }),
    handle: module.handle as Handler['handle'],
  };
}

/** The longest that a second Node may take to print a syntax error. Milliseconds. */
const SYNTAX_CHECK_MS = 10_000;

/** Where a module, or one that it imports, could not be loaded, as `file:line:column`; undefined if nothing says it. */
async function placeOf(error: unknown, href: string): Promise<string | undefined> {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const known = excerptPlace(stack) ?? framePlace(stack);
  if (known !== undefined || !(error instanceof SyntaxError)) return known;
  // Node gives nobody the place of a syntax error in JavaScript. It only prints it when the error ends a process. No
  // module is run there, as none was here: they are parsed first.
  const program = `await import(${JSON.stringify(href)})`;
  return new Promise(resolve => {
    const args = [
      '--import',
      new URL(`handler-import${extname(import.meta.url)}`, import.meta.url).href,
      '--input-type=module',
      '--eval',
      program,
    ];
    execFile(process.execPath, args, { timeout: SYNTAX_CHECK_MS }, (_error, _stdout, stderr) =>
      resolve(excerptPlace(stderr)),
    );
  });
}

/**
 * Of what Node prints above the stack of a syntax error: `file:line`, some lines of the file, and `^` below the fault.
 * Nothing stands below it at the end of the file.
 */
function excerptPlace(text: string): string | undefined {
  const [, file, line, excerpt = ''] =
    /^((?:file:\/\/)?\/.+):(\d+)\n([\s\S]*?)\n(?:[ \t]*\n|\w*Error)/m.exec(text) ?? [];
  if (file === undefined) return undefined;
  const last = excerpt.split('\n').at(-1) ?? '';
  const caret = /^\s*\^/.test(last) ? last.indexOf('^') : last.length;
  return `${pathOf(file)}:${line}:${caret + 1}`;
}

/** Where modules are loaded and their imports resolved. */
const FOLDER = new URL('.', import.meta.url).href;

/** Of the first frame in a file that is not in this folder. */
function framePlace(stack: string): string | undefined {
  const frames = stack.matchAll(/^ {4}at (?:.*\()?(?:async )?((?:file:\/\/)?\/[^\s()]+):(\d+):(\d+)\)?$/gm);
  const [, file = '', line, column] = [...frames].find(([, file]) => !file?.startsWith(FOLDER)) ?? [];
  return line === undefined ? undefined : `${pathOf(file)}:${line}:${column}`;
}

function pathOf(file: string): string {
  return file.startsWith('file:') ? fileURLToPath(file) : file;
}

/** The longest that a timer of Node waits; a longer one ends at once. */
const LONGEST_MS = 2 ** 31 - 1;

function policyFault(policy: Policy, known: Policy): string | undefined {
  const unknown = Object.keys(policy).find(name => !(name in known));
  if (unknown) return `its policy has the unknown property ${unknown}`;
  if (policy.dead !== 'pass' && policy.dead !== 'block') return 'policy.dead must be pass or block';
  const times = ['timeout_ms', 'backoff_base_ms', 'backoff_cap_ms'] as const;
  const wrong = times.find(name => !Number.isInteger(policy[name]) || policy[name] < 1 || policy[name] > LONGEST_MS);
  return wrong && `policy.${wrong} must be a whole number of milliseconds, from 1 to ${LONGEST_MS}`;
}

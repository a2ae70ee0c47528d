import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { StartError } from '../errors.ts';
import type { Handler, Policy } from './handler.ts';
import { isTopicPattern } from './registry.ts';

interface HandlerModule {
  topic?: unknown;
  handle?: unknown;
  transactional?: unknown;
  policy?: Record<string, unknown>;
}

/**
 * Loads every `.ts`, `.js` and `.mjs` file of a folder as a handler, in alphabetical order.
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
  const files = names.filter(name => /\.(ts|js|mjs)$/.test(name) && !name.endsWith('.d.ts')).sort();
  return Promise.all(files.map(name => loadHandler(directory, name, defaults)));
}

async function loadHandler(directory: string, name: string, defaults: Policy): Promise<Handler> {
  const refuse = (reason: string) => new StartError(`The handler ${join(directory, name)} cannot be used: ${reason}.`);
  let module: HandlerModule;
  try {
    module = await import(pathToFileURL(resolve(directory, name)).href);
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error));
  }
  const topics = [module.topic].flat();
  if (module.topic === undefined || typeof module.handle !== 'function')
    throw refuse('it must export topic and handle');
  const wrong = topics.find(topic => !isTopicPattern(topic));
  if (topics.length === 0 || wrong !== undefined)
    throw refuse(`${JSON.stringify(wrong ?? [])} is not a topic or pattern`);
  const policy = { ...defaults, ...module.policy };
  const fault = policyFault(policy, defaults);
  if (fault) throw refuse(fault);
  return {
    name,
    topics: topics as string[],
    transactional: module.transactional === true,
    policy,
    handle: module.handle as Handler['handle'],
  };
}

function policyFault(policy: Policy, known: Policy): string | undefined {
  const unknown = Object.keys(policy).find(name => !(name in known));
  if (unknown) return `its policy has the unknown property ${unknown}`;
  if (policy.dead !== 'pass' && policy.dead !== 'block') return 'policy.dead must be pass or block';
  const times = ['timeout_ms', 'backoff_base_ms', 'backoff_cap_ms'] as const;
  const wrong = times.find(name => !Number.isSafeInteger(policy[name]) || policy[name] < 1);
  return wrong && `policy.${wrong} must be a positive whole number of milliseconds`;
}

import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { StartError } from '../errors.ts';
import type { Handler } from './handler.ts';
import { isTopicPattern } from './registry.ts';

/**
 * Loads every `.ts`, `.js` and `.mjs` file of a folder as a handler, in the order of their names.
 * @throws StartError with the file's name and the reason if one does not load or is no handler
 */
export async function loadHandlers(directory: string): Promise<Handler[]> {
  let names: string[];
  try {
    names = await readdir(resolve(directory));
  } catch (error) {
    throw new StartError(
      `The folder HANDLERS_DIR=${directory} cannot be read (${(error as NodeJS.ErrnoException).code}).`,
    );
  }
  const files = names.filter(name => /\.(ts|js|mjs)$/.test(name) && !name.endsWith('.d.ts')).sort();
  return Promise.all(files.map(name => loadHandler(directory, name)));
}

async function loadHandler(directory: string, name: string): Promise<Handler> {
  const refuse = (reason: string) => new StartError(`The handler ${join(directory, name)} cannot be used: ${reason}.`);
  let module: { topic?: unknown; handle?: unknown; transactional?: unknown };
  try {
    module = await import(pathToFileURL(resolve(directory, name)).href);
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error));
  }
  const topics = [module.topic].flat();
  if (module.topic === undefined || typeof module.handle !== 'function')
    throw refuse('it must export topic and handle');
  const wrong = topics.find(topic => !isTopicPattern(topic));
  if (topics.length === 0 || wrong !== undefined) throw refuse(`${JSON.stringify(wrong ?? [])} is no topic or pattern`);
  return {
    name,
    topics: topics as string[],
    transactional: module.transactional === true,
    handle: module.handle as Handler['handle'],
  };
}

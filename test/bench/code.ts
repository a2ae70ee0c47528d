import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The code of a service: how its command line goes on after `node`, and its environment. */
export interface Code {
  options: string[];
  program: string[];
  env: Record<string, string>;
}

/**
 * The code of a clone, started as its `npm start` does: "[NAME=value] exec node --require <file> <options> src/main.ts".
 * @param root of the clone; absolute
 */
export function cloneAt(root: string): Code {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: { start: string } };
  const words = scripts.start.split(' ');
  const settings = words.filter(word => /^[A-Z]\w*=/.test(word)).map(word => word.split('=') as [string, string]);
  return {
    options: words.filter(word => /^--.*=/.test(word)),
    program: [join(root, 'src/main.ts')],
    env: Object.fromEntries(settings),
  };
}

/**
 * The code of an installed package, started as its users start it.
 * @param folder into which it is installed; absolute
 */
export function packageIn(folder: string): Code {
  const program = [join(folder, 'node_modules/forumbus/dist/src/cli/main.js'), 'serve'];
  return { options: [], program, env: { HOME: folder } };
}

// Runs `forumbus hook` in this process, without a shell between. Without the program on the PATH it does nothing, in silence.
import { realpathSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';

for (const folder of (process.env.PATH ?? '').split(delimiter)) {
  let program;
  try {
    program = realpathSync(join(folder, 'forumbus'));
  } catch {
    continue;
  }
  if (!/\.[jt]s$/.test(program)) continue;
  process.argv[1] = program;
  await import(pathToFileURL(program).href);
  break;
}

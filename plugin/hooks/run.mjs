// Runs `forumbus hook` without a shell between. Without the program on the PATH it does nothing, in silence.
import { spawn } from 'node:child_process';
import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const PARENT_MS = 2000;

function find() {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    try {
      const program = realpathSync(join(folder, 'forumbus'));
      if (!isScript(program)) accessSync(program, constants.X_OK);
      if (statSync(program).isFile()) return program;
    } catch {
      // It is not there.
    }
  }
  return undefined;
}

function isScript(program) {
  return /\.[jt]s$/.test(program);
}

/** Some package managers put a shell script before the program. */
function become(program, args) {
  if (typeof process.execve === 'function') {
    // Node calls it experimental on stderr.
    process.removeAllListeners('warning');
    process.execve(program, [program, ...args]);
  }
  const child = spawn(program, args, { stdio: 'inherit' });
  process.once('SIGTERM', () => child.kill('SIGTERM'));
  const host = process.ppid;
  // SIGTERM would withdraw the question; that of a host that has died stays open.
  setInterval(() => process.ppid !== host && child.kill('SIGKILL'), PARENT_MS).unref();
  child.once('error', () => {});
  child.once('close', code => process.exit(code ?? 0));
}

const program = find();
if (program && isScript(program)) {
  process.argv[1] = program;
  await import(pathToFileURL(program).href);
} else if (program) become(program, process.argv.slice(2));

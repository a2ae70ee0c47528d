import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { startApp } from '../helpers/app.ts';
import { cliMain } from '../helpers/cli.ts';
import { freePort } from '../helpers/ports.ts';
import { type AtEnd, forThisTest, NODE_COMPILE_CACHE } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { listen } from '../helpers/socket.ts';
import { type Block, blocksOf, type Page, root } from './markdown.ts';

/** What a clone holds that commands of the pages use. */
const CLONED = ['src', 'migrations', 'openapi', 'operations', 'release', 'test', 'node_modules', 'tsconfig.json'];

/** The port that the pages name. */
const PORT = /\b4010\b/g;

/** Ends what the shell prints for one block. ASCII's record separator. */
const END_OF_BLOCK = '\x1e';

/** curl succeeds at a 4xx or 5xx unless it is told otherwise, and `-s` hides why it fails. */
const CURLRC = 'fail-with-body\nshow-error\nmax-time = 30\n';

/** A block that was run, and what it printed. */
export interface Ran {
  block: Block;
  output: string;
}

/**
 * Follows a page from top to bottom, in a scratch folder that looks like an installed clone:
 * - `sh` blocks are typed into one bash, which ends at the first command that fails, an HTTP error included;
 * - `sh refused: CODE` blocks must end with an HTTP error that has this code;
 * - `sh service` blocks are started beside that bash, until the next one begins or the page ends;
 * - `sh skip: reason` blocks, and those in other languages, are passed over.
 *
 * A page that calls the service and starts none finds one running.
 * @throws if a command fails, with all that the block printed
 */
export async function follow(page: Page, atEnd: AtEnd): Promise<Ran[]> {
  const blocks = blocksOf(page).filter(({ language, keyword }) => language === 'sh' && keyword !== 'skip');
  const starts = blocks.some(({ keyword }) => keyword === 'service');
  const calls = blocks.some(({ code }) => code.search(PORT) >= 0);
  const { port, ...settings } = calls && !starts ? await running(atEnd) : { port: await freePort() };
  const { clone, env } = await makeClone({ ...settings, PORT: String(port) }, atEnd);

  const shell = new Shell(clone, env);
  atEnd(() => shell.end());
  let service: Service | undefined;
  atEnd(() => service?.end());
  const ran: Ran[] = [];
  for (const block of blocks) {
    const at = `${page.name}:${block.line}`;
    const code = block.code.replaceAll(PORT, String(port));
    if (block.keyword === 'service') {
      await service?.end();
      service = new Service(code, clone, env);
      await service.ready(at);
      continue;
    }
    const refused = block.keyword === 'refused';
    const output = await shell.type(code, refused, at);
    if (refused && !output.includes(`"code":"${block.argument}"`)) {
      throw new Error(`${at} should be refused with ${block.argument}, and is answered:\n${output}`);
    }
    ran.push({ block, output });
  }
  return ran;
}

/** A service in this process, since most pages need no more: a process of its own takes seconds of both cores. */
async function running(atEnd: AtEnd): Promise<{ port: number; DATABASE_URL: string }> {
  const service = await startApp('sqlite', { config: { ROLE: 'all' } });
  atEnd(service.close);
  return { port: await listen(service.app), DATABASE_URL: service.url };
}

async function makeClone(
  settings: Record<string, string>,
  atEnd: AtEnd,
): Promise<{ clone: string; env: Record<string, string> }> {
  const { path } = await forThisTest(scratchFolder(), atEnd);
  const [clone, home, bin] = [join(path, 'forumbus'), join(path, 'home'), join(path, 'bin')];
  await Promise.all([mkdir(clone), mkdir(home), mkdir(bin)]);
  await Promise.all([
    ...CLONED.map(name => symlink(join(root, name), join(clone, name))),
    cp(join(root, 'package.json'), join(clone, 'package.json')),
    writeFile(join(home, '.curlrc'), CURLRC),
    // The program of the package, which the pages call by its name.
    writeFile(join(bin, 'forumbus'), `#!/bin/sh\nexec '${process.execPath}' '${cliMain}' "$@"\n`, { mode: 0o755 }),
  ]);
  return {
    clone,
    env: {
      PATH: [bin, process.env.PATH].join(delimiter),
      HOME: home,
      FORUMBUS_URL: `http://127.0.0.1:${settings.PORT}`,
      CURL_HOME: home,
      LANG: 'C.UTF-8',
      NODE_COMPILE_CACHE,
      // On a machine that is busy with other tests a process is late without having too much to do.
      MAX_EVENT_LOOP_DELAY_MS: '0',
      npm_config_update_notifier: 'false',
      ...settings,
    },
  };
}

/** One bash for all blocks of a page, so variables live on from block to block. */
class Shell {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #closed: Promise<unknown>;
  readonly #script: string;
  #output = '';

  constructor(cwd: string, env: Record<string, string>) {
    this.#script = join(String(env.HOME), 'block.sh');
    this.#child = spawn('bash', ['--noprofile', '--norc'], {
      cwd,
      env,
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
    });
    this.#closed = once(this.#child, 'close');
    this.#child.stdout.setEncoding('utf8').on('data', text => {
      this.#output += text;
    });
    this.#child.stdin.on('error', () => {});
    this.#child.stdin.write('exec 2>&1; set -eo pipefail\n');
  }

  /** Runs a block and answers all that it prints. */
  async type(code: string, mustFail: boolean, at: string): Promise<string> {
    await writeFile(this.#script, code);
    const run = `. ${this.#script} </dev/null`;
    const line = mustFail ? `if ${run}; then echo 'This succeeds.'; exit 1; fi` : run;
    this.#output = '';
    this.#child.stdin.write(`${line}; printf '\\036'\n`);
    while (!this.#output.includes(END_OF_BLOCK)) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        await this.#closed;
        throw new Error(`${at} fails with exit code ${this.#child.exitCode}:\n${code}\n${this.#output}`);
      }
      await Promise.race([once(this.#child.stdout, 'data'), this.#closed]);
    }
    return this.#output.replace(END_OF_BLOCK, '');
  }

  async end(): Promise<void> {
    killGroup(this.#child.pid);
    await this.#closed;
  }
}

/** A command that goes on until it is ended: the service. */
class Service {
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #closed: Promise<unknown>;
  readonly #base: string;
  #output = '';

  constructor(code: string, cwd: string, env: Record<string, string>) {
    this.#base = /\bBASE_PATH=(\S+)/.exec(code)?.[1] ?? '';
    this.#child = spawn('bash', ['-c', code], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.#closed = once(this.#child, 'close');
    this.#child.stderr.setEncoding('utf8').on('data', text => {
      this.#output += text;
    });
  }

  /** Comes back when it listens and says that it can take traffic. */
  async ready(at: string): Promise<void> {
    const lines = createInterface(this.#child.stdout);
    const port = await new Promise<number>((resolve, reject) => {
      lines.on('line', line => {
        this.#output += `${line}\n`;
        const listening = /"port":(\d+).*"msg":"listening"/.exec(line);
        if (listening) resolve(Number(listening[1]));
      });
      lines.on('close', () => reject(new Error(`${at} ends before it listens:\n${this.#output}`)));
    });
    const { status } = await fetch(`http://127.0.0.1:${port}${this.#base}/readyz`);
    if (status !== 200) throw new Error(`${at} answers ${status} to GET /readyz.`);
  }

  async end(): Promise<void> {
    killGroup(this.#child.pid);
    await this.#closed;
  }
}

/** Kills the group of a process: with a shell, what it has started. */
function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // Nothing of the group is left.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

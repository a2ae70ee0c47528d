import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Forumbus } from '../../src/client/index.ts';
import { until } from './until.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

export interface Service {
  /** A person's client. */
  person: Forumbus;
  /** The folder of the program `forumbus`. */
  bin: string;
  url: string;
  /** Makes a token; from the first one on, every request needs one. @param args of `forumbus token create` */
  token(...args: string[]): string;
  /** Returns once it has ended, so that its port is free. */
  stop(): Promise<void>;
}

/**
 * Starts a service with a SQLite file in a folder.
 * @param port where hooks and commands look for it, unless another is named
 */
export async function startService(folder: string, port = 4010): Promise<Service> {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  // As the package puts it there: a program that becomes Node.
  const cache = `NODE_COMPILE_CACHE='${join(folder, 'compiled')}'`;
  writeFileSync(join(bin, 'forumbus'), `#!/bin/sh\n${cache} exec '${process.execPath}' '${MAIN}' "$@"\n`, {
    mode: 0o755,
  });
  const url = `http://127.0.0.1:${port}`;
  const database = `sqlite:${join(folder, 'forumbus.db')}`;
  const log = openSync(join(folder, 'service.log'), 'a');
  const child = spawn(join(bin, 'forumbus'), ['serve'], {
    stdio: ['ignore', log, log],
    // The hosts keep this machine so busy that the service would refuse writes.
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      PORT: String(port),
      DATABASE_URL: database,
      MAX_EVENT_LOOP_DELAY_MS: '0',
      MIN_DEFAULT_SECONDS: '1',
    },
  });
  closeSync(log);
  const person = new Forumbus({ url, retry_seconds: 0 });
  const answers = () =>
    person.me().then(
      () => true,
      () => child.exitCode !== null,
    );
  await until(answers, 60_000, () => `the service does not answer; see ${folder}/service.log`);
  if (child.exitCode !== null) throw new Error(`The service has ended; see ${folder}/service.log.`);
  return {
    person,
    bin,
    url,
    token(...args) {
      const { status, stdout, stderr } = spawnSync(join(bin, 'forumbus'), ['token', 'create', ...args], {
        env: { PATH: process.env.PATH, HOME: folder, DATABASE_URL: database },
        encoding: 'utf8',
      });
      if (status !== 0) throw new Error(`\`forumbus token create ${args.join(' ')}\` fails: ${stderr}`);
      return stdout.trim();
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}

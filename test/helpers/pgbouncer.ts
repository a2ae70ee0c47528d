import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from './ports.ts';
import { scratchFolder } from './scratch.ts';

/** Where Debian puts it. */
const PROGRAM = ['/usr/sbin/pgbouncer', 'pgbouncer'].find(path => spawnSync(path, ['--version']).status === 0);
/** Why there is none; undefined if there is one. */
export const noPgBouncer = PROGRAM ? undefined : 'PgBouncer is not installed (apt-get install pgbouncer)';
/** It refuses to run as root. */
const NOBODY = 65_534;

/** A PgBouncer as it comes, in front of the server of `url`. */
export async function startPgBouncer(url: string, mode: 'session' | 'transaction' | 'statement') {
  const port = await freePort();
  const { path, drop } = await scratchFolder();
  const { hostname, port: serverPort, username, password, pathname } = new URL(url);
  await chmod(path, 0o755);
  await writeFile(join(path, 'users.txt'), `"${username}" "${password}"\n`);
  await writeFile(
    join(path, 'pgbouncer.ini'),
    `[databases]
* = host=${hostname} port=${serverPort}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${path}/users.txt
pool_mode = ${mode}
`,
  );
  const isRoot = userInfo().uid === 0;
  const child = spawn(PROGRAM as string, ['-q', join(path, 'pgbouncer.ini')], {
    stdio: 'ignore',
    ...(isRoot && { uid: NOBODY, gid: NOBODY }),
  });
  const exited = once(child, 'exit');
  await listening(port);
  return {
    url: `postgres://${username}:${password}@127.0.0.1:${port}${pathname}`,
    async drop() {
      child.kill('SIGKILL');
      await exited;
      await drop();
    },
  };
}

async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    const socket = connect(port, '127.0.0.1');
    const opened = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (opened) return;
    await delay(25);
  }
  throw new Error(`PgBouncer does not listen on ${port}.`);
}

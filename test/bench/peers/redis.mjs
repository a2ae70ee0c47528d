import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants, mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './postgres.mjs';

/** The first of redis-server and valkey-server that is on the PATH. */
export async function findRedis() {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of ['redis-server', 'valkey-server']) {
      const file = join(folder, name);
      const found = await access(file, constants.X_OK).then(
        () => true,
        () => false,
      );
      if (found) return file;
    }
  }
  return undefined;
}

/** With an append-only file, as the guide of BullMQ to production asks for. */
export async function startRedis(file, appendfsync) {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'forumbus-peers-redis-'));
  const flags = { port, bind: '127.0.0.1', dir: folder, save: '', appendonly: 'yes', appendfsync };
  const server = spawn(
    file,
    Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`]),
    { stdio: 'ignore' },
  );
  const ended = once(server, 'exit');
  for (let attempt = 0; !(await answers(port)); attempt += 1) {
    if (attempt === 100 || server.exitCode !== null) throw new Error(`${file} does not start`);
    await sleep(50);
  }
  const close = async () => {
    server.kill();
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  return { connection: { host: '127.0.0.1', port, maxRetriesPerRequest: null }, close };
}

async function answers(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

/** Says that the process is inside. */
const MARK = 'FORUMBUS_LIVE_INSIDE';

/** Whether this process is the one that {@link enter} has started. */
export function isInside(): boolean {
  return process.env[MARK] === '1';
}

/**
 * Runs this program once more in namespaces of its own, and waits for it. Its network has loopback only, so neither a host
 * nor a hook reaches anything else. When it ends, the kernel ends all processes that are left inside.
 * @returns its exit code
 */
export async function enter(): Promise<number> {
  const apart = ['--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const asUser = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  // The shell stays: as the first process, it reaps orphans, as an init does.
  const shell = ['bash', '-c', 'ip link set lo up && "$0" "$@"; exit $?'];
  const self = [process.execPath, ...process.argv.slice(1)];
  const child = spawn('unshare', [...asUser, ...apart, ...shell, ...self], {
    stdio: 'inherit',
    env: { ...process.env, [MARK]: '1' },
  });
  const ignore = () => {};
  // The terminal tells the child as well; this process waits for it.
  process.on('SIGINT', ignore);
  // With its parent, the kernel ends the first process inside, and with that all others.
  process.on('SIGTERM', () => child.kill('SIGKILL'));
  const [code] = await once(child, 'close');
  return code ?? 1;
}

/** @throws Error if another network can be reached */
export function assertAlone(): void {
  const lines = (file: string) => readFileSync(file, 'utf8').trim().split('\n');
  const links = lines('/proc/net/dev')
    .slice(2)
    .map(line => line.trim().split(':')[0]);
  const routes = lines('/proc/net/route').slice(1);
  if (links.join() !== 'lo' || routes.length > 0) {
    throw new Error(`The network has more than loopback: ${[...links, ...routes].join(', ')}.`);
  }
}

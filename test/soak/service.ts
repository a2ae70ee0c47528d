import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The real service under limits of the operating system. */
export interface LimitedService {
  readonly pid: number;
  readonly origin: string;
  /** Set when the process has ended. */
  readonly ended: () => boolean;
  /** Resident memory; 0 after the end. Bytes. */
  residentBytes(): Promise<number>;
  stop(): Promise<void>;
}

/** Starts `src/main.ts` with so many file descriptors and so much heap (MiB). */
export async function startLimited(
  env: Record<string, string>,
  limits: { descriptors: number; heapMiB: number },
): Promise<LimitedService> {
  const flags = `--max-semi-space-size=16 --heap-growing-percent=70 --max-old-space-size=${limits.heapMiB}`;
  const command = `ulimit -n ${limits.descriptors} && exec "${process.execPath}" ${flags} src/main.ts`;
  const child = spawn('sh', ['-c', command], {
    cwd: root,
    env: { PATH: process.env.PATH, MALLOC_ARENA_MAX: '1', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const origin = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).on('line', line => {
      const port = /"listening"/.test(line) ? JSON.parse(line).port : undefined;
      if (port) resolve(`http://127.0.0.1:${port}`);
    });
    child.once('close', code => reject(new Error(`The service ended before it listened (${code}).`)));
  });
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  return {
    pid: child.pid as number,
    origin,
    ended,
    async residentBytes() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
    },
    stop: () => stopped(child),
  };
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'close');
}

/** Creates a token by the command, beside the service or before it. */
export async function createToken(env: Record<string, string>, ...options: string[]): Promise<string> {
  const args = ['src/commands/token.ts', 'create', ...options];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd: root,
    env: { PATH: process.env.PATH, ...env },
  });
  const token = /fbt_[0-9a-f]{16}_[0-9a-f]{64}/.exec(stdout)?.[0];
  if (!token) throw new Error('The command printed no token.');
  return token;
}

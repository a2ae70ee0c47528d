import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A disk of its own, small enough to be filled. */
export interface Disk {
  path: string;
  /** Leaves so many bytes of it free. */
  fill(free?: number): void;
  /** Takes away what `fill` has put there. */
  clear(): void;
  resize(megabytes: number): void;
}

/** Mounts one for this test. Undefined, and the reason is printed, where that is not allowed. */
export function smallDisk(megabytes: number): Disk | undefined {
  const path = mkdtempSync(join(tmpdir(), 'forumbus-test-disk-'));
  const mount = (...options: string[]) => execFileSync('mount', [...options, path], { stdio: 'pipe' });
  try {
    mount('-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs');
  } catch (error) {
    rmSync(path, { recursive: true });
    leftOut('a disk of its own cannot be mounted here', error);
    return undefined;
  }
  onTestFinished(() => {
    execFileSync('umount', [path]);
    rmSync(path, { recursive: true });
  });
  const ballast = join(path, 'ballast');
  return {
    path,
    fill(free = 0) {
      const { bavail, bsize } = statfsSync(path);
      writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - free)));
    },
    clear: () => rmSync(ballast),
    resize: size => mount('-o', `remount,size=${size}m`),
  };
}

/** Lets no file of a process grow beyond this size; undefined is no limit. False, and the reason is printed, where that cannot be. */
export function limitFileSize(pid: number, bytes: number | undefined): boolean {
  try {
    execFileSync('prlimit', ['--pid', String(pid), `--fsize=${bytes ?? 'unlimited'}:unlimited`], { stdio: 'pipe' });
    return true;
  } catch (error) {
    leftOut('the size of files cannot be limited here', error);
    return false;
  }
}

function leftOut(reason: string, error: unknown): void {
  process.stdout.write(`Left out: ${reason} (${String(error).split('\n')[0]}).\n`);
}

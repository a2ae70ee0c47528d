import { execFileSync } from 'node:child_process';
import { onTestFinished } from 'vitest';
import { scratchFolder } from './scratch.ts';

/**
 * A file system of its own in memory, for this test. Undefined, and a line that says why, where this user cannot mount one.
 * @param bytes all that fits into it
 */
export async function smallDisk(bytes: number): Promise<string | undefined> {
  const { path, drop } = await scratchFolder();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'forumbus-test', path], { stdio: 'pipe' });
  } catch (error) {
    await drop();
    process.stdout.write(`left out, since no file system can be mounted here: ${(error as Error).message}\n`);
    return undefined;
  }
  onTestFinished(async () => {
    execFileSync('umount', [path]);
    await drop();
  });
  return path;
}

/** From now on nothing can be written to it. */
export function makeReadOnly(disk: string): void {
  execFileSync('mount', ['-o', 'remount,ro', disk]);
}

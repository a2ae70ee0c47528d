import { execFile } from 'node:child_process';
import { readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

/** A revision that is checked out beside this clone. */
export interface Worktree {
  path: string;
  /** The short name of its commit. */
  commit: string;
  /** Whether it has libraries of its own. */
  installs: boolean;
  remove(): Promise<void>;
}

/**
 * Checks a revision out. It gets the libraries of the clone if its lock file is the same.
 * @param path does not exist
 * @param clone in which the revision is
 * @throws Error with a sentence if there is no such revision
 */
export async function checkOut(revision: string, path: string, clone = root): Promise<Worktree> {
  const git = async (...args: string[]) => (await run('git', args, { cwd: clone })).stdout.trim();
  const commit = await git('rev-parse', '--short', '--verify', '--quiet', `${revision}^{commit}`).catch(() => {
    throw new Error(`There is no revision ${revision} in this clone.`);
  });
  await git('worktree', 'add', '--detach', path, commit);
  const remove = async () => void (await git('worktree', 'remove', '--force', path));
  try {
    const lockOf = (folder: string) => readFile(join(folder, 'package-lock.json'), 'utf8');
    const installs = (await lockOf(clone)) !== (await lockOf(path));
    if (!installs) await symlink(join(clone, 'node_modules'), join(path, 'node_modules'));
    return { path, commit, installs, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Installs the libraries of a revision as its lock file has them. */
export async function install({ path }: Worktree, signal: AbortSignal): Promise<void> {
  await run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: path, signal });
}

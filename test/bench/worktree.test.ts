import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { checkOut } from './worktree.ts';

/** A clone with two revisions, whose lock files differ, and the second in its folder. */
async function twoRevisions() {
  const { path } = await forThisTest(scratchFolder());
  const clone = join(path, 'clone');
  mkdirSync(join(clone, 'node_modules'), { recursive: true });
  const git = (...args: string[]) => {
    const who = ['-c', 'user.name=test', '-c', 'user.email=test@localhost'];
    return execFileSync('git', [...who, ...args], { cwd: clone, encoding: 'utf8' });
  };
  git('init', '--quiet');
  for (const lock of ['first', 'second']) {
    writeFileSync(join(clone, 'package-lock.json'), lock);
    git('add', 'package-lock.json');
    git('commit', '--quiet', '--message', lock);
  }
  return { clone, beside: join(path, 'beside'), worktrees: () => git('worktree', 'list').trim().split('\n').length };
}

it('a revision with the same lock file shares the libraries, and leaves nothing behind', async () => {
  const { clone, beside, worktrees } = await twoRevisions();
  const worktree = await checkOut('HEAD', beside, clone);
  expect(worktree).toMatchObject({ path: beside, installs: false });
  expect(existsSync(join(beside, 'node_modules'))).toBe(true);
  expect(worktrees()).toBe(2);
  await worktree.remove();
  expect(existsSync(beside)).toBe(false);
  expect(existsSync(join(clone, 'node_modules'))).toBe(true);
  expect(worktrees()).toBe(1);
});

it('a revision with another lock file has to install its own libraries', async () => {
  const { clone, beside } = await twoRevisions();
  expect(await checkOut('HEAD~1', beside, clone)).toMatchObject({ installs: true });
  expect(existsSync(join(beside, 'node_modules'))).toBe(false);
});

it('an unknown revision is refused in one sentence', async () => {
  const { clone, beside } = await twoRevisions();
  await expect(checkOut('nowhere', beside, clone)).rejects.toThrow('There is no revision nowhere in this clone.');
});

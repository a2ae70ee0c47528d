import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it, onTestFinished } from 'vitest';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';

const main = join(import.meta.dirname, 'main.ts');
const isClone = existsSync(join(import.meta.dirname, '../../.git'));
const without = isClone ? '' : ' (needs a git clone)';

it.skipIf(!isClone)(`a comparison that is interrupted leaves neither worktree nor files behind${without}`, async () => {
  const { path } = await forThisTest(scratchFolder());
  const args = [main, '--quick', '--only=c', '--against=HEAD', `--folder=${path}`];
  const bench = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(bench, 'exit');
  onTestFinished(() => void bench.kill('SIGKILL'));
  for await (const line of createInterface(bench.stdout)) if (line.includes('This clone against')) break;
  const worktrees = () => execFileSync('git', ['worktree', 'list'], { cwd: import.meta.dirname, encoding: 'utf8' });
  expect(worktrees()).toContain(path);
  bench.kill('SIGINT');
  expect(await ended).toEqual([130, null]);
  expect(worktrees()).not.toContain(path);
  expect(readdirSync(path)).toEqual([]);
});

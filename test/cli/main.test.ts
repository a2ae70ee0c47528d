import { execFile } from 'node:child_process';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { listen } from '../helpers/socket.ts';

const clone = join(import.meta.dirname, '..', '..');

it('names the run after the folder in which npm was called, wherever the clone is', async () => {
  const service = await startApp('sqlite');
  try {
    const url = `http://127.0.0.1:${await listen(service.app)}`;
    const cwd = (await forThisTest(scratchFolder())).path;
    const env = { PATH: process.env.PATH, HOME: cwd, XDG_STATE_HOME: join(cwd, 'state'), FORUMBUS_URL: url };
    const args = ['--prefix', clone, 'run', '-s', 'forumbus', '--', 'status'];
    const { stdout } = await promisify(execFile)('npm', args, { cwd, env });
    expect(stdout).toBe(`agent in ${basename(cwd)} at ${url}: no signal yet\n`);
  } finally {
    await service.close();
  }
});

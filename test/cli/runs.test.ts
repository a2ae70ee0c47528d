import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { commandLine } from '../helpers/cli.ts';
import { MARK, markedRun } from '../helpers/marked-run.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { listen } from '../helpers/socket.ts';

it('exports a run to a file or to stdout, and erases it', async () => {
  const service = await forThisTest(startApp('sqlite').then(app => ({ app, drop: () => app.close() })));
  const folder = (await forThisTest(scratchFolder())).path;
  const url = `http://127.0.0.1:${await listen(service.app.app)}`;
  const person = commandLine({ env: { XDG_STATE_HOME: join(folder, 'state'), FORUMBUS_URL: url }, cwd: folder });
  await markedRun(service.app.send, 'run-1');
  const file = join(folder, 'run-1.ndjson');

  expect(await person(['run', 'export', 'run-1', '--out', file])).toEqual({ code: 0, out: '', err: '' });
  const { out } = await person(['run', 'export', 'run-1']);
  expect(await readFile(file, 'utf8')).toBe(`${out}\n`);
  expect(out.split('\n').at(-1)).toMatch(/^\{"type":"end"/);
  expect(out).toContain(MARK);

  expect(await person(['run', 'export', 'nobody', '--out', join(folder, 'none')])).toMatchObject({ code: 1 });
  expect(await person(['run', 'forget', 'run-1'])).toMatchObject({
    code: 1,
    err: expect.stringMatching(/export or erase/),
  });
  expect((await readdir(folder)).filter(name => name.startsWith('none'))).toEqual([]);

  const erased = await person(['run', 'erase', 'run-1', '--json']);
  expect(erased).toMatchObject({ code: 0, out: '{"run_id":"run-1","erased":true}' });
  expect((await person(['run', 'export', 'run-1'])).out).not.toContain(MARK);
});

import { mkdir, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { sqliteFile } from '../../src/db/url.ts';
import { StartError } from '../../src/errors.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';

it.each([
  ['sqlite:./data/x.db', './data/x.db'],
  ['sqlite:data/x.db', './data/x.db'],
  ['sqlite:x.db', './x.db'],
  ['sqlite:../x.db', '../x.db'],
  ['sqlite://./data/x.db', './data/x.db'],
  ['sqlite://../x.db', '../x.db'],
  ['sqlite://data/x.db', './data/x.db'],
  ['sqlite:/srv/x.db', '/srv/x.db'],
  ['sqlite:///srv/x.db', '/srv/x.db'],
  ['sqlite:////srv/x.db', '/srv/x.db'],
  ['sqlite://localhost/srv/x.db', '/srv/x.db'],
  ['sqlite:file:./data/x.db', './data/x.db'],
  ['sqlite:file:///srv/x.db', '/srv/x.db'],
  ['sqlite:./my%20data/x%3F%23.db', './my data/x?#.db'],
  ['sqlite:./my data/ü.db', './my data/ü.db'],
  ['sqlite:./100%25.db', './100%.db'],
  ['sqlite:./:memory:', './:memory:'],
])('%s names the file %s', (url, file) => {
  expect(sqliteFile(url)).toBe(resolve(file));
});

it.each([
  ['sqlite::memory:', 'memory'],
  ['sqlite::memory:?cache=shared', 'memory'],
  ['sqlite://:memory:', 'memory'],
  ['sqlite:///:memory:', 'memory'],
  ['sqlite:file::memory:', 'memory'],
  ['sqlite:file:x.db?mode=memory', 'memory'],
  ['sqlite:%3Amemory%3A', 'memory'],
  ['sqlite:./x.db?mode=ro', 'parameters'],
  ['sqlite:./x.db#top', 'parameters'],
  ['sqlite:~/x.db', 'shell'],
  ['sqlite://~/x.db', 'shell'],
  ['sqlite:./100%.db', 'percent-encoding'],
  ['sqlite:./%ff.db', 'percent-encoding'],
  ['sqlite:./x%00.db', 'names no file'],
  ['sqlite://', 'names no file'],
  ['sqlite:./data/', 'names no file'],
  ['sqlite:.', 'names no file'],
  ['sqlite:..', 'names no file'],
  ['sqlite:/', 'names no file'],
])('%s is refused: %s', (url, reason) => {
  expect(() => sqliteFile(url)).toThrow(StartError);
  expect(() => sqliteFile(url)).toThrow(reason);
  expect(() => readConfig({ DATABASE_URL: url })).toThrow(reason);
});

it.each(['postgres://ana@localhost/forumbus', 'postgresql://localhost/forumbus'])('%s names a server', url => {
  expect(sqliteFile(url)).toBeUndefined();
});

it('names a file by what its links lead to, and refuses a link that leads nowhere', async () => {
  const { path } = await forThisTest(scratchFolder());
  await mkdir(join(path, 'data'));
  await symlink(join(path, 'data'), join(path, 'folder'));
  await symlink('nowhere/x.db', join(path, 'dangling.db'));
  expect(sqliteFile(`sqlite:${path}/folder/new/x.db`)).toBe(join(path, 'data/new/x.db'));
  expect(() => sqliteFile(`sqlite:${path}/dangling.db`)).toThrow(/dangling\.db leads to a symbolic link/);
  expect(() => sqliteFile(`sqlite:${path}/dangling.db/x.db`)).toThrow(StartError);
});

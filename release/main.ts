import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import packageJson from '../package.json' with { type: 'json' };
import { audit } from './audit.ts';
import { billFaults, changelogFaults, packageFaults, versionFaults } from './checks.ts';
import { packTwice } from './pack.ts';
import { billOfMaterials } from './sbom.ts';

/*
 * `npm run release -- --dry-run` checks what a release must hold, and prints what it would tag. Without the flag it makes
 * the tag. It publishes nothing.
 */

const root = join(import.meta.dirname, '..');
const { version } = packageJson;
const tag = `v${version}`;
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const versionIn = (file: string) => JSON.parse(read(file)).version as string;

/** @throws Error with what the program says */
function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args[0]} ends with ${status}:\n${stdout}${stderr}`);
  return stdout.trim();
}

/** A check without a note has looked at everything. */
type Check = () => string[] | Promise<{ faults: string[]; unchecked?: string }>;

const checks: [name: string, faults: Check][] = [
  ['work tree', () => (run('git', 'status', '--porcelain') === '' ? [] : ['The work tree has changes.'])],
  [
    'version',
    () => {
      const files = ['package-lock.json', 'plugin/plugin.json', 'plugin/.claude-plugin/plugin.json'];
      const named = Object.fromEntries(files.map(file => [file, versionIn(file)]));
      const openapi = JSON.parse(read('openapi/openapi.json')).info.version;
      return versionFaults(version, { ...named, 'openapi/openapi.json': openapi }, run('git', 'tag').split('\n'));
    },
  ],
  ['changelog', () => changelogFaults(read('CHANGELOG.md'), version, new Date().toISOString().slice(0, 10))],
  ['bill of materials', () => billFaults(JSON.parse(billOfMaterials()), packageJson)],
  ['known vulnerabilities', () => audit(root)],
  ['package', () => packageFaults(packTwice(root))],
  // Installs the package, takes the steps of the Dockerfile, and reads the files to deploy with.
  [
    'package, image and files in use',
    () => {
      run('vitest', 'run', 'test/packaging');
      return [];
    },
  ],
];

const { values } = parseArgs({ options: { 'dry-run': { type: 'boolean' } } });
let ready = true;
for (const [name, faults] of checks) {
  let found: string[];
  let note = '';
  try {
    const result = await faults();
    found = Array.isArray(result) ? result : result.faults;
    if (!Array.isArray(result) && result.unchecked !== undefined) note = ` (${result.unchecked})`;
  } catch (error) {
    found = [String(error)];
  }
  ready &&= found.length === 0;
  process.stdout.write(`${found.length === 0 ? 'ok     ' : 'FAILED '} ${name}${note}\n`);
  for (const fault of found) process.stdout.write(`        ${fault}\n`);
}

const commit = run('git', 'rev-parse', 'HEAD');
if (!ready) {
  process.stdout.write(`${tag} is not ready.\n`);
  process.exitCode = 1;
} else if (values['dry-run']) {
  process.stdout.write(`Would tag ${commit} as ${tag}.\n`);
} else {
  run('git', 'tag', '--annotate', tag, '--message', `Forumbus ${version}`);
  process.stdout.write(`Tagged ${commit} as ${tag}.\n`);
}

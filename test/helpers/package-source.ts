import { cp, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** What the package is made from. */
const SOURCES = [
  'src',
  'migrations',
  'openapi/openapi.json',
  'plugin',
  'package.json',
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
].concat(['', '.build', '.types'].map(part => `tsconfig${part}.json`));

/** Makes a folder in which `npm pack` works, with the dependencies of this clone. */
export async function copyPackageSource(to: string): Promise<void> {
  await mkdir(to);
  await Promise.all(SOURCES.map(name => cp(join(root, name), join(to, name), { recursive: true })));
  await symlink(join(root, 'node_modules'), join(to, 'node_modules'));
}

import { execFile } from 'node:child_process';
import { chmod, mkdir, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import packageJson from '../../package.json' with { type: 'json' };
import { copyPackageSource } from '../helpers/package-source.ts';
import { type Code, packageIn } from './code.ts';

const run = promisify(execFile);
const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));

/**
 * Packs the package and installs it as npm does, with links to the dependencies of this clone: no registry is needed.
 * @param folder exists, and leaves with the run
 */
export async function installPackage(folder: string): Promise<Code> {
  const [source, app] = [join(folder, 'package-source'), join(folder, 'package')];
  const installed = join(app, 'node_modules/forumbus');
  await copyPackageSource(source);
  await run('npm', ['pack', '--pack-destination', folder], { cwd: source });
  await mkdir(installed, { recursive: true });
  const archive = join(folder, `forumbus-${packageJson.version}.tgz`);
  await run('tar', ['xzf', archive, '-C', installed, '--strip-components=1']);
  for (const name of Object.keys(packageJson.dependencies)) {
    const place = join(app, 'node_modules', name);
    await mkdir(dirname(place), { recursive: true });
    await symlink(join(modules, name), place);
  }
  await chmod(join(installed, packageJson.bin.forumbus), 0o755);
  return packageIn(app);
}

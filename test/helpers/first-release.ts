import { execFile } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { type AtEnd, forThisTest, type ServiceProcess, spawnService } from './process.ts';
import { scratchFolder } from './scratch.ts';

/* Release 0.1.0 as a process. Its data is in previous-release.json. */

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

/** The last commit of the release: the next one adds the first migration after 010-trust. */
const COMMIT = '59d50c14b014115102684d526510180a173e7c4f';

const ENV_SCHEMA = `
const { Ajv } = require(${JSON.stringify(join(root, 'node_modules/ajv'))});
exports.envSchema = ({ schema, data }) => {
  new Ajv({ coerceTypes: true, useDefaults: true }).validate(schema, data);
  return data;
};
`;

/** Whether this clone has the code of the release: a shallow one has not. */
export const hasFirstRelease = await run('git', ['cat-file', '-e', `${COMMIT}^{commit}`], { cwd: root }).then(
  () => true,
  () => false,
);

/** Takes the code of the release out of the history. @returns how to start its service */
export async function firstRelease(): Promise<(env: Record<string, string>) => ServiceProcess> {
  const { path } = await forThisTest(scratchFolder());
  const [code, archive] = [join(path, 'code'), join(path, 'code.tar')];
  await mkdir(code);
  await run('git', ['archive', '--output', archive, COMMIT, 'src', 'migrations', 'package.json'], { cwd: root });
  await run('tar', ['-xf', archive, '-C', code]);
  // It runs with the libraries of today. The folder above is searched for what these lack: one has another name now, and
  // what another one did is left to Ajv.
  await symlink(join(root, 'node_modules'), join(code, 'node_modules'));
  const former = join(path, 'node_modules');
  await mkdir(join(former, 'env-schema'), { recursive: true });
  await symlink(join(root, 'node_modules/@prometheus-io/client'), join(former, 'prom-client'));
  await writeFile(join(former, 'env-schema/index.js'), ENV_SCHEMA);
  return env => spawnService(env, { file: join(code, 'src/main.ts') });
}

/** Registers as a process of the release does: by a lock that ends with the connection. @returns what ends it */
export async function registerAsFirstRelease(url: string, atEnd: AtEnd): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`select pg_advisory_lock_shared(hashtextextended('machine-7-1a2b3c4d', 0))`);
  let ended: Promise<void> | undefined;
  const end = () => {
    ended ??= client.end();
    return ended;
  };
  atEnd(end);
  return end;
}

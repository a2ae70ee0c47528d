import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';

/*
 * The command behind `npm run openapi`: records the examples, then writes openapi.json from them and the route schemas.
 * With --check it only compares.
 */

const check = process.argv.includes('--check');
// A process of its own: the service reads the examples when it is imported.
const recorded = spawnSync(process.execPath, [join(import.meta.dirname, 'record.ts'), ...process.argv.slice(2)], {
  stdio: 'inherit',
});
if (recorded.status !== 0) process.exit(1);

const { buildApp } = await import('../src/app.ts');
const { readConfig } = await import('../src/config.ts');
const file = join(import.meta.dirname, 'openapi.json');
const folder = await mkdtemp(join(tmpdir(), 'forumbus-openapi-'));
const app = await buildApp(
  readConfig({ DATABASE_URL: `sqlite:${join(folder, 'scratch.db')}`, ROLE: 'http' }),
  pino({ level: 'silent' }),
);
await app.ready();
const text = `${JSON.stringify(app.swagger(), null, 2)}\n`;
await app.close();
await rm(folder, { recursive: true });

if (!check) {
  await writeFile(file, text);
} else if ((await readFile(file, 'utf8')) !== text) {
  process.stderr.write('openapi/openapi.json is stale; run `npm run openapi`.\n');
  process.exitCode = 1;
}

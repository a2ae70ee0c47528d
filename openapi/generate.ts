import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { buildApp } from '../src/app.ts';
import { readConfig } from '../src/config.ts';
import { completeDocument } from './complete.ts';

/*
 * The command behind `npm run openapi`: records the examples, then writes openapi.json from them and the route schemas.
 * With --check it only compares.
 */

const check = process.argv.includes('--check');
const recorded = spawnSync(process.execPath, [join(import.meta.dirname, 'record.ts'), ...process.argv.slice(2)], {
  stdio: 'inherit',
});
if (recorded.status !== 0) process.exit(1);

const file = join(import.meta.dirname, 'openapi.json');
const folder = await mkdtemp(join(tmpdir(), 'forumbus-openapi-'));
const app = await buildApp(
  readConfig({ DATABASE_URL: `sqlite:${join(folder, 'scratch.db')}`, ROLE: 'http' }),
  pino({ level: 'silent' }),
);
await app.ready();
const examples = JSON.parse(await readFile(join(import.meta.dirname, 'examples.json'), 'utf8'));
const text = `${JSON.stringify(completeDocument(app.swagger(), examples), null, 2)}\n`;
await app.close();
await rm(folder, { recursive: true });

if (!check) {
  await writeFile(file, text);
} else if ((await readFile(file, 'utf8')) !== text) {
  process.stderr.write('openapi/openapi.json is stale; run `npm run openapi`.\n');
  process.exitCode = 1;
}

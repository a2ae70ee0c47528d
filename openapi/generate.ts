import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { buildApp } from '../src/app.ts';
import { readConfig } from '../src/config.ts';

/* The command behind `npm run openapi`: writes openapi.json from the route schemas; with --check it only compares. */

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

if (!process.argv.includes('--check')) {
  await writeFile(file, text);
} else if ((await readFile(file, 'utf8')) !== text) {
  process.stderr.write('openapi/openapi.json is stale; run `npm run openapi`.\n');
  process.exitCode = 1;
}

import { readFile, writeFile } from 'node:fs/promises';
import { pino } from 'pino';
import { expect } from 'vitest';
import { openDatabase } from '../../src/db/open.ts';
import { scratchDatabase } from './engines.ts';
import { forThisTest, runCommand } from './process.ts';

/** The path in a `sqlite:` URL. */
export const fileOf = (url: string): string => url.slice('sqlite:'.length);

let template: Promise<Buffer> | undefined;

/** The URL of a SQLite database without data, that nobody uses. */
export async function migrated(): Promise<string> {
  template ??= makeTemplate();
  const { url } = await forThisTest(scratchDatabase('sqlite'));
  await writeFile(fileOf(url), await template);
  return url;
}

async function makeTemplate(): Promise<Buffer> {
  const { url, drop } = await scratchDatabase('sqlite');
  await migrate(url);
  const content = await readFile(fileOf(url));
  await drop();
  return content;
}

/** Brings a database up to date, in this process. */
export async function migrate(url: string): Promise<void> {
  const db = await openDatabase(url, pino({ level: 'silent' }));
  await db.migrate();
  await db.close();
}

/** Overwrites every page of a database but the first ones. */
export async function damage(path: string): Promise<void> {
  const content = await readFile(path);
  content.fill(0xa5, 4096 * 4);
  await writeFile(path, content);
}

/** Runs a command that has to fail and answers its one sentence. */
export async function refusalOf(name: string, args: string[], env: Record<string, string>): Promise<string> {
  const command = await runCommand(name, args, env);
  expect(command.code, command.output).toBe(1);
  expect(command.stderr + command.strays).toBe('');
  expect(command.logs, command.output).toHaveLength(1);
  return command.logs[0]?.msg ?? '';
}

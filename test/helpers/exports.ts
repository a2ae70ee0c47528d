import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { startApp, type TestApp } from './app.ts';
import { type Scratch, scratchDatabase } from './engines.ts';
import { forThisTest, runCommand } from './process.ts';
import { scratchFolder } from './scratch.ts';

/** The text of a run's export, without the sequence up to which the whole log went then. */
export async function exportOf(app: TestApp, run_id: string): Promise<string> {
  const { statusCode, body } = await app.app.inject(`/runs/${encodeURIComponent(run_id)}/export`);
  expect(statusCode).toBe(200);
  return body;
}

/** Without `up_to`, the only thing that may be another one after an import. */
export function comparable(text: string): string {
  return text.replace(/"up_to":\d+/, '"up_to":0');
}

/** Writes exports into files of their own, and answers their paths. */
export async function exportFiles(texts: readonly (string | Uint8Array)[], ending = '.ndjson'): Promise<string[]> {
  const { path } = await forThisTest(scratchFolder());
  return Promise.all(
    texts.map(async (text, index) => {
      const file = join(path, `run-${index}${ending}`);
      await writeFile(file, text);
      return file;
    }),
  );
}

/** Imports files into a database of an engine by the command, and answers the database. */
export async function imported(engine: Engine, files: string[]): Promise<Scratch> {
  const database = await forThisTest(scratchDatabase(engine));
  const command = await runCommand('import', files, { DATABASE_URL: database.url });
  expect(command.code, command.output).toBe(0);
  return database;
}

/** A service for this test; on a database of its own unless one is given. */
export async function serviceOn(engine: Engine, setup: Parameters<typeof startApp>[1] = {}): Promise<TestApp> {
  const app = await startApp(engine, setup);
  onTestFinished(() => app.close());
  return app;
}

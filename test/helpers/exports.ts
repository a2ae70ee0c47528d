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

/** The export of an open run with many discussions, each with one post. */
export function largeExport(discussions: number): string {
  const [run_id, at, actor] = ['large', '2026-11-22T09:30:00.000Z', { type: 'operator', name: 'ana' }];
  const numbers = Array.from({ length: discussions }, (_, index) => index);
  const uid = (number: number) => number.toString(16).padStart(32, '0');
  const brief = { ticket: null, title: 'Large', done_criteria: null, agents: [] };
  const gate = { ready: false, reasons: [{ code: 'NO_AGENTS', detail: 'No agent takes part.' }], blocking_count: 0 };
  const none = { agents: [], agents_count: 0, absent_count: 0, open_questions: [], open_questions_count: 0 };
  const run = {
    ...{ run_id, status: 'running', ticket: null, brief, ...none, agents_url: '/a', open_questions_url: '/q' },
    ...{ gate, erased_at: null, version: 1 },
  };
  const thread = (number: number) => ({
    ...{ thread_id: `thr_${uid(number)}`, kind: 'discussion', title: 'Talk', state: 'new', priority: 'normal' },
    ...{ assignee: null, ticket: null, run_id, agent_name: null, unanswered: false, posts_count: 1 },
    ...{ last_sequence: 2 * number + 3, last_actor: actor, opened_by: actor, opened_at: at, updated_at: at },
    ...{ closed_at: null, version: 1 },
  });
  const event = (sequence: number, event_type: string, thread_id: string | null, payload: object) => ({
    ...{ event_id: `evt_${uid(sequence)}`, sequence, event_type, event_version: 1, occurred_at: at, thread_id, run_id },
    ...{ ticket: null, agent_name: null, actor, correlation_id: 'c', causation_id: null, token_id: null, payload },
  });
  const lines = [
    { type: 'run', format_version: 1, up_to: 2 * discussions + 1, run },
    ...numbers.map(number => ({ type: 'thread', thread: thread(number) })),
    { type: 'event', event: event(1, 'forum.run.briefed', null, brief) },
    ...numbers.flatMap(number => {
      const { thread_id, kind, title, priority } = thread(number);
      return [
        { type: 'event', event: event(2 * number + 2, 'forum.thread.opened', thread_id, { kind, title, priority }) },
        { type: 'event', event: event(2 * number + 3, 'forum.post.added', thread_id, { body: 'Words '.repeat(50) }) },
      ];
    }),
  ];
  return [...lines, { type: 'end', lines: lines.length }].map(line => `${JSON.stringify(line)}\n`).join('');
}

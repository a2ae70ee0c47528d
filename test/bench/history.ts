import { existsSync, renameSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import BetterSqlite from 'better-sqlite3';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { buildApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import type { OutboxStats } from '../../src/outbox/schemas.ts';
import type { HandlerDefinition } from '../../src/worker/handler.ts';
import { copiesOf, multiply, type Words } from './copies.ts';
import { newLoad } from './load.ts';
import { type Ran, recordStatements } from './recording.ts';
import { say } from './report.ts';

/*
 * A SQLite file with a long history of signals: 1,000,000 events, as many sent messages, 110,000 threads, and the words
 * of their posts. A hundred agents send some signals to the service itself; then all their rows are copied in SQL, again
 * and again, with other ids and sequences. As long as the names of columns say what they hold, nothing has to be amended
 * here when the schema changes. No one would read these threads (their payloads name each other's ids), but every index
 * has its size.
 */

/** To be raised when what is seeded changes. */
const VERSION = 2;
/** Of one history of a hundred agents, which has 900 events. */
const COPIES = 1110;
const CONNECTIONS = 20;
/** As the empty handler of the services, whose deliveries are part of the history. */
const EVERYTHING: HandlerDefinition = {
  ...{ name: 'bench', topics: ['forum.events.**', 'bench.**'], transactional: false },
  handle: async () => {},
};
/** Each of a connection's five agents asks, is answered, completes and is validated. */
const SIGNALS = 20;

/**
 * Seeds the file, unless it has been seeded by this version for the present schema.
 * @param share of the whole history, 1 or less
 */
export async function ensureHistory(file: string, share: number): Promise<void> {
  const copies = Math.max(1, Math.round(COPIES * share));
  const marker = VERSION * 10_000 + copies;
  const fresh = `${file}.fresh`;
  remove(fresh);
  const words = await template(fresh);
  if (existsSync(file) && markerOf(file) === marker && schemaOf(file) === schemaOf(fresh)) {
    remove(fresh);
    return;
  }
  const began = performance.now();
  remove(file);
  const db = new BetterSqlite(fresh);
  multiply(db, copies, wordsOf(words));
  db.pragma(`user_version = ${marker}`);
  db.pragma('journal_mode = WAL');
  db.close();
  renameSync(fresh, file);
  remove(fresh);
  say(`  seeded ${copiesOf(file)} in ${Math.round((performance.now() - began) / 1000)} s`);
}

function remove(file: string): void {
  for (const suffix of ['', '-wal', '-shm', '.lock']) rmSync(file + suffix, { force: true });
}

function markerOf(file: string): number {
  const db = new BetterSqlite(file, { readonly: true });
  const marker = db.pragma('user_version', { simple: true });
  db.close();
  return marker as number;
}

function schemaOf(file: string): string {
  const db = new BetterSqlite(file, { readonly: true });
  const rows = db.prepare('select sql from sqlite_schema where sql is not null order by name').pluck().all();
  db.close();
  return rows.join('\n');
}

/** A file with the history of a hundred agents. Answers what was run to store it. */
async function template(file: string): Promise<Ran[]> {
  const config = readConfig({ DATABASE_URL: `sqlite:${file}` });
  const app = await buildApp(config, pino({ level: 'silent' }), { handlers: [EVERYTHING] });
  await app.ready();
  const ended = recordStatements();
  const speakers = newLoad(CONNECTIONS, 'mixed');
  for (let number = 0; number < CONNECTIONS * SIGNALS; number += 1) {
    const request = (speakers[number % CONNECTIONS] as () => string)();
    const payload = request.slice(request.indexOf('\r\n\r\n') + 4);
    const headers = { 'content-type': 'application/json' };
    const { statusCode, body } = await app.inject({ method: 'POST', url: '/control-signals', headers, payload });
    if (statusCode !== 201) throw new Error(`The service answered ${statusCode} ${body}`);
  }
  await dispatched(app);
  await app.close();
  return ended();
}

async function dispatched(app: FastifyInstance): Promise<void> {
  for (let tries = 0; tries < 3000; tries += 1) {
    const { by_status } = (await app.inject('/outbox/stats')).json<OutboxStats>();
    if (by_status.pending + by_status.processing + by_status.failed === 0) return;
    await delay(20);
  }
  throw new Error('The messages of the history are not dispatched.');
}

/** The words of each post: they can be written to the index but not be read from it. */
function wordsOf(ran: Ran[]): Words[] {
  return ran.flatMap(({ text, parameters }) => {
    const [, table] = /^\s*insert into "?(search_(?:titles|openings|replies|questions))"? /i.exec(text) ?? [];
    if (table === undefined) return [];
    const words = String(parameters.at(-1));
    const [opened_sequence, post] = parameters.slice(0, -1).map(Number).toReversed() as [number, number | undefined];
    return [{ table, opened_sequence, ...(post !== undefined && { post }), words }];
  });
}

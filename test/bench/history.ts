import { existsSync, renameSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import BetterSqlite from 'better-sqlite3';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { buildApp } from '../../src/app.ts';
import { readConfig } from '../../src/config.ts';
import type { OutboxStats } from '../../src/outbox/schemas.ts';
import type { HandlerDefinition } from '../../src/worker/handler.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { multiply, type Words } from './copies.ts';
import { newLoad } from './load.ts';
import { multiplyOnServer } from './postgres-copies.ts';
import { type Ran, recordStatements } from './recording.ts';
import { say } from './report.ts';

/*
 * A database with a long history of signals: 1,000,000 events, as many sent messages, 110,000 threads, and the words
 * of their posts. A hundred agents send some signals to the service itself; then all their rows are copied in SQL, again
 * and again, with other ids and sequences. As long as the names of columns say what they hold, nothing has to be amended
 * here when the schema changes. No one would read these threads (their payloads name each other's ids), but every index
 * has its size.
 */

/** To be raised when what is seeded changes. */
const VERSION = 3;
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
 * Seeds a SQLite file, unless it has been seeded by this version for the present schema.
 * @param share of the whole history, 1 or less
 */
export async function ensureHistory(file: string, share: number): Promise<void> {
  const copies = copiesFor(share);
  const marker = VERSION * 10_000 + copies;
  const fresh = `${file}.fresh`;
  remove(fresh);
  const app = await serviceOn(`sqlite:${fresh}`);
  const ended = recordStatements();
  await live(app);
  const words = wordsOf(ended());
  if (existsSync(file) && markerOf(file) === marker && schemaOf(file) === schemaOf(fresh)) {
    remove(fresh);
    return;
  }
  const began = performance.now();
  remove(file);
  const db = new BetterSqlite(fresh);
  multiply(db, copies, words);
  db.pragma(`user_version = ${marker}`);
  db.pragma('journal_mode = WAL');
  db.close();
  renameSync(fresh, file);
  remove(fresh);
  await saySeeded(`sqlite:${file}`, began);
}

/** Seeds an empty PostgreSQL database, as a superuser. */
export async function seedHistory(url: string, share: number): Promise<void> {
  const began = performance.now();
  await live(await serviceOn(url));
  await multiplyOnServer(url, copiesFor(share));
  await saySeeded(url, began);
}

function copiesFor(share: number): number {
  return Math.max(1, Math.round(COPIES * share));
}

async function saySeeded(url: string, began: number): Promise<void> {
  const tables = ['events', 'deliveries', 'threads'];
  const [counts = {}] = await sqlBeside(
    url,
    `select ${tables.map(name => `(select count(*) from ${name}) as ${name}`)}`,
  );
  const said = tables.map(name => `${Number(counts[name]).toLocaleString('en')} ${name}`).join(', ');
  say(`  seeded ${said} in ${Math.round((performance.now() - began) / 1000)} s`);
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

async function serviceOn(url: string): Promise<FastifyInstance> {
  const config = readConfig({ DATABASE_URL: url });
  const app = await buildApp(config, pino({ level: 'silent' }), { handlers: [EVERYTHING] });
  await app.ready();
  return app;
}

/** The history of a hundred agents, until it is dispatched and the service is closed. */
async function live(app: FastifyInstance): Promise<void> {
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

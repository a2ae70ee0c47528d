/*
 * Job queues that others use, on the work of our own bench: one process, N messages of about 400 bytes without keys,
 * enqueued one by one with up to 64 in flight, enqueued in bulk, and dispatched to an empty handler once all of them
 * are there. This folder has dependencies of its own, and its own Node:
 *
 *   npm ci && npm start
 *   npm start -- --messages=10000 --only=plainjob,pg-boss --json
 *
 * PEERS_DATABASE_URL names a PostgreSQL server on which databases may be created; without it one is started here, with
 * fsync and synchronous_commit at their defaults. BullMQ is measured on PostgreSQL, and on Redis or Valkey if there is
 * one on the PATH.
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { measure } from './measure.mjs';
import { openPostgres } from './postgres.mjs';

const PEERS = ['plainjob', 'graphile-worker', 'pg-boss', 'bullmq'];
/** Longer than ten times 10,000 messages take. */
const DEADLINE_MS = 15 * 60_000;

const { values } = parseArgs({
  options: { messages: { type: 'string', default: '10000' }, only: { type: 'string' }, json: { type: 'boolean' } },
});
const messages = Number(values.messages);
if (!Number.isInteger(messages) || messages < 1) throw new Error('--messages takes a whole number above 0');
const chosen = values.only?.split(',') ?? PEERS;
const unknown = chosen.filter(peer => !PEERS.includes(peer));
if (unknown.length > 0) throw new Error(`--only knows ${PEERS.join(', ')}, not ${unknown.join(', ')}`);

/** What has to be closed at the end, whatever happens: the last one first. */
const closing = [];
const context = { postgres: once(() => opened(openPostgres())), opened };
const stopped = new Promise((_, reject) => {
  setTimeout(() => reject(new Error(`not done after ${DEADLINE_MS / 60_000} minutes`)), DEADLINE_MS).unref();
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => reject(new Error(`stopped by ${signal}`)));
  // Some peers leave an error to nobody, and the servers started here must not outlive it.
  for (const event of ['uncaughtException', 'unhandledRejection']) process.on(event, reject);
});
let code = 0;
try {
  await Promise.race([runAll(), stopped]);
} catch (error) {
  process.stderr.write(`${error.stack}\n`);
  code = 1;
}
for (const close of closing.reverse()) await close().catch(error => process.stderr.write(`${error.stack}\n`));
// What is still going on after the deadline or a signal must not keep the process alive.
process.exit(code);

async function runAll() {
  const rows = [];
  for (const peer of chosen) {
    const { version } = JSON.parse(
      await readFile(new URL(`node_modules/${peer}/package.json`, import.meta.url), 'utf8'),
    );
    const { variants } = await import(`./${peer}.mjs`);
    for (const { name, skip, open } of await variants(context)) {
      if (skip !== undefined) {
        if (values.json) process.stdout.write(`${JSON.stringify({ peer: name, skipped: skip })}\n`);
        else process.stderr.write(`${name}: skipped, ${skip}\n`);
        continue;
      }
      const { durable, note, ...queue } = await open();
      const row = { peer: name, version, ...(await measure(queue, messages)), durable, note };
      await queue.close();
      rows.push(row);
      if (values.json) process.stdout.write(`${JSON.stringify(row)}\n`);
      else process.stderr.write(`${name}: done\n`);
    }
  }
  if (!values.json) printTable(rows);
}

function printTable(rows) {
  const head = ['peer', 'version', 'enqueues/s', 'in bulk/s', 'dispatches/s', 'safe against power loss', 'note'];
  const lines = rows.map(row => [
    row.peer,
    row.version,
    row.enqueues_per_s.toString(),
    row.bulk_enqueues_per_s?.toString() ?? '',
    row.dispatches_per_s.toString(),
    row.durable ? 'yes' : 'no',
    row.note ?? '',
  ]);
  for (const line of [head, head.map(() => '---'), ...lines]) process.stdout.write(`| ${line.join(' | ')} |\n`);
}

/** Remembers that something was opened, to close it at the end. */
async function opened(promise) {
  const thing = await promise;
  closing.push(() => thing.close());
  return thing;
}

function once(start) {
  let started;
  return () => {
    started ??= start();
    return started;
  };
}

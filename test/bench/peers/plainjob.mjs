import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import { better, defineQueue, defineWorker } from 'plainjob';

/** Its default logger prints several lines for every job. */
const logger = { error() {}, warn() {}, info() {}, debug() {} };

/** As it sets itself up, and with commits that survive a power loss. */
export function variants(context) {
  return [
    { name: 'plainjob', open: () => open(context) },
    { name: 'plainjob, synchronous=FULL', open: () => open(context, 'FULL') },
  ];
}

async function open({ opened }, synchronous) {
  const folder = await mkdtemp(join(tmpdir(), 'forumbus-peers-'));
  await opened({ close: () => rm(folder, { recursive: true, force: true }) });
  const db = new BetterSqlite(join(folder, 'plainjob.db'));
  const queue = defineQueue({ connection: better(db), logger });
  // Only now: defineQueue sets synchronous to NORMAL itself.
  if (synchronous) db.pragma(`synchronous = ${synchronous}`);
  const level = db.pragma('synchronous', { simple: true });
  return {
    durable: level >= 2,
    note: `SQLite, WAL, synchronous=${['OFF', 'NORMAL', 'FULL', 'EXTRA'][level]}; add() blocks, so one in flight`,
    enqueue: message => queue.add('bench', message),
    enqueueMany: messages => queue.addMany('bench', messages),
    async dispatch(handle, count) {
      let completed = 0;
      const worker = defineWorker('bench', () => handle(), {
        queue,
        logger,
        // Called when a job is stored as done. The loop of the worker leaves no turn to anybody else while there are
        // jobs, so this is also the place to stop it.
        onCompleted() {
          completed += 1;
          if (completed === count) void worker.stop();
        },
      });
      await worker.start();
      return async () => {};
    },
    async close() {
      queue.close();
      db.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

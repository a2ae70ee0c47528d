import { createPostgresBackend, Queue, runMigrations, Worker } from 'bullmq';
import { findRedis, startRedis } from './redis.mjs';

/** The most that BullMQ gives figures for on PostgreSQL, with as many connections, of which the queue has its own. */
const CONCURRENCY = 32;

export async function variants(context) {
  const redis = await findRedis();
  const skip = redis === undefined ? 'there is no redis-server or valkey-server on the PATH' : undefined;
  return [
    { name: 'bullmq, PostgreSQL', open: () => onPostgres(context) },
    { name: 'bullmq, Redis', skip, open: () => onRedis(context, redis, 'everysec') },
    { name: 'bullmq, Redis, appendfsync=always', skip, open: () => onRedis(context, redis, 'always') },
  ];
}

async function onPostgres({ postgres }) {
  const server = await postgres();
  const database = await server.createDatabase();
  await runMigrations(database.client);
  const connection = { connectionString: database.url, max: CONCURRENCY };
  return open({
    connection,
    backend: [createPostgresBackend],
    durable: server.durable,
    note: server.note,
    close: database.close,
  });
}

async function onRedis({ opened }, file, appendfsync) {
  const { connection, close } = await opened(startRedis(file, appendfsync));
  const durable = appendfsync === 'always';
  return open({ connection, backend: [], durable, note: `append-only file, appendfsync=${appendfsync}`, close });
}

function open({ connection, backend, durable, note, close }) {
  const queue = new Queue('bench', { connection }, ...backend);
  queue.on('error', error => process.stderr.write(`${error.stack}\n`));
  return {
    durable,
    note: `${note}; ${CONCURRENCY} jobs at once`,
    enqueue: message => queue.add('bench', message),
    enqueueMany: messages => queue.addBulk(messages.map(data => ({ name: 'bench', data }))),
    async dispatch(handle, count) {
      const all = Promise.withResolvers();
      let left = count;
      const options = { connection, concurrency: CONCURRENCY, removeOnComplete: { count: 0 } };
      const worker = new Worker('bench', async () => handle(), options, ...backend);
      worker.on('error', all.reject);
      worker.on('failed', (_, error) => all.reject(error));
      // Emitted when a job is stored as completed.
      worker.on('completed', () => {
        left -= 1;
        if (left === 0) all.resolve();
      });
      await all.promise;
      return () => worker.close();
    },
    async close() {
      await queue.close();
      await close();
    },
  };
}

import { PgBoss } from 'pg-boss';
import { until } from './measure.mjs';

const BATCH = 1_000;
/** A second loop fetches while the first one completes; more of them were not faster. */
const LOOPS = 2;

export function variants(context) {
  return [{ name: 'pg-boss', open: () => open(context) }];
}

async function open({ postgres }) {
  const server = await postgres();
  const database = await server.createDatabase();
  const boss = new PgBoss({ connectionString: database.url, max: 25 });
  boss.on('error', error => process.stderr.write(`${error.stack}\n`));
  await boss.start();
  await boss.createQueue('bench');
  return {
    durable: server.durable,
    note: `${server.note}; ${LOOPS} loops with batches of ${BATCH}, without a pause while they are full`,
    enqueue: message => boss.send('bench', message),
    enqueueMany: messages =>
      boss.insert(
        'bench',
        messages.map(data => ({ data })),
      ),
    async dispatch(handle, count) {
      const all = Promise.withResolvers();
      let left = count;
      const options = { batchSize: BATCH, localConcurrency: LOOPS, burstWhenBatchFull: true };
      await boss.work('bench', options, async jobs => {
        for (const _ of jobs) handle();
        left -= jobs.length;
        if (left === 0) all.resolve();
      });
      await all.promise;
      await until(() => database.isEmpty(`pgboss.job where name = 'bench' and state < 'completed'`));
      return () => boss.offWork('bench', { wait: true });
    },
    async close() {
      await boss.stop();
      await database.close();
    },
  };
}

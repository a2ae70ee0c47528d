import { until } from './measure.mjs';

// As its own performance test does, or it builds a line for the log of every job. It is read when the module is loaded.
process.env.NO_LOG_SUCCESS = '1';
const { Logger, makeWorkerUtils, run } = await import('graphile-worker');

const logger = new Logger(() => () => {});

export function variants(context) {
  return [{ name: 'graphile-worker', open: () => open(context) }];
}

async function open({ postgres }) {
  const server = await postgres();
  const database = await server.createDatabase();
  // The settings that its documentation names for its fastest figures (https://worker.graphile.org/docs/performance).
  const worker = {
    connectionString: database.url,
    concurrentJobs: 24,
    maxPoolSize: 25,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger,
  };
  const utils = await makeWorkerUtils({ preset: { worker } });
  await utils.migrate();
  return {
    durable: server.durable,
    note: `${server.note}; 24 jobs at once, local queue of 500, batched completion`,
    enqueue: message => utils.addJob('bench', message),
    enqueueMany: messages => utils.addJobs(messages.map(payload => ({ identifier: 'bench', payload }))),
    async dispatch(handle, count) {
      const all = Promise.withResolvers();
      let left = count;
      const bench = () => {
        handle();
        left -= 1;
        if (left === 0) all.resolve();
      };
      const runner = await run({ preset: { worker }, taskList: { bench }, parsedCronItems: [], noHandleSignals: true });
      await Promise.race([all.promise, runner.promise]);
      // Completing a job deletes it.
      await until(() => database.isEmpty('graphile_worker._private_jobs'));
      return () => runner.stop();
    },
    async close() {
      await utils.release();
      await database.close();
    },
  };
}

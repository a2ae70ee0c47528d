import { setTimeout as sleep } from 'node:timers/promises';

const IN_FLIGHT = 64;
const BULK = 1_000;
/** Enqueued each way and dispatched before a clock runs: the code is compiled and the statements are prepared by then. */
const WARM = 5_000;

/**
 * Rates per second of a queue: `enqueue(message)`, `enqueueMany(messages)` if it has that, and `dispatch(handle, count)`,
 * which starts a worker and resolves to what stops it once `count` messages are handled and stored as such.
 */
export async function measure(queue, count) {
  await enqueueAll(queue, WARM);
  await enqueueInBulk(queue, WARM);
  await dispatchAll(queue, queue.enqueueMany ? 2 * WARM : WARM);

  const enqueued = await enqueueAll(queue, count);
  const dispatched = await dispatchAll(queue, count);
  const bulk = await enqueueInBulk(queue, count);
  return {
    enqueues_per_s: rate(count, enqueued),
    bulk_enqueues_per_s: bulk === undefined ? undefined : rate(count, bulk),
    dispatches_per_s: rate(count, dispatched),
  };
}

async function enqueueAll(queue, count) {
  const all = messages(count);
  const began = performance.now();
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const message = all[next];
      next += 1;
      await queue.enqueue(message);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return performance.now() - began;
}

async function enqueueInBulk(queue, count) {
  if (!queue.enqueueMany) return undefined;
  const all = messages(count);
  const began = performance.now();
  for (let from = 0; from < count; from += BULK) await queue.enqueueMany(all.slice(from, from + BULK));
  return performance.now() - began;
}

async function dispatchAll(queue, count) {
  let handled = 0;
  const began = performance.now();
  const stop = await queue.dispatch(() => {
    handled += 1;
  }, count);
  const took = performance.now() - began;
  await stop();
  if (handled !== count) throw new Error(`${handled} handler calls for ${count} messages`);
  return took;
}

/** About 400 bytes of JSON each, as a control signal has. */
function messages(count) {
  return Array.from({ length: count }, (_, index) => ({
    schema_version: 1,
    control_type: 'guidance_request',
    signal_id: `sig_${index.toString(16).padStart(32, '0')}`,
    run_id: `run-${index % 500}`,
    agent_name: 'builder',
    attempt: 1,
    occurred_at: '2026-01-01T12:00:00.000Z',
    question: 'Which region shall the new service run in? Both have room, the second one costs a tenth less.',
    options: [{ label: 'eu-west-1' }, { label: 'us-east-1' }],
    urgency: 'normal',
  }));
}

/** Waits until `isSo`, asking every two milliseconds. */
export async function until(isSo) {
  while (!(await isSo())) await sleep(2);
}

function rate(count, milliseconds) {
  return Math.round(count / (milliseconds / 1000));
}

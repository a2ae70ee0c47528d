import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import { pino } from 'pino';
import { readConfig } from '../../src/config.ts';
import { createServices } from '../../src/services.ts';

/*
 * How long a message takes to be dispatched to an empty handler, on SQLite: of 1,000 messages on an empty outbox, and of
 * 100,000 behind 1,000,000 sent ones with another 100,000 that wait for one failing head. Prints messages per second
 * and their ratio, which should be near 1: neither history nor backlog may cost anything.
 *
 *   node test/bench/drain.ts
 */

/** Messages handled before the clock runs: the code is compiled and the statements are prepared by then. */
const WARM = 2_000;

const small = await drain({ messages: 1_000, sent: 0, stuck: 0 });
const large = await drain({ messages: 100_000, sent: 1_000_000, stuck: 100_000 });
print('1,000 messages, empty outbox', small);
print('100,000 messages, 1,000,000 sent, 100,000 behind a failing head', large);
process.stdout.write(`ratio ${(large / small).toFixed(2)}\n`);

/** Messages per second. */
async function drain({ messages, sent, stuck }: { messages: number; sent: number; stuck: number }): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'forumbus-bench-'));
  const file = join(folder, 'bench.db');
  const config = readConfig({
    DATABASE_URL: `sqlite:${file}`,
    BACKOFF_BASE_MS: '50',
    BACKOFF_CAP_MS: '50',
    MAX_ATTEMPTS: '1000',
    OUTBOX_RETENTION_HOURS: '0',
  });
  const all = Promise.withResolvers<void>();
  let handled = 0;
  let began = 0;
  const handle = ({ topic }: { topic: string }) => {
    if (topic === 'stuck') throw new Error('no');
    if (topic === 'warm') return;
    if (handled === 0) began = performance.now();
    handled += 1;
    if (handled === messages) all.resolve();
  };
  const handlers = [{ name: 'bench', topics: ['**'], transactional: false, handle }];
  const services = await createServices(config, pino({ level: 'silent' }), { handlers });
  seed(file, 'sent', sent, () => null);
  seed(file, 'stuck', stuck, () => 'stuck');
  // Messages without a key that are due before all others: they are handled first.
  seed(file, 'warm', WARM, () => null);
  seed(file, 'work', messages, index => `lane-${index % 500}`);
  await services.start();
  await all.promise;
  const rate = messages / ((performance.now() - began) / 1000);
  await services.close();
  await rm(folder, { recursive: true });
  return rate;
}

/** Puts messages into the outbox as publishing them would have, only faster. */
function seed(file: string, topic: string, count: number, key: (index: number) => string | null): void {
  const db = new BetterSqlite(file, { timeout: 60_000 });
  const insert = db.prepare(
    `insert into outbox (message_id, topic, message_key, payload, status, attempts, max_attempts, generation, available_at,
       claimable_at, lane, history, created_at, updated_at, sent_at)
     values (?, ?, ?, '{}', ?, 0, 1000, 1, 0, ?, ?, '[]', 0, 0, null)`,
  );
  const heads = new Set<string>();
  const due = topic === 'warm' ? 0 : 1;
  db.transaction(() => {
    for (let index = 0; index < count; index += 1) {
      const message_key = key(index);
      const head = message_key === null || !heads.has(message_key);
      if (message_key !== null) heads.add(message_key);
      const done = topic === 'sent';
      const lane = done || message_key === null ? null : `=${message_key}`;
      insert.run(`${topic}-${index}`, topic, message_key, done ? 'sent' : 'pending', head && !done ? due : null, lane);
    }
  })();
  db.close();
}

function print(what: string, rate: number): void {
  process.stdout.write(`${what}: ${Math.round(rate)} messages/s\n`);
}

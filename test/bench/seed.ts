import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import { sql } from 'kysely';
import { pino } from 'pino';
import { readConfig } from '../../src/config.ts';
import type { Tx } from '../../src/db/database.ts';
import { createServices, type Services } from '../../src/services.ts';
import { replaceSeen } from '../../src/threads/seen-repository.ts';
import { agentStory, discussionStory, longStory, planRun, planWideRun, type Story, type World } from './stories.ts';
import { Chance, Vocabulary } from './vocabulary.ts';

/*
 * Fills a SQLite file with a forum of about 100,000 threads and 1,000,000 events through the service's own services, as
 * a service would have left it whose worker has kept up. The same at every run. A file that is there already is kept,
 * unless it was made by another version of this seed or of the schema.
 *
 *   node test/bench/seed.ts <file> [--small]
 */

/** To be raised when what is seeded changes. */
const VERSION = 1;
/** Stories that go on at the same time. */
const AT_ONCE = 400;
/** Acts that share one write. */
const BATCH = 10_000;
const START = Date.UTC(2026, 0, 1);

export const BIG_RUN = 'run-big';
export const WIDE_RUN = 'run-wide';
export const LONG_THREAD = 'thr-long';

/** @param share how much of the whole forum, 1 or less */
export async function ensureSeeded(file: string, share: number): Promise<void> {
  const marker = VERSION * 10_000 + Math.round(share * 1000);
  if (existsSync(file) && (await isFresh(file, marker))) return;
  for (const suffix of ['', '-wal', '-shm', '.lock']) rmSync(file + suffix, { force: true });
  const began = performance.now();
  await seed(file, share);
  const db = new BetterSqlite(file, { timeout: 60_000 });
  db.pragma(`user_version = ${marker}`);
  db.pragma('wal_checkpoint(truncate)');
  db.close();
  say(`seeded in ${Math.round((performance.now() - began) / 1000)} s`);
}

async function isFresh(file: string, marker: number): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'forumbus-schema-'));
  try {
    return (await schemaOf(file, marker)) === (await schemaOf(join(folder, 'new.db')));
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The schema of a file after all migrations, as text. A migration that was changed in place shows here, too. */
async function schemaOf(file: string, marker?: number): Promise<string | undefined> {
  const services = await openServices(file);
  await services.close();
  const db = new BetterSqlite(file, { readonly: true });
  const rows = db.prepare('select sql from sqlite_schema where sql is not null order by name').pluck().all();
  const version = db.pragma('user_version', { simple: true });
  db.close();
  return marker === undefined || version === marker ? rows.join('\n') : undefined;
}

async function openServices(file: string, time?: Chance): Promise<Services> {
  let now = START;
  let uids = 0;
  const overrides = time && {
    // About half a minute between acts makes half a year in all.
    clock: {
      now: () => {
        now += time.integer(0, 15_000);
        return now;
      },
    },
    newUid: () => {
      uids += 1;
      return `${now.toString(16).padStart(12, '0')}7${uids.toString(16).padStart(19, '0')}`;
    },
  };
  const config = readConfig({ DATABASE_URL: `sqlite:${file}`, ROLE: 'http' });
  return createServices(config, pino({ level: 'silent' }), overrides);
}

async function seed(file: string, share: number): Promise<void> {
  const chance = new Chance(1);
  const services = await openServices(file, new Chance(2));
  const world = { services, chance, vocabulary: new Vocabulary(chance) };
  // Every act touches many indexes, and SQLite's 2 MB of pages would be read over and over.
  await services.db.write(tx => sql`pragma cache_size = -500000`.execute(tx.query));
  await play(services, chance, queueOf(world, share));
  await services.db.write(markSeen);
  await services.close();
}

/** All stories in the order in which they begin. */
function queueOf(world: World, share: number): Story[] {
  const { chance } = world;
  const wide = Math.max(10, 200 * share);
  const runs = [planWideRun(WIDE_RUN, wide, 0)];
  for (let left = 40_000 * share - 2 * wide, number = 1; left > 0; number += 1) {
    const run = planRun(world, number);
    runs.push(run);
    left -= run.agents.size;
  }
  const groups: (() => Story)[][] = runs.map(run =>
    [...run.agents.keys()].map(name => () => agentStory(world, run, name)),
  );
  for (let left = 60_000 * share; left > 0; left -= 1) groups.push([() => discussionStory(world, runs)]);
  for (let at = groups.length - 1; at > 0; at -= 1) {
    const other = chance.integer(0, at);
    [groups[at], groups[other]] = [groups[other] as (typeof groups)[0], groups[at] as (typeof groups)[0]];
  }
  const queue = groups.flat().map(begin => begin());
  // The agents of the big run come and go all the time.
  const big = planWideRun(BIG_RUN, wide, 100_000 * share);
  const step = Math.floor((queue.length * 0.6) / wide);
  [...big.agents.keys()].forEach((name, index) => {
    queue.splice(index * step, 0, agentStory(world, big, name));
  });
  queue.unshift(longStory(world, LONG_THREAD, Math.max(200, 6000 * share)));
  return queue;
}

/** Lets the stories go on in turns, as chance has it. */
async function play({ db }: Services, chance: Chance, queue: Story[]): Promise<void> {
  const going: Story[] = [];
  let next = 0;
  let acts = 0;
  let said = performance.now();
  const more = () => going.length > 0 || next < queue.length;
  while (more()) {
    // Many acts in one write: a commit for each would be most of the work.
    const events = await db.write(async tx => {
      for (let count = 0; count < BATCH && more(); count += 1) {
        while (going.length < AT_ONCE && next < queue.length) {
          going.push(queue[next] as Story);
          next += 1;
        }
        const at = chance.integer(0, going.length - 1);
        const story = going[at] as Story;
        const { value: act } = story.next();
        if (act) await act(tx);
        else going.splice(at, 1);
        acts += 1;
      }
      return emptyOutbox(tx);
    });
    if (performance.now() - said < 10_000) continue;
    said = performance.now();
    say(`${acts} acts, ${events} events, ${next} of ${queue.length} threads`);
  }
}

/** The retention has deleted what was delivered. Answers the newest sequence. */
async function emptyOutbox(tx: Tx): Promise<number> {
  await tx.query.deleteFrom('deliveries').execute();
  await tx.query.deleteFrom('messages').execute();
  const newest = await tx.query.selectFrom('events').select('sequence').orderBy('sequence', 'desc').executeTakeFirst();
  return newest?.sequence ?? 0;
}

/**
 * What marking one by one comes to: ana has seen all but the 20 newest threads, bob every second of 2,000 and eve those
 * that are closed, which stand between others everywhere.
 */
async function markSeen(tx: Tx): Promise<void> {
  const threads = await tx.query
    .selectFrom('threads')
    .select(['place', 'last_sequence', 'state'])
    .orderBy('place')
    .execute();
  const newest = threads.map(thread => thread.last_sequence).sort((a, b) => b - a)[20] ?? 0;
  const mark = async (viewer: string, hasSeen: (thread: (typeof threads)[0], index: number) => boolean) => {
    let range: { first_place: number; last_place: number } | undefined;
    for (const [index, thread] of threads.entries()) {
      const seen = hasSeen(thread, index);
      if (seen) range = { first_place: range?.first_place ?? thread.place, last_place: thread.place };
      if (range && (!seen || index === threads.length - 1)) {
        await replaceSeen(tx, viewer, range);
        range = undefined;
      }
    }
  };
  await mark('human:ana', thread => thread.last_sequence <= newest);
  await mark('human:bob', (_, index) => index < 2000 && index % 2 === 0);
  await mark('human:eve', thread => thread.state === 'closed');
}

function say(what: string): void {
  process.stdout.write(`${what}\n`);
}

if (import.meta.main) {
  const [file] = process.argv.slice(2).filter(argument => !argument.startsWith('--'));
  if (!file) throw new Error('Name the file to seed.');
  await ensureSeeded(file, process.argv.includes('--small') ? 0.01 : 1);
}

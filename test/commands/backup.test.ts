import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import { describe, expect, it, onTestFinished } from 'vitest';
import { backUp } from '../../src/backup/backup.ts';
import { StartError } from '../../src/errors.ts';
import { scratchDatabase } from '../helpers/engines.ts';
import { damage, fileOf, migrated, refusalOf } from '../helpers/files.ts';
import { handlersFolder, listenForCalls, obedient } from '../helpers/handlers.ts';
import { forThisTest, runCommand, send, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';
import { smallDisk } from '../helpers/small-disk.ts';
import { sqlBeside } from '../helpers/sql.ts';

const CONNECTIONS = 12;
/** Signals that are there before the backup, so that it takes a while. */
const BEFORE = 200;

const folder = async () => (await forThisTest(scratchFolder())).path;
const refusal = (args: string[], env: Record<string, string>) => refusalOf('backup', args, env);

interface Stored {
  signal_id: string;
  sequence: number;
}

/** Sends signals over several connections until it is ended, and keeps what was answered 201. */
function fullLoad(origin: string) {
  const stored: Stored[] = [];
  const waiting: { count: number; reached: () => void }[] = [];
  let going = true;
  const clients = Array.from({ length: CONNECTIONS }, async (_, client) => {
    const of = { run_id: `run-${client % 3}`, agent_name: `agent-${client}` };
    for (let number = 0; going; number += 1) {
      const body = signal(number % 2 ? 'completion' : 'validation', { ...of, attempt: 1 });
      const { status, body: answer } = await send(origin, 'POST', '/control-signals', body);
      expect(status).toBe(201);
      stored.push(answer.signal);
      for (const { count, reached } of waiting) if (stored.length >= count) reached();
    }
  });
  return {
    stored,
    reaching: (count: number) => new Promise<void>(reached => waiting.push({ count, reached })),
    async end() {
      going = false;
      await Promise.all(clients);
    },
  };
}

describe('a backup under full load', () => {
  // Four starts of a process; on a machine that is busy with something else they take several times the usual seconds.
  it('is one moment, holds what was acknowledged before, and goes on from there', { timeout: 90_000 }, async () => {
    const path = await folder();
    const backup = join(path, 'backup.db');
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase('sqlite'));
    const calls = await listenForCalls();
    const env = {
      HANDLERS_DIR: await handlersFolder({
        'obedient.ts': obedient('forum.integration.x'),
        'quiet.mjs': `export const topic = 'forum.events.**'; export function handle() {}`,
      }),
      CALLS_URL: calls.url,
    };
    const service = await startService({ ...env, DATABASE_URL });
    const origin = await service.listening();
    const keyed = () => repeatable(origin);
    const first = await keyed();
    expect(first.replayed).toBe(null);
    // It is under its lease, for half a minute, while the backup is taken.
    await service.send('POST', '/outbox', { message_id: 'held', topic: 'forum.integration.x', payload: {} });
    const held = await calls.next();
    expect(held.body.attempt).toBe(1);

    const load = fullLoad(origin);
    await load.reaching(BEFORE);
    const before = [...load.stored];
    const command = await runCommand('backup', [backup], { DATABASE_URL });
    const during = load.stored.length - before.length;
    await load.end();
    expect(command.code, command.output).toBe(0);
    expect(during).toBeGreaterThan(CONNECTIONS);
    expect(await readdir(path)).toEqual(['backup.db']);
    expect(command.logs).toEqual([
      expect.objectContaining({
        ...{ level: 30, msg: 'backed up', path: backup, missing_migrations: [] },
        ...{ bytes: expect.any(Number), sequence: expect.any(Number), duration_ms: expect.any(Number) },
      }),
    ]);
    const sequence = command.logs[0]?.sequence as number;
    const healthy = { faults: ['ok'], broken: [], skipped: 0, early: 0 };
    expect(stateOf(backup)).toEqual({ ...stateOf(fileOf(DATABASE_URL), sequence), ...healthy });
    expect(positionIn(backup)).toBeGreaterThan(0);
    const contained = new Set(signalsIn(backup));
    expect(before.filter(({ signal_id }) => !contained.has(signal_id))).toEqual([]);
    service.kill('SIGKILL');
    await service.exited;

    // Into another place, in which there is nothing yet.
    const elsewhere = `sqlite:${join(path, 'new', 'forumbus.db')}`;
    const restoring = await runCommand('restore', [backup], { DATABASE_URL: elsewhere });
    expect(restoring.code, restoring.output).toBe(0);
    expect(restoring.logs).toEqual([expect.objectContaining({ msg: 'restored', backup, sequence, replaced: null })]);

    const successor = await startService({ ...env, DATABASE_URL: elsewhere });
    const again = await calls.next();
    expect(again.body).toMatchObject({ attempt: 2, message: { message_id: 'held' } });
    again.answer('return');
    const last = before.at(-1) as Stored;
    expect((await successor.send('GET', `/control-signals/${last.signal_id}`)).body).toEqual(last);
    const repeated = await repeatable(await successor.listening());
    expect(repeated).toEqual({ ...first, replayed: 'true' });
    const next = await successor.send('POST', '/control-signals', signal('completion', { run_id: 'run-9' }));
    expect(next.status).toBe(201);
    expect(next.body.signal.sequence).toBeGreaterThan(sequence);
  });
});

/** The same request each time, with its key. */
async function repeatable(origin: string) {
  const response = await fetch(`${origin}/control-signals`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': 'once' },
    body: JSON.stringify(signal('completion', { run_id: 'run-once' })),
  });
  return { body: await response.text(), replayed: response.headers.get('idempotency-replayed') };
}

/** What a consistent moment has in common with the same moment of the database it was taken from. */
function stateOf(path: string, sequence = Number.MAX_SAFE_INTEGER) {
  const file = new BetterSqlite(path, { readonly: true });
  onTestFinished(() => void file.close());
  const count = (query: string) => file.prepare(query).pluck().get(sequence) as number;
  return {
    faults: (file.pragma('integrity_check') as { integrity_check: string }[]).map(row => row.integrity_check),
    broken: file.pragma('foreign_key_check'),
    events: count('select count(*) from events where sequence <= ?'),
    bytes: count('select sum(length(payload)) from events where sequence <= ?'),
    // Positions and deliveries are of the same moment.
    skipped: count(`select count(*) from events join subscriptions on position >= sequence and name = 'quiet'
      where sequence <= ? and not exists (select 1 from deliveries where event_sequence = sequence)`),
    early: count(`select count(*) from deliveries join subscriptions using (subscription_id)
      where event_sequence > subscriptions.position and event_sequence <= ?`),
  };
}

/** Up to where the quiet handler has been given the log. */
function positionIn(path: string): number {
  const file = new BetterSqlite(path, { readonly: true });
  onTestFinished(() => void file.close());
  return file.prepare(`select position from subscriptions where name = 'quiet'`).pluck().get() as number;
}

function signalsIn(path: string): string[] {
  const file = new BetterSqlite(path, { readonly: true });
  onTestFinished(() => void file.close());
  const query = `select payload ->> 'signal_id' from events where event_type = 'forum.control.signal'`;
  return file.prepare(query).pluck().all() as string[];
}

describe('a backup that cannot be made ends with 1 and one sentence, and leaves nothing behind', () => {
  it('for a file that exists, which stays as it was, and one that another backup is writing', async () => {
    const DATABASE_URL = await migrated();
    const path = await folder();
    await writeFile(join(path, 'notes.txt'), 'notes');
    await writeFile(join(path, 'other.db.partial'), '');
    const [exists, taken] = await Promise.all([
      refusal([join(path, 'notes.txt')], { DATABASE_URL }),
      refusal([join(path, 'other.db')], { DATABASE_URL }),
    ]);
    expect(exists).toBe(`The file ${join(path, 'notes.txt')} exists; a backup never overwrites a file.`);
    expect(taken).toContain('other.db.partial exists: another backup is writing it, or an interrupted one left it');
    expect(await readFile(join(path, 'notes.txt'), 'utf8')).toBe('notes');
    expect((await readdir(path)).toSorted()).toEqual(['notes.txt', 'other.db.partial']);
  });

  it('for a folder or a database that is not there, PostgreSQL, and a call without a file', async () => {
    const DATABASE_URL = await migrated();
    const path = await folder();
    const absent = join(path, 'absent.db');
    const [folderless, databaseless, postgres, fileless] = await Promise.all([
      refusal([join(path, 'no', 'backup.db')], { DATABASE_URL }),
      refusal([join(path, 'backup.db')], { DATABASE_URL: `sqlite:${absent}` }),
      refusal([join(path, 'backup.db')], { DATABASE_URL: 'postgres://ana:secret@127.0.0.1:1/forumbus' }),
      refusal([], { DATABASE_URL }),
    ]);
    expect(folderless).toMatch(/^The folder of .*no\/backup\.db\.partial does not exist\.$/);
    expect(databaseless).toBe(`There is no database at ${absent}.`);
    expect(postgres).toMatch(/PostgreSQL.*pg_dump.*docs\/operations\.md/);
    expect(fileless).toContain('npm run backup -- <file>');
    expect(await readdir(path)).toEqual([]);
  });

  it('for a schema that the code does not know, and a database that is damaged', async () => {
    const path = await folder();
    const [newer, damaged] = await Promise.all([migrated(), migrated()]);
    await sqlBeside(newer, `insert into kysely_migration (name, timestamp) values ('999-future', '2030-01-01')`);
    await damage(fileOf(damaged));
    for (const [url, sentence] of [
      [newer, /newer than this version of Forumbus \(it has 999-future\)/],
      [damaged, /The database file .* is damaged/],
    ] as const) {
      const refused = backUp(fileOf(url), join(path, 'backup.db'));
      await expect(refused).rejects.toThrow(StartError);
      await expect(refused).rejects.toThrow(sentence);
    }
    expect(await readdir(path)).toEqual([]);
  });

  it('for a disk that is too small', async () => {
    const disk = await smallDisk(100_000);
    if (!disk) return;
    const DATABASE_URL = await migrated();
    expect(await refusal([join(disk, 'backup.db')], { DATABASE_URL })).toBe(
      `The disk is full: ${join(disk, 'backup.db')} cannot be written.`,
    );
    expect(await readdir(disk)).toEqual([]);
  });
});

import { watch } from 'node:fs';
import { copyFile, readdir, readFile, readlink, rename, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import BetterSqlite from 'better-sqlite3';
import { describe, expect, it, onTestFinished } from 'vitest';
import { migrations } from '../../migrations/index.ts';
import { restore } from '../../src/backup/restore.ts';
import { StartError } from '../../src/errors.ts';
import { damage, fileOf, migrated, refusalOf } from '../helpers/files.ts';
import { forThisTest, runCommand, spawnService, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { migrateTo } from '../helpers/versions.ts';

const refusal = (args: string[], env: Record<string, string>) => refusalOf('restore', args, env);
/** What lies in the folder of a database, but for the lock, which is nobody's data. */
const namesIn = async (url: string) =>
  (await readdir(dirname(fileOf(url)))).filter(name => !name.includes('.lock')).toSorted();

/** A backup, and a database in whose place it shall come, each with a table that only it has. */
async function oldAndNew() {
  const [source, DATABASE_URL] = await Promise.all([migrated(), migrated()]);
  await sqlBeside(source, 'create table of_backup (x)');
  await sqlBeside(DATABASE_URL, 'create table of_old (x)');
  const backup = join((await forThisTest(scratchFolder())).path, 'backup.db');
  await copyFile(fileOf(source), backup);
  return { backup, DATABASE_URL, file: fileOf(DATABASE_URL) };
}

/** Which of the two a database is; throws if it is neither in full. */
function isOf(path: string): string {
  const file = new BetterSqlite(path, { fileMustExist: true });
  try {
    expect(file.pragma('integrity_check', { simple: true })).toBe('ok');
    return String(file.prepare(`select name from sqlite_master where name like 'of\\_%' escape '\\'`).pluck().get());
  } finally {
    file.close();
  }
}

describe('a restore', () => {
  it('takes the place only with --replace, and puts the old database aside with what its log holds', async () => {
    const { backup, DATABASE_URL, file } = await oldAndNew();
    // Killed, a service leaves its last commits in the log beside the file.
    const killed = await startService({ DATABASE_URL });
    const { body } = await killed.send('POST', '/control-signals', signal('completion'));
    killed.kill('SIGKILL');
    await killed.exited;
    const before = await namesIn(DATABASE_URL);
    expect(before).toContain(`${basename(file)}-wal`);
    expect(await refusal([backup], { DATABASE_URL })).toMatch(/There is a database at .*--replace/);
    expect(await namesIn(DATABASE_URL)).toEqual(before);

    const command = await runCommand('restore', ['--replace', backup], { DATABASE_URL });
    expect(command.code, command.output).toBe(0);
    const replaced = command.logs[0]?.replaced as string;
    expect(replaced).toMatch(/forumbus\.db\.\d{8}T\d{9}Z\.replaced$/);
    expect(command.logs).toEqual([expect.objectContaining({ msg: 'restored', path: file, backup, replaced })]);
    expect(await namesIn(DATABASE_URL)).toEqual([basename(file), basename(replaced)]);
    expect(isOf(file)).toBe('of_backup');
    expect(isOf(replaced)).toBe('of_old');
    const service = await startService({ DATABASE_URL: `sqlite:${replaced}` });
    expect((await service.send('GET', `/control-signals/${body.signal.signal_id}`)).body).toEqual(body.signal);
  });

  it('takes the place of the file that a link leads to, which stays', async () => {
    const { backup, file } = await oldAndNew();
    const link = join((await forThisTest(scratchFolder())).path, 'link.db');
    await symlink(file, link);
    const command = await runCommand('restore', ['--replace', backup], { DATABASE_URL: `sqlite:${link}` });
    expect(command.code, command.output).toBe(0);
    expect(await readlink(link)).toBe(file);
    expect(isOf(file)).toBe('of_backup');
    expect(isOf(command.logs[0]?.replaced as string)).toBe('of_old');
  });

  it('is refused while a service uses the database, also one that has just started, and that goes on', async () => {
    const { backup, DATABASE_URL } = await oldAndNew();
    const service = await startService({ DATABASE_URL });
    const before = await namesIn(DATABASE_URL);
    expect(await refusal([backup, '--replace'], { DATABASE_URL })).toMatch(/in use by another Forumbus process/);
    expect(await namesIn(DATABASE_URL)).toEqual(before);
    expect((await service.send('POST', '/control-signals', signal('completion'))).status).toBe(201);
  });

  it('is refused while another program has the database open', async () => {
    const { backup, DATABASE_URL, file } = await oldAndNew();
    const other = new BetterSqlite(file);
    onTestFinished(() => void other.close());
    other.exec('begin; select count(*) from events');
    expect(await refusal([backup, '--replace'], { DATABASE_URL })).toMatch(/in use by another program/);
    expect(other.prepare('select count(*) from of_old').pluck().get()).toBe(0);
  });

  it('replaces a database that cannot be opened any more', async () => {
    const { backup, DATABASE_URL, file } = await oldAndNew();
    await writeFile(file, 'no database '.repeat(100));
    const { replaced } = await restore(backup, file, { replace: true, now: 0 });
    expect(await readFile(replaced as string, 'utf8')).toContain('no database');
    expect(await namesIn(DATABASE_URL)).toEqual([basename(file), basename(replaced as string)]);
    expect(isOf(file)).toBe('of_backup');
  });

  it('keeps a log whose database is gone away from the new one, into which it would be played', async () => {
    const { backup, file } = await oldAndNew();
    await rename(file, `${file}-wal`);
    await expect(restore(backup, file, { replace: false, now: 0 })).rejects.toThrow(/--replace/);
    await restore(backup, file, { replace: true, now: 0 });
    expect((await readdir(dirname(file))).toSorted()).toEqual(
      ['', '.19700101T000000000Z.replaced-wal', '.lock'].map(suffix => basename(file) + suffix),
    );
    expect(isOf(file)).toBe('of_backup');
  });

  it.each(['.restoring', '.replaced'])('that is killed when a file %s appears leaves the old or the new', async end => {
    const { backup, DATABASE_URL, file } = await oldAndNew();
    const command = spawnService({ DATABASE_URL }, { file: 'commands/restore.ts', args: [backup, '--replace'] });
    const watcher = watch(dirname(file), (_, name) => {
      if (name?.endsWith(end)) command.kill('SIGKILL');
    });
    onTestFinished(() => watcher.close());
    await command.exited;
    expect(['of_old', 'of_backup']).toContain(isOf(file));
    // What it left does not stand in the way of the next one.
    const next = await runCommand('restore', [backup, '--replace'], { DATABASE_URL });
    expect(next.code, next.output).toBe(0);
    expect(isOf(file)).toBe('of_backup');
    expect(await namesIn(DATABASE_URL)).not.toContain(`${basename(file)}.restoring`);
  });

  it('of a backup of an older schema is brought up to date by the next start', async () => {
    const { backup: newer, DATABASE_URL } = await oldAndNew();
    const backup = `${newer}.older`;
    const newest = Object.keys(migrations).at(-1);
    await migrateTo(Object.keys(migrations).length - 1, 'sqlite', `sqlite:${backup}`);
    const command = await runCommand('restore', [backup, '--replace'], { DATABASE_URL });
    expect(command.logs[0]).toMatchObject({ msg: 'restored', missing_migrations: [newest] });
    const service = await startService({ DATABASE_URL });
    expect(await service.line('database migrated')).toMatchObject({ migrations: [newest] });
  });
});

describe('a backup that is refused changes nothing', () => {
  it('if it is damaged, newer, no backup at all, in use, or not there', async () => {
    const { backup, DATABASE_URL, file } = await oldAndNew();
    const folder = dirname(backup);
    const named = (name: string) => join(folder, name);
    for (const name of ['damaged.db', 'cut.db', 'wrong.db', 'loose.db', 'newer.db', 'open.db'])
      await copyFile(backup, named(name));
    await damage(named('damaged.db'));
    await writeFile(named('cut.db'), (await readFile(backup)).subarray(0, 100_000));
    await sqlBeside(
      `sqlite:${named('newer.db')}`,
      `insert into kysely_migration (name, timestamp) values ('999-future', '2030-01-01')`,
    );
    const write = (name: string, statements: string) => new BetterSqlite(named(name)).exec(statements).close();
    const wrong = `insert into topics (topic, paused) values ('x', 7)`;
    write('wrong.db', `pragma ignore_check_constraints = on; ${wrong}`);
    const loose = `insert into control_threads values ('r', 'a', 'none', 1, null, null, null, 'working', 1, 0, 0, 0, null, null)`;
    write('loose.db', `pragma foreign_keys = off; ${loose}`);
    await writeFile(named('open.db-wal'), 'a log');
    await writeFile(named('notes.txt'), 'no database '.repeat(100));
    write('other.db', 'create table other (x)');

    expect(await refusal([named('damaged.db'), '--replace'], { DATABASE_URL })).toMatch(/damaged\.db is damaged/);
    const expected: [string, RegExp][] = [
      ['damaged.db', /^The backup .*damaged\.db is damaged/],
      ['cut.db', /^The (backup|file) .*cut\.db is .*damaged/],
      ['wrong.db', /wrong\.db is damaged: CHECK constraint failed in topics/],
      ['loose.db', /loose\.db is damaged: 1 rows refer to missing rows/],
      ['newer.db', /newer than this version of Forumbus \(it has 999-future\)/],
      ['open.db', /open\.db is not a backup but a database in use/],
      ['notes.txt', /notes\.txt is not a backup/],
      ['other.db', /other\.db is not a Forumbus database/],
      ['absent.db', /absent\.db cannot be read \(ENOENT\)/],
    ];
    const before = await readFile(file);
    for (const [name, sentence] of expected) {
      const refused = restore(named(name), file, { replace: true, now: 0 });
      await expect(refused, name).rejects.toThrow(StartError);
      await expect(refused, name).rejects.toThrow(sentence);
    }
    expect(await readFile(file)).toEqual(before);
    expect(await namesIn(DATABASE_URL)).toEqual([basename(file)]);
    expect(await refusal([backup], { DATABASE_URL: 'postgres://ana:secret@127.0.0.1:1/x' })).toMatch(
      /PostgreSQL.*pg_restore.*docs\/operations\.md/,
    );
  });
});

import { chmod, chown, mkdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { backUp } from '../../../src/backup/backup.ts';
import { restore } from '../../../src/backup/restore.ts';
import { openDatabase } from '../../../src/db/open.ts';
import { forThisTest, type LogLine, spawnService, startService } from '../../helpers/process.ts';
import { scratchFolder } from '../../helpers/scratch.ts';

const FATAL = 60;
const WARN = 40;
/** The user "nobody" of most systems. */
const NOBODY = 65_534;
const TOKEN = `fbt_${'0'.repeat(16)}_${'0'.repeat(64)}`;
const isRoot = process.getuid?.() === 0;
if (!isRoot)
  process.stdout.write('A file that another user cannot write: not tried, since only root becomes another user.\n');

const folder = async () => (await forThisTest(scratchFolder())).path;
const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);
const messages = (logs: LogLine[], level: number) => logs.filter(line => line.level === level).map(line => line.msg);

/** A database that is open, in a folder that was made for it, under a umask that hides nothing. */
async function opened(path: string, lines: string[] = []) {
  const before = process.umask(0);
  try {
    const log = pino({ level: 'warn' }, { write: line => lines.push(line) });
    const db = await openDatabase(`sqlite:${path}`, log);
    onTestFinished(() => db.close());
    await db.migrate();
    await db.probe();
    return db;
  } finally {
    process.umask(before);
  }
}

describe("a SQLite database's files", () => {
  it('are for their owner only, whatever the umask', async () => {
    const path = join(await folder(), 'made/here/x.db');
    const lines: string[] = [];
    await opened(path, lines);
    for (const suffix of ['', '-wal', '-shm', '.lock']) expect(await modeOf(path + suffix), suffix).toBe('600');
    for (const made of [dirname(path), dirname(dirname(path))]) expect(await modeOf(made)).toBe('700');
    expect(lines).toEqual([]);
  });

  it('become so again at a start', async () => {
    const path = join(await folder(), 'x.db');
    await (await opened(path)).close();
    for (const suffix of ['', '.lock']) await chmod(path + suffix, 0o666);
    await opened(path);
    for (const suffix of ['', '-wal', '-shm', '.lock']) expect(await modeOf(path + suffix), suffix).toBe('600');
  });

  it('that are no database keep their mode', async () => {
    const path = join(await folder(), 'notes.txt');
    await writeFile(path, 'These notes are longer than the header of a database. '.repeat(20), { mode: 0o644 });
    await chmod(path, 0o644);
    await expect(opened(path)).rejects.toThrow('is not a SQLite database');
    expect(await modeOf(path)).toBe('644');
  });

  it('in a folder where others can put another in their place make a start warn', async () => {
    const path = join(await folder(), 'shared/x.db');
    await mkdir(dirname(path));
    await chmod(dirname(path), 0o777);
    const lines: string[] = [];
    await opened(path, lines);
    expect(lines.map(line => JSON.parse(line))).toEqual([
      expect.objectContaining({ path: dirname(path), msg: expect.stringContaining('others than the owner') }),
    ]);
  });

  it('are copied and put back for their owner only', async () => {
    const path = join(await folder(), 'x.db');
    await (await opened(path)).close();
    await chmod(path, 0o644);
    const [copy, target] = [join(dirname(path), 'copy.db'), join(dirname(path), 'target.db')];
    await backUp(path, copy);
    expect(await modeOf(copy)).toBe('600');
    await chmod(copy, 0o644);
    for (const replace of [false, true]) {
      const { replaced } = await restore(copy, target, { replace, now: 0 });
      expect(await modeOf(target)).toBe('600');
      if (replaced) expect(await modeOf(replaced)).toBe('600');
      await chmod(target, 0o644);
    }
  });
});

describe.runIf(isRoot)('a start as a user who', () => {
  /** The database is nobody's except for one part, which is root's and not to be written by others. */
  async function refusal(...foreign: string[]): Promise<string[]> {
    const path = join(await folder(), 'x.db');
    const db = await opened(path);
    for (const suffix of ['', '-wal', '-shm', '.lock']) await chown(path + suffix, NOBODY, NOBODY);
    await chown(dirname(path), NOBODY, NOBODY);
    for (const suffix of foreign) {
      await chown(path + suffix, 0, 0);
      await chmod(path + suffix, 0o644);
    }
    // The files beside the database go when it is closed.
    if (!foreign.includes('-wal')) await db.close();
    const service = spawnService({ DATABASE_URL: `sqlite:${path}` }, { uid: NOBODY });
    expect(await service.exited, service.output).toEqual({ code: 1, signal: null });
    return messages(service.logs, FATAL);
  }

  const sentence = [expect.stringMatching(/x\.db cannot be opened for writing \(EACCES\)/)];

  it('cannot write the database', async () => {
    expect(await refusal('')).toEqual(sentence);
  });

  it('cannot write the log beside it', async () => {
    expect(await refusal('-wal')).toEqual(sentence);
  });

  it('cannot write the lock', async () => {
    expect(await refusal('.lock')).toEqual(sentence);
  });
});

describe("the file with the admin's token", () => {
  async function tokenFile(mode: number): Promise<Record<string, string>> {
    const path = await folder();
    const file = join(path, 'token');
    await writeFile(file, `${TOKEN}\n`);
    await chmod(file, mode);
    return { ADMIN_TOKEN_FILE: file, DATABASE_URL: `sqlite:${path}/x.db` };
  }

  it.each([0o666, 0o602, 0o620])('that others can write refuses the start: mode %o', async mode => {
    const service = spawnService(await tokenFile(mode));
    expect(await service.exited).toEqual({ code: 1, signal: null });
    expect(messages(service.logs, FATAL)).toEqual([expect.stringMatching(/token .* can be written by others/)]);
  });

  it.each([
    [0o444, 1],
    [0o640, 1],
    [0o600, 0],
    [0o400, 0],
  ])('of mode %o warns so many times: %i', async (mode, times) => {
    const service = await startService(await tokenFile(mode));
    const warned = messages(service.logs, WARN).filter(msg => msg.includes('ADMIN_TOKEN_FILE'));
    expect(warned, service.output).toHaveLength(times);
  });
});

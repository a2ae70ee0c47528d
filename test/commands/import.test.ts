import { watch } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Engine } from '../../src/db/engine.ts';
import { dump } from '../helpers/database.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { exportFiles, exportOf, imported, largeExport, serviceOn } from '../helpers/exports.ts';
import { fileOf, refusalOf } from '../helpers/files.ts';
import { handler } from '../helpers/handling.ts';
import { markedRun } from '../helpers/marked-run.ts';
import { forThisTest, runCommand, spawnService, startService } from '../helpers/process.ts';
import { aRun } from '../helpers/runs.ts';
import { sqlBeside } from '../helpers/sql.ts';

/** The lines of the exports of two runs of one service. */
async function twoRuns(engine: Engine): Promise<[string[], string[]]> {
  const service = await serviceOn(engine);
  await markedRun(service.send, 'run-1');
  await aRun(service.send, 'run-2').brief({ title: 'Another' });
  const of = async (run: string) => (await exportOf(service, run)).trimEnd().split('\n');
  return [await of('run-1'), await of('run-2')];
}

/** The text of an export whose end says how many lines it has. */
const whole = (lines: string[]) =>
  `${[...lines.slice(0, -1), `{"type":"end","lines":${lines.length - 1}}`].join('\n')}\n`;

describe.each(engines)('an import on %s', engine => {
  it('is refused with file and line, and leaves the database as it was', { timeout: 120_000 }, async () => {
    const [lines, other] = await twoRuns(engine);
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    const at = (pattern: RegExp) => lines.findIndex(line => pattern.test(line));
    const changed = (pattern: RegExp, to: string) => {
      const index = at(pattern);
      const text = (lines[index] as string).replace(pattern, to);
      expect(text).not.toBe(lines[index]);
      return { text: whole(lines.with(index, text)), line: index + 1 };
    };
    const post = /"event_type":"forum.post.added"/;
    const without = lines.toSpliced(at(post), 1);
    const faults: [texts: (string | Uint8Array)[], sentence: string, ending?: string][] = [
      [[lines.slice(0, -1).join('\n')], `the export was cut after line ${lines.length - 1}, it has no end`],
      [[lines.toSpliced(3, 1).join('\n')], `line ${lines.length - 1}: the export had ${lines.length - 1} lines`],
      [[`${whole(lines)}{}\n`], `line ${lines.length + 1}: something follows the end`],
      [[changed(/"format_version":1/, '"format_version":2').text], 'line 1: its format_version is 2'],
      [[whole(lines.with(2, '{"type":'))], 'line 3: it is no JSON'],
      [[whole(lines.with(2, '{"type":"other"}'))], 'line 3: it has none of the types'],
      [[whole(lines.slice(1))], 'line 1: it is not that of a run'],
      [
        [whole([...lines.slice(0, 1), ...lines.slice(2, -1), lines[1] as string, ''])],
        'a line of the type agent cannot follow',
      ],
      [
        [
          changed(/"sequence":\d+,"event_type":"forum.post.added"/, '"sequence":"1","event_type":"forum.post.added"')
            .text,
        ],
        '/event/sequence must be a whole number',
      ],
      [
        [changed(/"event_type":"forum.post.added"/, '"event_type":"forum.post.sung"').text],
        'the event type forum.post.sung is unknown',
      ],
      [[changed(/"payload":\{"body":/, '"payload":{"text":').text], '/payload/body is required'],
      [
        [changed(/"forum.post.added"(.*)"run_id":"run-1"/, '"forum.post.added"$1"run_id":"run-2"').text],
        'the event is one of the run run-2',
      ],
      [[whole(without)], 'the events of the thread fctrl-run-1-builder'],
      [[whole(lines.toSpliced(at(/"event_type":"forum.thread.opened"/), 1))], 'was not opened before'],
      [[whole(lines), whole(lines)], 'run-1.ndjson, line 1: the run run-1 comes from another file, too'],
      [[whole(other), whole(other).replaceAll('run-2', 'run-3')], 'line 2: another event has the sequence'],
      [[gzipSync(whole(lines)).subarray(0, -20)], 'the file was cut, its compression has no end', '.ndjson.gz'],
      [[whole(lines)], 'the file is not compressed with gzip', '.ndjson.gz'],
    ];
    const before = await dump(DATABASE_URL);
    // Each file is a process of its own.
    const some = engine === 'sqlite' ? faults : faults.slice(12, 16);
    for (const [texts, sentence, ending] of some) {
      const refused = await refusalOf('import', await exportFiles(texts, ending), { DATABASE_URL });
      expect(refused).toContain(sentence);
      expect(refused).toMatch(/\/run-\d\.ndjson/);
    }
    expect(await refusalOf('import', [join('nowhere', 'run-1')], { DATABASE_URL })).toMatch(
      /^There is no file at .*run-1/,
    );
    expect(await refusalOf('import', [], { DATABASE_URL })).toMatch(/Arguments expected: 1 or more.*FILE…$/);
    expect(await dump(DATABASE_URL)).toEqual(before);

    // And the same files without their faults are taken.
    const files = await exportFiles([gzipSync(whole(lines)), gzipSync(whole(other))], '.ndjson.gz');
    const { code, logs, output } = await runCommand('import', files, { DATABASE_URL });
    expect(code, output).toBe(0);
    expect(logs).toEqual([expect.objectContaining({ msg: 'imported', files, runs: 2 })]);
    const filled = await dump(DATABASE_URL);
    expect(await refusalOf('import', files, { DATABASE_URL })).toMatch(/^The database is not empty: it has events/);
    expect(await dump(DATABASE_URL)).toEqual(filled);
  });

  it('is refused while a service uses the database', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    await startService({ DATABASE_URL });
    const files = await exportFiles([largeExport(1)]);
    expect(await refusalOf('import', files, { DATABASE_URL })).toMatch(
      engine === 'sqlite' ? /in use by another Forumbus process/ : /^Other processes use the database \(1\)/,
    );
  });

  it('delivers nothing again, to subscriptions from before and to later ones', async () => {
    const { url: DATABASE_URL, drop } = await scratchDatabase(engine);
    onTestFinished(drop);
    const insert = `insert into subscriptions (name, kind, topics, dead_policy, position, created_at, last_seen_at)
      values ('before', 'handler', '["forum.events.**"]', 'block', 0, 0, 0)`;
    await sqlBeside(DATABASE_URL, insert);
    const { code, output } = await runCommand('import', await exportFiles([largeExport(3)]), { DATABASE_URL });
    expect(code, output).toBe(0);
    const handlers = [handler('forum.events.**', async () => {})];
    await serviceOn(engine, { database: { url: DATABASE_URL, drop }, overrides: { handlers } });
    const rows = await sqlBeside(DATABASE_URL, 'select position from subscriptions');
    expect(rows.map(({ position }) => Number(position))).toEqual(rows.map(() => 7));
    expect(rows.length).toBeGreaterThanOrEqual(2);
  });
});

it('is ended by Ctrl-C, and leaves the database as it was', async () => {
  const { url: DATABASE_URL } = await forThisTest(scratchDatabase('sqlite'));
  const files = await exportFiles([largeExport(20_000)]);
  const before = await dump(DATABASE_URL);
  const command = spawnService({ DATABASE_URL }, { file: 'commands/import.ts', args: files });
  const watcher = watch(dirname(fileOf(DATABASE_URL)), (_, name) => {
    if (!name?.endsWith('-wal')) return;
    watcher.close();
    command.kill('SIGINT');
  });
  onTestFinished(() => watcher.close());
  expect(await command.exited).toMatchObject({ code: 1 });
  expect(command.logs.map(({ msg }) => msg)).toEqual([
    'The import was interrupted; the database is as empty as it was.',
  ]);
  expect(await dump(DATABASE_URL)).toEqual(before);
});

it('handles many batches', async () => {
  const database = await imported('postgres', await exportFiles([largeExport(1500)]));
  const service = await serviceOn('postgres', { database });
  expect(await exportOf(service, 'large')).toContain('"up_to":3001');
  expect((await service.send('GET', '/stats')).body.threads.total).toBe(1500);
});

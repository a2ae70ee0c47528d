import { once } from 'node:events';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type OutgoingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { expect, it, onTestFinished } from 'vitest';
import { archiveName } from '../../src/cli/archive.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { commandLine, spawnCli } from '../helpers/cli.ts';
import { comparable, exportOf, imported, serviceOn } from '../helpers/exports.ts';
import { MARK, markedRun } from '../helpers/marked-run.ts';
import { forThisTest } from '../helpers/process.ts';
import { aRun } from '../helpers/runs.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { listen } from '../helpers/socket.ts';

it('exports a run to a file or to stdout, and erases it', async () => {
  const service = await forThisTest(startApp('sqlite').then(app => ({ app, drop: () => app.close() })));
  const folder = (await forThisTest(scratchFolder())).path;
  const url = `http://127.0.0.1:${await listen(service.app.app)}`;
  const person = commandLine({ env: { XDG_STATE_HOME: join(folder, 'state'), FORUMBUS_URL: url }, cwd: folder });
  await markedRun(service.app.send, 'run-1');
  const file = join(folder, 'run-1.ndjson');

  expect(await person(['run', 'export', 'run-1', '--out', file])).toEqual({ code: 0, out: '', err: '' });
  const { out } = await person(['run', 'export', 'run-1']);
  expect(await readFile(file, 'utf8')).toBe(`${out}\n`);
  expect(out.split('\n').at(-1)).toMatch(/^\{"type":"end"/);
  expect(out).toContain(MARK);

  expect(await person(['run', 'export', 'nobody', '--out', join(folder, 'none')])).toMatchObject({ code: 1 });
  expect(await person(['run', 'forget', 'run-1'])).toMatchObject({
    code: 1,
    err: expect.stringMatching(/close, export, erase or archive/),
  });
  expect((await readdir(folder)).filter(name => name.startsWith('none'))).toEqual([]);

  const erased = await person(['run', 'erase', 'run-1', '--json']);
  expect(erased).toMatchObject({ code: 0, out: '{"run_id":"run-1","erased":true}' });
  expect((await person(['run', 'export', 'run-1'])).out).not.toContain(MARK);
});

it('closes a run once its gate is ready, and the status of its agents says so', async () => {
  const { service, person } = await withArchives();
  const run = aRun(service.send, 'run-1');
  await run.signal('completion', 'builder');
  const status = (agent: string) => person(['status', '--run', 'run-1', '--agent', agent]);
  expect(await person(['run', 'erase', 'run-1'])).toMatchObject({
    code: 1,
    err: 'The run run-1 is not closed; close it first. `forumbus run close` does so.',
  });
  expect(await person(['run', 'close', 'run-1'])).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^The run run-1 cannot be closed yet: The work of builder /),
  });
  expect((await status('builder')).out).toMatch(/: completed, attempt 1$/);
  await run.finish('builder');
  // A repeat changes nothing.
  for (const json of [false, true]) {
    expect(await person(['run', 'close', 'run-1', ...(json ? ['--json'] : [])])).toEqual({
      ...{ code: 0, err: '' },
      out: json ? '{"run_id":"run-1","status":"closed"}' : 'The run run-1 is closed.',
    });
  }
  expect((await status('builder')).out).toMatch(/: validated, attempt 1; the run is closed$/);
  expect((await status('newcomer')).out).toMatch(/: no signal yet; the run is closed$/);
  expect(await person(['run', 'close', 'nobody'])).toMatchObject({ code: 1, err: expect.stringMatching(/nobody/) });
});

/** A service that can be called, and a person's command line beside a folder for archives. */
async function withArchives() {
  const service = await serviceOn('sqlite');
  const folder = (await forThisTest(scratchFolder())).path;
  const url = `http://127.0.0.1:${await listen(service.app)}`;
  const place = { env: { XDG_STATE_HOME: join(folder, 'state'), FORUMBUS_URL: url }, cwd: folder };
  const to = join(folder, 'archives');
  return { service, folder, to, place, person: commandLine(place) };
}

it('archives closed runs: a whole export that can be imported, and then no text is left', async () => {
  const { service, to, person } = await withArchives();
  const { send } = service;
  for (const name of ['run-1', 'Run-1']) await markedRun(send, name);
  await aRun(send, 'open').brief({ title: 'Open' });
  const texts = new Map<string, string>();
  for (const name of ['run-1', 'Run-1']) texts.set(name, await exportOf(service, name));

  const said = await person(['run', 'archive', 'run-1', 'open', 'nobody', 'Run-1', '--to', to]);
  expect(said.code).toBe(1);
  expect(said.err).toMatch(/^The run open is not closed; `forumbus run close` closes it\.\n.*nobody/);
  const names = (await readdir(to)).toSorted();
  expect(names).toEqual([archiveName('Run-1'), 'run-1.ndjson.gz'].toSorted());
  expect(names[0]?.toLowerCase()).not.toBe(names[1]?.toLowerCase());
  expect((await stat(join(to, 'run-1.ndjson.gz'))).mode & 0o777).toBe(0o600);
  for (const [name, text] of texts) {
    expect(comparable(gunzipSync(await readFile(join(to, archiveName(name)))).toString())).toBe(comparable(text));
    expect(await exportOf(service, name)).not.toContain(MARK);
  }

  // A repeat leaves what there is, and says so.
  const before = await readFile(join(to, 'run-1.ndjson.gz'));
  expect(await person(['run', 'archive', 'run-1', '--to', to, '--json'])).toEqual({
    code: 0,
    out: '{"run_id":"run-1","file":null}',
    err: '',
  });
  expect(await readFile(join(to, 'run-1.ndjson.gz'))).toEqual(before);

  const database = await imported(
    'sqlite',
    names.map(name => join(to, name)),
  );
  const fresh = await serviceOn('sqlite', { database });
  for (const [name, text] of texts) expect(comparable(await exportOf(fresh, name))).toBe(comparable(text));
});

it('archives what was closed long ago, and needs to know what', async () => {
  const { service, to, person } = await withArchives();
  await markedRun(service.send, 'run-1');
  await markedRun(service.send, 'run-2');
  expect(await person(['run', 'archive', '--closed-before', '90d', '--to', to])).toEqual({ code: 0, out: '', err: '' });
  const { code, out } = await person(['run', 'archive', '--closed-before', '0', '--to', to]);
  expect([code, out]).toEqual([0, ['run-1', 'run-2'].map(run => `${run}: ${join(to, run)}.ndjson.gz`).join('\n')]);
  expect(await person(['run', 'archive', '--closed-before', '0', '--to', to])).toEqual({ code: 0, out: '', err: '' });
  for (const args of [[], ['run-1'], ['--to', to], ['run-1', '--closed-before', '1d', '--to', to]])
    expect(await person(['run', 'archive', ...args]), args.join(' ')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/needs --to FOLDER/),
    });
});

it('does not erase a run whose archive cannot be written', async () => {
  const { service, folder, to, person } = await withArchives();
  await markedRun(service.send, 'run-1');
  await mkdir(to);
  const file = join(to, 'run-1.ndjson.gz');
  for (const content of ['no archive', gzipSync('{"type":"run","run":{"run_id":"run-2"}}\n')]) {
    await writeFile(file, content);
    const { code, err } = await person(['run', 'archive', 'run-1', '--to', to]);
    expect([code, err]).toEqual([1, `The file ${file} is no archive of the run run-1; move it away.`]);
    expect(await readFile(file)).toEqual(Buffer.from(content));
  }
  await writeFile(join(folder, 'file'), 'no folder');
  await expect(person(['run', 'archive', 'run-1', '--to', join(folder, 'file')])).resolves.toMatchObject({
    code: 1,
    err: expect.stringMatching(/cannot be written \(E\w+\)/),
  });
  expect(await exportOf(service, 'run-1')).toContain(MARK);
  // An earlier archive of the run itself, after which its erasure was not reached, is replaced.
  await writeFile(file, gzipSync('{"type":"run","run":{"run_id":"run-1"}}\n'));
  expect((await person(['run', 'archive', 'run-1', '--to', to])).code).toBe(0);
  expect(await readdir(to)).toEqual(['run-1.ndjson.gz']);
  expect(gunzipSync(await readFile(file)).toString()).toContain(MARK);
});

/** Stands in front of a service. `answered` runs before the answer to a request is passed on. @returns the environment that leads there */
async function inFront(service: TestApp, answered: (url: string) => Promise<void>) {
  const server = createServer(async ({ method, url = '' }, response) => {
    const { statusCode, headers, body } = await service.app.inject({ method: method as 'GET', url });
    await answered(url);
    response.writeHead(statusCode, headers as OutgoingHttpHeaders).end(body);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close().closeAllConnections());
  return { FORUMBUS_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

it('archives what comes until the erasure, and leaves no file of a run that was erased meanwhile', async () => {
  const { service, to, person } = await withArchives();
  const { discussion } = await markedRun(service.send, 'run-1');
  await markedRun(service.send, 'run-2');
  const post = (body: string) =>
    service.send('POST', `/threads/${discussion}/posts`, { body, actor: { type: 'operator', name: 'ana' } });
  let looks = 0;
  const meanwhile = new Map<string, () => Promise<unknown>>([
    ['/runs/run-1/export', () => post('during the export')],
    // The first look precedes the export; after the second, the archive gets its name and the run is erased.
    [
      '/runs/run-1',
      async () => {
        looks += 1;
        if (looks === 2) await post('after the last look');
      },
    ],
    ['/runs/run-2/export', () => service.send('DELETE', '/runs/run-2')],
  ]);
  const env = await inFront(service, async url => {
    await meanwhile.get(url)?.();
    if (url.endsWith('/export')) meanwhile.delete(url);
  });
  expect(await person(['run', 'archive', 'run-1', 'run-2', '--to', to], { env })).toEqual({
    code: 0,
    out: `run-1: ${join(to, 'run-1.ndjson.gz')}\nrun-2: erased before`,
    err: '',
  });
  expect(await readdir(to)).toEqual(['run-1.ndjson.gz']);
  const text = gunzipSync(await readFile(join(to, 'run-1.ndjson.gz'))).toString();
  for (const body of ['during the export', 'after the last look']) expect(text).toContain(`"body":"${body}"`);
  expect(await exportOf(service, 'run-1')).not.toContain('after the last look');
});

it('gives up on a run that goes on and on, and erases nothing of it', async () => {
  const { service, to, person } = await withArchives();
  const { discussion } = await markedRun(service.send, 'run-1');
  const actor = { type: 'operator', name: 'ana' };
  const env = await inFront(service, async url => {
    if (url.endsWith('/export')) await service.send('POST', `/threads/${discussion}/posts`, { body: 'more', actor });
  });
  expect(await person(['run', 'archive', 'run-1', '--to', to], { env })).toEqual({
    code: 1,
    out: '',
    err: 'The run run-1 goes on changing; try again later.',
  });
  expect(await exportOf(service, 'run-1')).toContain(MARK);
});

it('is ended by Ctrl-C without a file that is not whole, and nothing is erased without its archive', async () => {
  const { service, folder, to, place } = await withArchives();
  await markedRun(service.send, 'run-1');
  await markedRun(service.send, 'run-2');
  const asked = Promise.withResolvers<void>();
  const env = await inFront(service, async url => {
    if (url !== '/runs/run-2/export') return;
    asked.resolve();
    await new Promise(() => {});
  });
  const { child, ended } = spawnCli(['run', 'archive', 'run-1', 'run-2', '--to', to], {
    env: { ...place.env, ...env },
    cwd: folder,
  });
  await asked.promise;
  child.kill('SIGINT');
  expect(await ended).toMatchObject({ code: 1, err: expect.stringMatching(/interrupted; repeat it to go on/) });
  expect(await readdir(to)).toEqual(['run-1.ndjson.gz']);
  expect(await exportOf(service, 'run-1')).not.toContain(MARK);
  expect(await exportOf(service, 'run-2')).toContain(MARK);
});

it.each([
  ['run-7', 'run-7'],
  ['shop@main', 'shop@main'],
  ['Run-7', 'run-7-'],
  ['../../etc/passwd', 'etc-passwd-'],
  ['..', 'run-'],
  ['übung', 'bung-'],
  ['a.', 'a-'],
  ['run-7-0123456789abcdef', 'run-7-0123456789abcdef-'],
  ['x'.repeat(200), `${'x'.repeat(48)}-`],
])('names the archive of %s safely', (run, name) => {
  const found = archiveName(run);
  expect(found).toMatch(/^[a-z0-9][a-z0-9@._+-]*\.ndjson\.gz$/);
  if (name.endsWith('-')) expect(found).toMatch(new RegExp(`^${name}[0-9a-f]{16}\\.ndjson\\.gz$`));
  else expect(found).toBe(`${name}.ndjson.gz`);
});

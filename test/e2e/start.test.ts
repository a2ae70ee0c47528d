import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { readConfig } from '../../src/config.ts';
import { EVERYTHING } from '../../src/db/postgres/locks.ts';
import { startApp } from '../helpers/app.ts';
import { emptyDatabase, engines, scratchDatabase } from '../helpers/engines.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import { freePort } from '../helpers/ports.ts';
import { forThisTest, runCommand, spawnService, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';
import { listen } from '../helpers/socket.ts';
import { sqlBeside } from '../helpers/sql.ts';

const FATAL = 60;
const folder = async () => (await forThisTest(scratchFolder())).path;
const database = async (engine: 'sqlite' | 'postgres') => (await forThisTest(emptyDatabase(engine))).url;

/** A program that loads the handlers of each of its folders and prints why it could not. */
const REFUSALS = `
  import { loadHandlers } from ${JSON.stringify(new URL('../../src/worker/load-handlers.ts', import.meta.url).href)};
  const reason = folder => loadHandlers(folder, {}).then(() => 'none', error => error.constructor.name + ': ' + error.message);
  console.log(JSON.stringify(await Promise.all(process.argv.slice(1).map(reason))));`;

/** What a program prints that runs in a Node of its own. */
async function inNode(program: string, args: string[]): Promise<string> {
  return (await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, ...args])).stdout;
}

/** Starts a service that must refuse to start, and answers its one sentence. */
async function refusal(env: Record<string, string>, file = 'main.ts'): Promise<string> {
  const service = spawnService(env, { file });
  expect(await service.exited, service.output).toEqual({ code: 1, signal: null });
  expect(service.stderr).toBe('');
  expect(service.strays).toEqual([]);
  const fatal = service.logs.filter(line => line.level >= FATAL);
  expect(fatal, service.output).toHaveLength(1);
  return fatal[0]?.msg ?? '';
}

describe('a start', () => {
  it('needs no preparation: it makes the folder and the file, serves, and keeps what it stored', async () => {
    const cwd = await folder();
    const service = await startService({}, { cwd });
    expect(existsSync(join(cwd, 'data/forumbus.db'))).toBe(true);
    expect((await service.send('GET', '/readyz')).status).toBe(200);
    const { status, body } = await service.send('POST', '/control-signals', signal('completion'));
    expect(status).toBe(201);
    service.kill('SIGTERM');
    expect(await service.exited).toEqual({ code: 0, signal: null });
    expect(service.strays).toEqual([]);
    expect(service.stderr).toBe('');

    const again = await startService({}, { cwd });
    expect((await again.send('GET', `/control-signals/${body.signal.signal_id}`)).body).toEqual(body.signal);
  });

  it("puts Node's warnings into the log, not on stderr", async () => {
    // A package.json without a type beside modules makes Node warn; many a project has one.
    const source = 'export const topic: string = "forum.integration.x";\nexport function handle(): void {}\n';
    const HANDLERS_DIR = await handlersFolder({ 'package.json': '{}', 'x.ts': source });
    const service = await startService({ HANDLERS_DIR, DATABASE_URL: await database('sqlite') });
    service.kill('SIGTERM');
    await service.exited;
    expect(service.stderr).toBe('');
  });
});

describe('a start that cannot succeed ends with 1 and one sentence', () => {
  it('for a setting that is wrong', async () => {
    expect(await refusal({ DATABASE_URL: await database('sqlite'), PORT: 'abc' })).toBe(
      'The setting PORT is wrong: it must be a whole number, not abc.',
    );
  });

  it.each([
    ['PORT', 'abc'],
    ['LEASE_MS', '1'],
    ['ROLE', 'boss'],
    ['LOG_LEVEL', 'loud'],
    ['BASE_PATH', 'forumbus'],
    ['BASE_PATH', '/a/../b'],
    ['BASE_PATH', '//elsewhere.example'],
    ['TRUST_PROXY', 'nginx'],
    ['WEBHOOK_ALLOW_CIDRS', '10.1.0.0/33'],
    ['DATABASE_URL', 'mysql://localhost/forumbus'],
    ['PUBLIC_URL', 'https://['],
    ['CORS_ORIGINS', 'https://a.example,https://['],
  ])('that names the setting: %s=%s', (name, value) => {
    const environment = { DATABASE_URL: 'sqlite:never-opened.db', [name]: value };
    expect(() => readConfig(environment)).toThrow(`The setting ${name} is wrong`);
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['a client without a provider', { OIDC_ISSUER: '' }, /^The setting OIDC_CLIENT_ID needs OIDC_ISSUER\.$/],
    [
      'a provider by plain http',
      { OIDC_ISSUER: 'http://login.example.org' },
      /OIDC_ISSUER is wrong: it must be an https/,
    ],
    ['a provider with a query', { OIDC_ISSUER: 'https://login.example.org/?x=1' }, /OIDC_ISSUER is wrong/],
    ['a provider with a password', { OIDC_ISSUER: 'https://a:b@login.example.org' }, /OIDC_ISSUER is wrong/],
    ['a provider that is no URL', { OIDC_ISSUER: 'login.example.org' }, /OIDC_ISSUER is wrong/],
    ...['common/v2.0', 'organizations/v2.0', 'consumers'].map((tenants): [string, Record<string, string>, RegExp] => [
      `all tenants of Entra (${tenants})`,
      { OIDC_ISSUER: `https://login.microsoftonline.com/${tenants}` },
      /^The setting OIDC_ISSUER needs the issuer of your own tenant, such as https:\/\/login\.microsoftonline\.com\/<tenant id>\/v2\.0: /,
    ]),
    ['no client', { OIDC_CLIENT_ID: '' }, /OIDC_ISSUER needs OIDC_CLIENT_ID/],
    ['nobody who may log in', { OIDC_OPERATORS: ' , ' }, /needs OIDC_ADMINS, OIDC_OPERATORS or OIDC_VIEWERS/],
    ['no address', { PUBLIC_URL: '' }, /OIDC_ISSUER needs PUBLIC_URL/],
    [
      'an address by plain http',
      { PUBLIC_URL: 'http://forum.example.org' },
      /OIDC_ISSUER needs PUBLIC_URL, an https URL/,
    ],
  ])('for single sign-on with %s', (_case, wrong, message) => {
    const right = {
      ...{ DATABASE_URL: 'sqlite:never-opened.db', PUBLIC_URL: 'https://forum.example.org' },
      ...{ OIDC_ISSUER: 'https://login.example.org', OIDC_CLIENT_ID: 'forumbus', OIDC_OPERATORS: 'ops' },
    };
    readConfig({
      ...right,
      OIDC_ISSUER: 'https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0',
    });
    for (const local of ['http://127.0.0.1:8080', 'http://[::1]:8080', 'http://localhost']) {
      readConfig({ ...right, OIDC_ISSUER: local, PUBLIC_URL: local });
    }
    expect(readConfig(right)).toMatchObject(right);
    expect(() => readConfig({ ...right, ...wrong })).toThrow(message);
  });

  it('for a file that another instance uses, which goes on serving', async () => {
    const scratch = await forThisTest(scratchDatabase('sqlite'));
    const first = await startApp('sqlite', { database: scratch });
    onTestFinished(first.close);
    const message = await refusal({ DATABASE_URL: scratch.url });
    expect(message).toMatch(/forumbus\.db is in use by another Forumbus process/);
    expect((await first.send('POST', '/control-signals', signal('completion'))).status).toBe(201);
  });

  it('for a link to such a file', async () => {
    const scratch = await forThisTest(scratchDatabase('sqlite'));
    const first = await startApp('sqlite', { database: scratch });
    onTestFinished(first.close);
    const link = join(await folder(), 'link.db');
    await symlink(scratch.url.slice('sqlite:'.length), link);
    expect(await refusal({ DATABASE_URL: `sqlite:${link}` })).toMatch(/forumbus\.db is in use by another Forumbus/);
  });

  it.each(['loop/x.db', `${'x'.repeat(256)}.db`, '/proc/x.db', '/proc/x/y.db'])(
    'for a path that no file can have: %s',
    async name => {
      const path = await folder();
      await symlink('loop', join(path, 'loop'));
      const message = await refusal({ DATABASE_URL: `sqlite:${resolve(path, name)}` });
      expect(message).toMatch(/^The database file .*\.db cannot be opened for writing \(E[A-Z]+\)\.$/);
    },
  );

  it('for a file below a regular file', async () => {
    const path = await folder();
    await writeFile(join(path, 'file'), '');
    const message = await refusal({ DATABASE_URL: `sqlite:${path}/file/forumbus.db` });
    expect(message).toMatch(/file\/forumbus\.db cannot be opened for writing \(\w+\)/);
  });

  it('for a folder in the place of the file', async () => {
    const path = await folder();
    await mkdir(join(path, 'forumbus.db'));
    const message = await refusal({ DATABASE_URL: `sqlite:${path}/forumbus.db` });
    expect(message).toMatch(/forumbus\.db cannot be opened for writing \(\w+\)/);
  });

  it('for a file that is no SQLite database, and leaves it as it was', async () => {
    const path = join(await folder(), 'notes.txt');
    const notes = 'These notes are longer than the header of a database. '.repeat(20);
    await writeFile(path, notes);
    expect(await refusal({ DATABASE_URL: `sqlite:${path}` })).toContain('notes.txt is not a SQLite database');
    expect(await readFile(path, 'utf8')).toBe(notes);
  });

  it('for a PostgreSQL that cannot be reached, without its password', async () => {
    const DATABASE_URL = `postgres://ana:sec:r@et@127.0.0.1:${await freePort()}/forumbus`;
    const service = spawnService({ DATABASE_URL });
    expect(await service.exited).toEqual({ code: 1, signal: null });
    expect(service.logs.filter(line => line.level >= FATAL).map(line => line.msg)).toEqual([
      expect.stringMatching(/postgres:\/\/ana:\*\*\*@127\.0\.0\.1:\d+\/forumbus cannot be reached \(ECONNREFUSED\)/),
    ]);
    expect(service.output).not.toMatch(/sec|r@|et@/);
  });

  it('for a PostgreSQL database that does not exist', async () => {
    const url = new URL(await database('postgres'));
    url.pathname = '/no_such_database';
    const message = await refusal({ DATABASE_URL: url.href });
    expect(message).toContain('/no_such_database cannot be reached');
    expect(message).not.toContain(url.password);
  });

  it('for a PostgreSQL database that another program keeps locked, as an import does', async () => {
    const DATABASE_URL = (await forThisTest(scratchDatabase('postgres'))).url;
    const other = new pg.Client({ connectionString: DATABASE_URL });
    await other.connect();
    onTestFinished(() => other.end());
    await other.query('begin');
    await other.query(`select pg_advisory_xact_lock(${EVERYTHING})`);
    const reason = 'Another program, such as an import, has kept the database locked for too long. Retry later.';
    const create = ['create', '--role', 'admin', '--actor', 'operator:ana'];
    const [service, command] = await Promise.all([
      refusal({ DATABASE_URL }),
      runCommand('token', create, { DATABASE_URL }),
    ]);
    expect(service).toBe(`Forumbus could not start. ${reason}`);
    expect(command.logs.map(({ msg, err }) => [msg, err])).toEqual([[`The command failed. ${reason}`, undefined]]);
  });

  it.each(engines)('for a schema that is newer than the code, on %s', async engine => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    await sqlBeside(DATABASE_URL, `insert into kysely_migration (name, timestamp) values ('999-future', '2030-01-01')`);
    expect(await refusal({ DATABASE_URL })).toMatch(/newer than this version of Forumbus.*999-future/);
  });

  it('for a port in use', async () => {
    const first = await startApp('sqlite');
    onTestFinished(first.close);
    const port = await listen(first.app);
    const DATABASE_URL = await database('sqlite');
    const message = await refusal({ DATABASE_URL, PORT: String(port) });
    expect(message).toBe(`The address 127.0.0.1:${port} is in use.`);
  });

  it.each(['nosuch.invalid', '300.1.1.1'])('for a HOST that is none: %s', async HOST => {
    const env = { DATABASE_URL: await database('sqlite'), HOST, ADMIN_TOKEN_FILE: join(await folder(), 'token') };
    await writeFile(env.ADMIN_TOKEN_FILE, `fbt_${'0'.repeat(16)}_${'0'.repeat(64)}`, { mode: 0o600 });
    expect(await refusal(env)).toMatch(/^The setting HOST is wrong: no address of the name .* is found \((E\w+)\)\.$/);
  });

  it('for a HANDLERS_DIR that is not there', async () => {
    const HANDLERS_DIR = join(await folder(), 'handlers');
    const DATABASE_URL = await database('sqlite');
    expect(await refusal({ DATABASE_URL, HANDLERS_DIR })).toMatch(/HANDLERS_DIR=.*handlers cannot be read \(ENOENT\)/);
  });

  it('for a handler that cannot be loaded', async () => {
    const HANDLERS_DIR = await handlersFolder({ 'broken.mjs': 'export function handle( {' });
    const message = await refusal({ DATABASE_URL: await database('sqlite'), HANDLERS_DIR });
    expect(message).toMatch(/The handler .*broken\.mjs cannot be used: ./);
  });
});

describe('a handler that cannot be used', () => {
  const topic = "export const topic = 'forum.integration.x';";
  /** What Node itself would print is not enough: file, line and column of the fault. */
  const placed: [name: string, file: string, source: string, place: string][] = [
    ['JavaScript', 'broken.mjs', `${topic}\nexport const a = ;`, 'broken.mjs:2:18'],
    ['JavaScript that ends early', 'broken.js', `${topic}\nexport function handle( {`, 'broken.js:2:26'],
    ['TypeScript', 'broken.ts', `${topic}\nconst a: = 1;`, 'broken.ts:2:10'],
    ['TypeScript that cannot be stripped', 'broken.ts', `${topic}\n  enum A { B }`, 'broken.ts:2:3'],
    ['a module that it imports', 'broken.mjs', `import './lib/bad.mjs';\n${topic}`, 'lib/bad.mjs:1:11'],
    ['an import that is not exported', 'broken.mjs', `\nimport { a } from './lib/good.mjs';`, 'broken.mjs:2:10'],
    ['an error at load', 'broken.mjs', `\n\nthrow new Error('no token');`, 'broken.mjs:3:7'],
    ['JavaScript beside our import', 'broken.mjs', `import 'forumbus/handler';\nconst a = ;`, 'broken.mjs:2:11'],
    [
      'a helper beside our import',
      'broken.mjs',
      `import 'forumbus/handler'; import './lib/bad.mjs';`,
      'lib/bad.mjs:1:11',
    ],
    ['JSON at load', 'broken.mjs', `\nJSON.parse('{');`, 'broken.mjs:2:6'],
  ];

  it('is refused with the file, the line and the column of its fault', async () => {
    const lib = { 'bad.mjs': 'const a = ;', 'good.mjs': 'export const b = 1;' };
    const folders = await Promise.all(
      placed.map(async ([, file, source]) => {
        const path = await handlersFolder({ [file]: source });
        await mkdir(join(path, 'lib'));
        for (const [name, text] of Object.entries(lib)) await writeFile(join(path, 'lib', name), text);
        return path;
      }),
    );
    const reasons: string[] = JSON.parse(await inNode(REFUSALS, folders));
    const places = reasons.map((reason, index) =>
      /cannot be used: (\S+:\d+:\d+): ./.exec(reason)?.[1]?.replace(`${folders[index]}/`, ''),
    );
    expect(places).toEqual(placed.map(([, , , place]) => place));
  });

  it('does not count if its name begins with a dot', async () => {
    const HANDLERS_DIR = await handlersFolder({ '._a.mjs': '\0', '.b.ts': 'no handler', '.c.js': 'no handler' });
    const service = await startService({ HANDLERS_DIR, DATABASE_URL: await database('sqlite') });
    const { handlers } = (await service.send('GET', '/bus/topics')).body;
    expect(handlers.map(({ handler }: { handler: string }) => handler)).toEqual(['forumbus']);
  });

  it('is warned of if it waits for a topic that does not exist', async () => {
    const source = `export const topic = ['forum.events.question.opend', 'forum.events.**']; export function handle() {}`;
    const HANDLERS_DIR = await handlersFolder({ 'x.mjs': source });
    const service = await startService({ HANDLERS_DIR, DATABASE_URL: await database('sqlite') });
    expect(service.logs.filter(({ level }) => level === 40)).toEqual([
      expect.objectContaining({
        handler: 'x',
        pattern: 'forum.events.question.opend',
        nearest: 'forum.events.question.opened',
      }),
      expect.objectContaining({ msg: expect.stringMatching(/^The service has no tokens/) }),
    ]);
  });

  const broken: [name: string, source: string, reason: RegExp][] = [
    ['a syntax error', `${topic} export function handle( {`, /./],
    [
      'a missing import',
      `import './absent.js'; ${topic} export function handle() {}`,
      /^Cannot find module \S*absent\.js/,
    ],
    ['an error at load', `throw new Error('no token');`, /no token/],
    ['an error at load that is no Error', `throw undefined;`, /./],
    ['no export', 'const nothing = 1;', /must export topic and handle/],
    ['no handle', topic, /must export topic and handle/],
    ['no topic', 'export function handle() {}', /must export topic and handle/],
    ['a topic that is none', `export const topic = 'a..b'; export function handle() {}`, /a\.\.b/],
  ];

  // One process tries them all: how a start ends that one of them prevents is said above. Node loads them, not the test runner.
  it('is refused with its name and the reason', async () => {
    const folders = await Promise.all(broken.map(([, source]) => handlersFolder({ 'broken.mjs': source })));
    const reasons: string[] = JSON.parse(await inNode(REFUSALS, folders));
    expect(reasons).toHaveLength(broken.length);
    for (const [index, [name, , reason]] of broken.entries()) {
      const [refused, because] = String(reasons[index]).split(' cannot be used: ');
      expect(refused, name).toBe(`StartError: The handler ${folders[index]}/broken.mjs`);
      expect(because, name).toMatch(reason);
    }
  });
});

describe.each(engines)('npm run migrate on %s', engine => {
  it('brings an empty database up to date, and does nothing the second time', async () => {
    expect(packageJson.scripts.migrate).toMatch(/^exec node .* src\/commands\/migrate\.ts$/);
    const DATABASE_URL = await database(engine);
    for (const migrations of [expect.arrayContaining(['001-spine']), []]) {
      const command = spawnService({ DATABASE_URL }, { file: 'commands/migrate.ts' });
      expect(await command.exited, command.output).toEqual({ code: 0, signal: null });
      expect(command.logs).toEqual([expect.objectContaining({ msg: 'the schema is up to date', migrations })]);
      expect(command.stderr).toBe('');
    }
    const service = await startService({ DATABASE_URL });
    expect(service.logs.map(line => line.msg)).not.toContain('database migrated');
    expect((await service.send('GET', '/readyz')).status).toBe(200);
  });
});

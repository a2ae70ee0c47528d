import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, it, vi } from 'vitest';
import { diagnose } from '../../src/doctor/diagnose.ts';
import type { Finding } from '../../src/doctor/finding.ts';
import { dump } from '../helpers/database.ts';
import { emptyDatabase, engines, scratchDatabase } from '../helpers/engines.ts';
import { damage, fileOf, migrate, migrated } from '../helpers/files.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import { startOpenidProvider } from '../helpers/openid-provider.ts';
import { freePort } from '../helpers/ports.ts';
import { forThisTest, runCommand, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { signal } from '../helpers/signals.ts';
import { makeReadOnly, smallDisk } from '../helpers/small-disk.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { unserved } from '../helpers/subscriptions.ts';

const DAY = 86_400_000;

const doctor = (environment: Record<string, string>) => diagnose(environment, pino({ level: 'silent' }));

/** The findings of one check. */
async function of(check: string, environment: Record<string, string>): Promise<Finding[]> {
  return (await doctor(environment)).filter(finding => finding.check === check);
}

const found = (level: Finding['level'], finding: RegExp) =>
  expect.objectContaining({
    level,
    finding: expect.stringMatching(finding),
    advice: level === 'ok' ? null : expect.any(String),
  });

const handlers = {
  'broken.mjs': `export const topic = 'forum.integration.broken';
    export function handle(_, context) { throw context.permanent('no'); }`,
  'strict.mjs': `export const topic = 'forum.integration.strict';
    export const policy = { dead: 'block' };
    export function handle(_, context) { throw context.permanent('no'); }`,
  'held.mjs': `export const topic = ['forum.integration.held', 'forum.events.control.*'];
    export function handle() {}`,
  'fatal.mjs': `export const topic = 'forum.integration.fatal';
    export function handle() { process.kill(process.pid, 'SIGKILL'); }`,
};

describe.each(engines)('the doctor beside a service, on %s', engine => {
  it('finds what has piled up, and afterwards what a killed worker has left', { timeout: 90_000 }, async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    const env = { DATABASE_URL, HANDLERS_DIR: await handlersFolder(handlers), LEASE_MS: '300' };
    const service = await startService(env);
    const publish = async (name: string, fields: object = {}) => {
      const message = { topic: `forum.integration.${name}`, payload: {}, ...fields };
      expect((await service.send('POST', '/outbox', message)).status).toBe(201);
    };
    expect((await service.send('POST', '/bus/topics/forum.integration.held/pause')).status).toBe(200);
    for (const name of ['broken', 'broken', 'nobody', 'held']) await publish(name);
    await publish('strict', { message_id: 'first', message_key: 'key-1' });
    await unserved(DATABASE_URL, { names: ['gone'], topics: ['forum.integration.gone', 'forum.events.control.*'] });
    await publish('gone');
    expect((await service.send('POST', '/control-signals', signal('completion'))).status).toBe(201);
    await vi.waitFor(
      async () => {
        const { body } = await service.send('GET', '/outbox/stats');
        expect(body.by_status).toMatchObject({ dead: 3, failed: 1, pending: 3, sent: 1 });
      },
      { timeout: 10_000, interval: 50 },
    );
    await sqlBeside(DATABASE_URL, `update deliveries set created_at = created_at - 3600000 where status = 'pending'`);

    const before = await dump(DATABASE_URL);
    const command = await runCommand('doctor', [], env);
    expect(await dump(DATABASE_URL)).toEqual(before);
    expect(command.stderr).toBe('');
    // A blocked key is a problem.
    expect(command.code).toBe(1);
    const lines = command.strays;
    expect(lines.filter(line => !/^(ok|warning|problem) +[a-z]+ +\S.*\.$/.test(line))).toEqual([]);
    const starting = (text: string) => lines.find(line => line.startsWith(text));
    expect(starting('ok       settings ')).not.toContain('forumbus@');
    expect(starting('ok       handlers ')).toContain('4 loaded from');
    expect(starting('ok       database ')).toMatch(engine === 'sqlite' ? /forumbus\.db \(.*written/ : /PostgreSQL \d+/);
    expect(lines.filter(line => /^ok +(integrity|log|disk) /.test(line))).toHaveLength(engine === 'sqlite' ? 3 : 0);
    expect(starting('ok       schema ')).toContain('up to date');
    expect(starting('ok       leases ')).toBeDefined();
    expect(starting('warning  dead ')).toContain('2 of forum.integration.broken, 1 of forum.integration.strict.');
    expect(starting('problem  lanes ')).toContain('key-1 (first of forum.integration.strict).');
    expect(starting('warning  unhandled ')).toContain('Messages without a handler: 1 of forum.integration.nobody.');
    expect(starting('warning  unserved ')).toMatch(/no process serves: 2 of gone\. Start a process .*DELETE/);
    expect(starting('warning  paused ')).toContain('forum.integration.held');
    expect(starting('warning  pending ')).toContain('published 60 minutes ago');

    await publish('fatal');
    await service.exited;
    expect(await of('leases', { ...env, LEASE_MS: '60000' })).toEqual([found('ok', /No lease/)]);
    const overdue = found('problem', /^Messages whose lease expired more than 1 seconds ago: 1\.$/);
    await vi.waitFor(async () => expect(await of('leases', env)).toEqual([overdue]), { timeout: 5000, interval: 100 });
    const forPrograms = await runCommand('doctor', ['--json'], env);
    expect(forPrograms.code).toBe(1);
    expect(forPrograms.logs[0]?.findings).toContainEqual(overdue);
  });

  it('says when the schema is not the one of the code', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    await migrate(DATABASE_URL);
    await sqlBeside(DATABASE_URL, `delete from kysely_migration where name = '005-access'`);
    expect(await of('schema', { DATABASE_URL })).toEqual([found('problem', /missing: 005-access/)]);
    await sqlBeside(DATABASE_URL, `insert into kysely_migration (name, timestamp) values ('999-future', '2030-01-01')`);
    expect(await of('schema', { DATABASE_URL })).toEqual([found('problem', /newer than this version.*999-future/)]);
  });

  it('says who gets in', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    await migrate(DATABASE_URL);
    const open = { DATABASE_URL, HOST: '0.0.0.0' };
    expect(await of('tokens', { DATABASE_URL })).toEqual([found('ok', /only this machine/)]);
    expect(await of('tokens', open)).toEqual([found('problem', /no tokens and HOST is 0\.0\.0\.0/)]);
    const make = (id: string, expires: number | null, revoked: number | null) =>
      sqlBeside(
        DATABASE_URL,
        `insert into tokens (token_id, secret_hash, role, actor, created_at, created_by, expires_at, revoked_at)
           values ('${id}', 'x', 'admin', 'human:ana', 0, 'human:ana', ${expires}, ${revoked})`,
      );
    await make('tok_expired', Date.now() - DAY, null);
    await make('tok_revoked', null, Date.now() - DAY);
    expect(await of('tokens', open)).toEqual([found('problem', /All 2 tokens have expired or been revoked/)]);
    await make('tok_late', Date.now() + 30 * DAY, null);
    expect(await of('tokens', open)).toEqual([found('ok', /1 of 3 tokens are valid/)]);
    await make('tok_soon', Date.now() + 3 * DAY, null);
    expect(await of('tokens', open)).toEqual([found('warning', /tok_soon \(admin\) expires in 3 days/)]);
  });

  it('says that nobody can answer with the tokens that are valid, unless people log in otherwise', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    await migrate(DATABASE_URL);
    const make = (id: string, role: string, runs: string | null) =>
      sqlBeside(
        DATABASE_URL,
        `insert into tokens (token_id, secret_hash, role, ${runs ? 'runs, agents' : 'actor'}, created_at, created_by)
           values ('${id}', 'x', '${role}', ${runs ? `'${runs}', 'a'` : "'human:ana'"}, 0, 'command')`,
      );
    await make('tok_agent', 'agent', 'r');
    await make('tok_viewer', 'viewer', null);
    const locked = found('warning', /^No valid token is of an operator or admin: nobody can answer/);
    expect(await of('tokens', { DATABASE_URL })).toEqual([locked]);
    const provider = { OIDC_ISSUER: 'http://127.0.0.1:1', OIDC_CLIENT_ID: 'forumbus', OIDC_OPERATORS: 'ops' };
    const valid = found('ok', /2 of 2 tokens are valid/);
    expect(await of('tokens', { DATABASE_URL, PUBLIC_URL: 'http://127.0.0.1:4010', ...provider })).toEqual([valid]);
    await make('tok_operator', 'operator', null);
    expect(await of('tokens', { DATABASE_URL })).toEqual([found('ok', /3 of 3 tokens are valid/)]);
  });

  it('says whether the OpenID provider answers, and leaves tokens of logins alone', async () => {
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase(engine));
    await migrate(DATABASE_URL);
    const redirect = 'http://127.0.0.1:4010/page/login/oidc/callback';
    const provider = await startOpenidProvider(redirect, {});
    const oidc = { OIDC_ISSUER: provider.issuer, OIDC_CLIENT_ID: 'forumbus', OIDC_OPERATORS: 'ops' };
    const env = { DATABASE_URL, HOST: '0.0.0.0', PUBLIC_URL: 'http://127.0.0.1:4010', ...oidc };
    expect(await of('oidc', env)).toEqual([found('ok', new RegExp(`answers; it has to know ${redirect} `))]);
    await provider.close();
    expect(await of('oidc', env)).toEqual([found('problem', /does not answer as a provider should: fetch failed/)]);
    expect(await of('oidc', { DATABASE_URL })).toEqual([]);
    await sqlBeside(
      DATABASE_URL,
      `insert into tokens (token_id, secret_hash, role, actor, created_at, created_by, expires_at)
         values ('login', 'x', 'operator', 'human:ana', 0, 'oidc:u1', ${Date.now() + DAY / 2})`,
    );
    expect(await of('tokens', env)).toEqual([found('warning', /no valid tokens: people can log in/)]);
    await sqlBeside(
      DATABASE_URL,
      `insert into tokens (token_id, secret_hash, role, actor, created_at, created_by)
         values ('admin', 'x', 'admin', 'human:ana', 0, 'command')`,
    );
    expect(await of('tokens', env)).toEqual([found('ok', /1 of 1 tokens are valid/)]);
  });
});

describe('the doctor, about what a start would refuse', () => {
  it('names the wrong setting, and the handler that does not load', async () => {
    const DATABASE_URL = await migrated();
    expect(await doctor({ LEASE_MS: '1' })).toEqual([found('problem', /The setting LEASE_MS is wrong/)]);
    const stray = await handlersFolder({
      'x.mjs': `export const topic = 'forum.evnts.**'; export function handle() {}`,
    });
    expect(await of('handlers', { DATABASE_URL, HANDLERS_DIR: stray })).toEqual([
      found('ok', /1 loaded/),
      found('warning', /^No message matches forum\.evnts\.\*\* of x\.$/),
    ]);
    const twins = { 'x.mjs': 'export const topic = "a"; export function handle() {}' };
    const HANDLERS_OF_ONE_NAME = await handlersFolder({ ...twins, 'x.js': twins['x.mjs'] });
    expect(await of('handlers', { DATABASE_URL, HANDLERS_DIR: HANDLERS_OF_ONE_NAME })).toEqual([
      found('problem', /^Two handlers are named x;/),
    ]);
    const HANDLERS_DIR = await handlersFolder({ 'bad.mjs': `throw new Error('no\\n token');` });
    expect(await of('handlers', { DATABASE_URL, HANDLERS_DIR })).toEqual([found('problem', /bad\.mjs cannot be used/)]);
    // One that keeps the process alive must not keep the doctor from ending.
    const timer = `setInterval(() => {}, 1000); throw new Error('no\\n token');`;
    const command = await runCommand('doctor', [], {
      DATABASE_URL,
      HANDLERS_DIR: await handlersFolder({ 'x.mjs': timer }),
    });
    expect(command.code).toBe(1);
    expect(command.strays).toContainEqual(expect.stringMatching(/^problem +handlers +.*no token\. Correct it/));
  });

  it('names a HOST on which nothing can listen', async () => {
    const DATABASE_URL = await migrated();
    const wrong = { DATABASE_URL, HOST: 'nosuch.invalid' };
    expect(await of('address', wrong)).toEqual([found('problem', /cannot listen on nosuch\.invalid \(E/)]);
    expect(await of('address', { DATABASE_URL })).toEqual([]);
  });

  it('looks into ADMIN_TOKEN_FILE as a start does', async () => {
    const DATABASE_URL = await migrated();
    const ADMIN_TOKEN_FILE = join((await forThisTest(scratchFolder())).path, 'token');
    const env = { DATABASE_URL, ADMIN_TOKEN_FILE, HOST: '0.0.0.0' };
    expect(await of('tokens', env)).toContainEqual(found('problem', /cannot be read \(ENOENT\)/));
    await writeFile(ADMIN_TOKEN_FILE, `fbt_${'0'.repeat(16)}_${'0'.repeat(64)}`, { mode: 0o600 });
    expect(await of('tokens', env)).toEqual([found('ok', /The next start registers the token/)]);
    await sqlBeside(
      DATABASE_URL,
      `insert into tokens (token_id, secret_hash, role, actor, created_at, created_by)
         values ('${'0'.repeat(16)}', '${'0'.repeat(64)}', 'admin', 'human:ana', 0, 'file')`,
    );
    expect(await of('tokens', env)).toEqual([found('problem', /a known token id with a different secret/)]);
  });

  it('says that there is no database yet, without making one', async () => {
    const { url: DATABASE_URL } = await forThisTest(emptyDatabase('sqlite'));
    expect(await of('database', { DATABASE_URL })).toEqual([found('warning', /There is no database at/)]);
    const command = await runCommand('doctor', [], { DATABASE_URL });
    expect(command.code, command.output).toBe(0);
  });

  it('says that a database cannot be read, reached or trusted', async () => {
    const { path } = await forThisTest(scratchFolder());
    await mkdir(join(path, 'folder.db'));
    expect(await of('database', { DATABASE_URL: `sqlite:${join(path, 'folder.db')}` })).toEqual([
      found('problem', /folder\.db cannot be opened for reading/),
    ]);
    const unreachable = `postgres://ana:secret@127.0.0.1:${await freePort()}/forumbus`;
    const [refused] = await of('database', { DATABASE_URL: unreachable });
    expect(refused).toEqual(found('problem', /cannot be reached \(ECONNREFUSED\)/));
    expect(refused?.finding).not.toContain('secret');
    const damaged = await migrated();
    await damage(fileOf(damaged));
    expect(await doctor({ DATABASE_URL: damaged })).toContainEqual(
      found('problem', /^The file is damaged|^quick_check reports/),
    );
  });

  it('says that a log has grown', async () => {
    const DATABASE_URL = await migrated();
    expect(await of('log', { DATABASE_URL })).toEqual([found('ok', /takes 0 bytes/)]);
    // A file with a hole: it is as long as a log that a reader has held up, and takes no room.
    await truncate(`${fileOf(DATABASE_URL)}-wal`, 300_000_000);
    expect(await of('log', { DATABASE_URL })).toEqual([found('warning', /takes 300 MB/)]);
  });

  it('says that a disk is full, or cannot be written', async () => {
    const disk = await smallDisk(4_000_000);
    if (!disk) return;
    const DATABASE_URL = `sqlite:${join(disk, 'forumbus.db')}`;
    await migrate(DATABASE_URL);
    expect(await of('disk', { DATABASE_URL })).toEqual([found('problem', /MB are free/)]);
    makeReadOnly(disk);
    expect(await of('database', { DATABASE_URL })).toEqual([found('problem', /cannot be written \(EROFS\)/)]);
  });
});

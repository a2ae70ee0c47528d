import { execFileSync } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { StartError } from '../../src/errors.ts';
import { startApp } from '../helpers/app.ts';
import { emptyDatabase, engines } from '../helpers/engines.ts';
import { forThisTest, runCommand, type ServiceProcess, spawnService, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { bearer } from '../helpers/tokens.ts';

const FATAL = 60;
const TOKEN = /^fbt_([0-9a-f]{16})_([0-9a-f]{64})$/;
const ADMIN = ['create', '--role', 'admin', '--actor', 'operator:ana'];

const database = async (engine: 'sqlite' | 'postgres') => (await forThisTest(emptyDatabase(engine))).url;

/** Runs the command, which must succeed, and answers the lines that it prints and nothing else. */
async function run(DATABASE_URL: string, ...args: string[]): Promise<string[]> {
  const { code, strays, logs, stderr, output } = await runCommand('token', args, { DATABASE_URL });
  expect(code, output).toBe(0);
  expect(logs).toEqual([]);
  expect(stderr).toBe('');
  return strays;
}

async function make(DATABASE_URL: string, args = ADMIN): Promise<string> {
  const [token = '', ...more] = await run(DATABASE_URL, ...args);
  expect(token).toMatch(TOKEN);
  expect(more).toEqual([]);
  return token;
}

const idOf = (token: string) => TOKEN.exec(token)?.[1] as string;

/** What a process says that has given up: one sentence. */
async function sentence(failing: ServiceProcess): Promise<string> {
  expect(await failing.exited, failing.output).toEqual({ code: 1, signal: null });
  expect(failing.stderr).toBe('');
  expect(failing.strays).toEqual([]);
  const fatal = failing.logs.filter(line => line.level >= FATAL);
  expect(fatal, failing.output).toHaveLength(1);
  expect(fatal[0]?.err).toBeUndefined();
  return fatal[0]?.msg ?? '';
}

describe.each(engines)('npm run token on %s', engine => {
  it('says on stderr that nobody can answer as long as only agents and viewers have tokens', async () => {
    const DATABASE_URL = await database(engine);
    const agent = ['create', '--role', 'agent', '--runs', 'r', '--agents', 'a'];
    const first = await runCommand('token', agent, { DATABASE_URL });
    expect(first).toMatchObject({ code: 0, strays: [expect.stringMatching(TOKEN)], logs: [] });
    expect(first.stderr).toMatch(
      /^No valid token is of an operator or admin: nobody can answer questions\. Create .*\n$/,
    );
    await make(DATABASE_URL);
    await make(DATABASE_URL, agent);
  });

  it('makes, lists and revokes tokens, first without a service and then beside one', async () => {
    const DATABASE_URL = await database(engine);
    const admin = await make(DATABASE_URL);
    const service = await startService({ DATABASE_URL });
    const status = async (token: string) => (await service.send('GET', '/stats', undefined, bearer(token))).status;
    expect((await service.send('GET', '/stats')).status).toBe(401);
    expect(await status(admin)).toBe(200);

    const agent = await make(DATABASE_URL, [
      ...['create', '--role=agent', '--runs', 'nightly-*', '--agents', 'the 2nd: *', '--expires-in=30d'],
    ]);
    expect(await status(agent)).toBe(403);
    const { items } = (await service.send('GET', '/tokens', undefined, bearer(admin))).body;
    const { created_at, ...listed } = items.find(({ token_id }: { token_id: string }) => token_id === idOf(agent));
    expect(listed).toEqual({
      token_id: idOf(agent),
      role: 'agent',
      actor: null,
      runs: 'nightly-*',
      agents: 'the 2nd: *',
      validates: null,
      created_by: 'command',
      expires_at: new Date(Date.parse(created_at) + 30 * 86_400_000).toISOString(),
      revoked_at: null,
      // Stored within a second of the request above.
      last_used_at: listed.last_used_at,
      rotated_at: null,
      overlap_ends_at: null,
    });

    const next = await make(DATABASE_URL, ['rotate', idOf(agent), '--overlap', '1h']);
    expect(idOf(next)).toBe(idOf(agent));
    expect([await status(agent), await status(next)]).toEqual([403, 403]);
    const last = await make(DATABASE_URL, ['rotate', idOf(agent), '--overlap=0']);
    expect([await status(agent), await status(next), await status(last)]).toEqual([401, 401, 403]);

    const [revoked] = await run(DATABASE_URL, 'revoke', idOf(agent));
    expect(revoked).toMatch(
      new RegExp(
        `^${idOf(agent)}  agent     agents the 2nd: \\* of runs nightly-\\*  created 2.*Z  (never used|used 2.*Z)  revoked 2.*Z$`,
      ),
    );
    expect(await status(last)).toBe(401);
    expect(await status(admin)).toBe(200);

    const lines = await run(DATABASE_URL, 'list');
    expect(lines).toEqual([
      expect.stringMatching(
        new RegExp(`^${idOf(admin)}  admin     operator:ana  created 2.*Z  (never used|used 2.*Z)  expires never$`),
      ),
      expect.stringMatching(new RegExp(`^${idOf(agent)}  .*  revoked 2.*Z$`)),
    ]);

    const events = (await service.send('GET', '/events?limit=200', undefined, bearer(admin))).body.items;
    const system = { actor: { type: 'system', name: 'command' }, token_id: null };
    expect(events).toMatchObject([
      { event_type: 'forum.token.created', ...system, payload: { token_id: idOf(admin), role: 'admin' } },
      { event_type: 'forum.token.created', ...system, payload: { token_id: idOf(agent), agents: 'the 2nd: *' } },
      { event_type: 'forum.token.rotated', ...system, payload: { token_id: idOf(agent) } },
      { event_type: 'forum.token.rotated', ...system, payload: { token_id: idOf(agent), overlap_ends_at: null } },
      { event_type: 'forum.token.revoked', ...system, payload: { token_id: idOf(agent) } },
    ]);

    // A token where it does not belong: its secret is not in the log.
    await service.send('POST', `/tokens/${admin}/revoke`, undefined, bearer(admin));
    await service.send('GET', `/stats?authorization=Bearer%20${admin}`);
    for (const token of [admin, agent, next, last]) {
      expect([...lines, service.output].join('\n').includes(token.slice(-64))).toBe(false);
    }
    expect(service.output).toContain(`/tokens/fbt_${idOf(admin)}_***/revoke`);
  });
});

describe('npm run token', () => {
  it('generates a token that is stored nowhere', async () => {
    const { path } = await forThisTest(scratchFolder());
    await make(`sqlite:${path}/forumbus.db`, ['generate']);
    expect(await readdir(path)).toEqual([]);
  });

  const create = ['create', '--role'];
  it.each<[RegExp, ...string[]]>([
    [/^The command is missing or unknown\. Usage: npm run token -- create/, 'constructor'],
    [/^--actor must be one of agent, operator, human, system/, ...create, 'viewer', '--actor', 'operators'],
    [/^--expires-in takes a time such as 90s, 9m or 8h, not soon\.$/, ...ADMIN, '--expires-in', 'soon'],
    [/^--overlap must be at most 2592000/, 'rotate', '0'.repeat(16), '--overlap', '31d'],
    [/^--expires-in must be at most 315360000/, ...ADMIN, '--expires-in', '99999d'],
    [/Unknown option '--role'/, 'list', '--role', 'admin'],
    [/^No token has this id/, 'revoke', `fbt_0123456789abcdef_${'01234567'.repeat(8)}`],
  ])('ends with 1 and one sentence, like %s', async (expected, ...args) => {
    const command = spawnService({ DATABASE_URL: await database('sqlite') }, { file: 'commands/token.ts', args });
    expect(await sentence(command)).toMatch(expected);
    expect(command.output).not.toContain('01234567'.repeat(8));
  });
});

describe('ADMIN_TOKEN_FILE', () => {
  const id = '0123456789abcdef';
  const token = `fbt_${id}_${'01'.repeat(32)}`;
  const file = async (content: string) => {
    const path = join((await forThisTest(scratchFolder())).path, 'admin-token');
    await writeFile(path, content);
    return path;
  };

  it("makes its token an admin's, on an empty database", async () => {
    const env = { DATABASE_URL: await database('sqlite'), ADMIN_TOKEN_FILE: await file(`\n${token}\n`) };
    const service = await startService({ ...env, HOST: '0.0.0.0' });
    const { body } = await service.send('GET', '/tokens', undefined, bearer(token));
    expect(body.items).toMatchObject([{ token_id: id, role: 'admin', created_by: 'file', expires_at: null }]);
    expect((await service.send('GET', '/stats')).status).toBe(401);
    expect(service.output).not.toContain('01'.repeat(32));
  });

  it('that holds no token stops the start, and is not quoted', async () => {
    const env = { DATABASE_URL: await database('sqlite'), ADMIN_TOKEN_FILE: await file('hunter2') };
    const service = spawnService(env);
    expect(await sentence(service)).toMatch(/holds no token \(`npm run token -- generate`/);
    expect(service.output).not.toContain('hunter2');
  });

  it.each(engines)('does so once, stays revoked, and stops the start if it is not what it was, on %s', async engine => {
    const scratch = await forThisTest(emptyDatabase(engine));
    const start = (ADMIN_TOKEN_FILE: string) =>
      startApp(engine, { database: scratch, config: { ADMIN_TOKEN_FILE, HOST: '0.0.0.0' } });
    const path = await file(token);
    const service = await start(path);
    await service.restart();
    expect((await service.send('GET', '/tokens', undefined, bearer(token))).body.items).toHaveLength(1);
    const viewer = { role: 'viewer', actor: { type: 'human', name: 'vera' } };
    const { body: made } = await service.send('POST', '/tokens', viewer, bearer(token));
    expect((await service.send('POST', `/tokens/${id}/revoke`, undefined, bearer(token))).status).toBe(200);
    await service.restart();
    expect((await service.send('GET', '/tokens', undefined, bearer(token))).status).toBe(401);
    await service.close();

    const fifo = join(dirname(path), 'fifo');
    execFileSync('mkfifo', [fifo]);
    const refused: [string, RegExp][] = [
      [await file(`fbt_${id}_${'02'.repeat(32)}`), /holds a known token id with a different secret/],
      [await file(made.token), /holds a token of the role viewer, not admin/],
      [`${path}-none`, /-none that ADMIN_TOKEN_FILE names cannot be read \(ENOENT\)/],
      [dirname(path), /that ADMIN_TOKEN_FILE names is no regular file/],
      // Reading it would wait for a writer.
      [fifo, /that ADMIN_TOKEN_FILE names is no regular file/],
    ];
    for (const [name, expected] of refused) {
      const error = await start(name).catch((thrown: Error) => thrown);
      expect(error).toBeInstanceOf(StartError);
      expect((error as Error).message).toMatch(expected);
      expect((error as Error).message).not.toMatch(/[0-9a-f]{64}/);
    }
  });
});

describe('a rotation of the token in ADMIN_TOKEN_FILE', () => {
  it('stops no start, which warns as long as the old secret is there and gives it no power', async () => {
    const token = `fbt_0123456789abcdef_${'01'.repeat(32)}`;
    const path = join((await forThisTest(scratchFolder())).path, 'admin-token');
    await writeFile(path, token, { mode: 0o600 });
    const env = { DATABASE_URL: await database('sqlite'), ADMIN_TOKEN_FILE: path };
    let current = token;
    for (const times of [1, 2]) {
      const service = await startService(env);
      const rotation = { overlap_seconds: 0 };
      const rotated = await service.send('POST', '/tokens/0123456789abcdef/rotate', rotation, bearer(current));
      expect(rotated.status, String(times)).toBe(200);
      current = rotated.body.token;
      service.kill('SIGTERM');
      await service.exited;
    }
    const warned = (service: ServiceProcess) => service.logs.filter(({ msg }) => /a rotation has replaced/.test(msg));
    const outdated = await startService(env);
    expect(warned(outdated)).toHaveLength(1);
    expect((await outdated.send('GET', '/tokens', undefined, bearer(token))).status).toBe(401);
    expect((await outdated.send('GET', '/tokens', undefined, bearer(current))).status).toBe(200);
    const doctor = await runCommand('doctor', [], env);
    expect(doctor.strays).toContainEqual(expect.stringMatching(/^warning +tokens +.*a rotation has replaced/));
    outdated.kill('SIGTERM');
    await outdated.exited;
    await writeFile(path, current);
    expect(warned(await startService(env))).toEqual([]);
  });
});

describe('a service that others can reach', () => {
  it('does not start without a token, says how to make one, and starts with it', async () => {
    const env = { DATABASE_URL: await database('sqlite'), HOST: '0.0.0.0' };
    const refused = await sentence(spawnService(env));
    expect(refused).toContain('`npm run token -- create --role admin --actor operator:<your name>`');
    expect(refused).toContain('HOST=0.0.0.0');
    const token = await make(env.DATABASE_URL);
    const service = await startService(env);
    expect((await service.send('GET', '/stats')).status).toBe(401);
    expect((await service.send('GET', '/stats', undefined, bearer(token))).status).toBe(200);
  });
});

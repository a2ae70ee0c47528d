import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
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
  it('makes, lists and revokes tokens, first without a service and then beside one', async () => {
    const DATABASE_URL = await database(engine);
    const admin = await make(DATABASE_URL);
    const service = await startService({ DATABASE_URL });
    const status = async (token: string) => (await service.send('GET', '/stats', undefined, bearer(token))).status;
    expect((await service.send('GET', '/stats')).status).toBe(401);
    expect(await status(admin)).toBe(200);

    const [agent, viewer] = await Promise.all([
      make(DATABASE_URL, ['create', '--role=agent', '--runs=nightly-*', '--agents=*', '--expires-in=30d']),
      make(DATABASE_URL, ['create', '--role', 'viewer', '--actor', 'human:vera: the 2nd']),
    ]);
    expect(await status(agent)).toBe(403);
    expect(await status(viewer)).toBe(200);
    const { items } = (await service.send('GET', '/tokens', undefined, bearer(admin))).body;
    const madeAt = Date.parse(items.find((item: { role: string }) => item.role === 'agent').created_at);
    expect(items).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          token_id: idOf(agent),
          runs: 'nightly-*',
          agents: '*',
          actor: null,
          created_by: 'command',
          expires_at: new Date(madeAt + 30 * 86_400_000).toISOString(),
        }),
        expect.objectContaining({ actor: { type: 'human', name: 'vera: the 2nd' }, expires_at: null }),
      ]),
    );

    const [revoked] = await run(DATABASE_URL, 'revoke', idOf(viewer));
    expect(revoked).toMatch(new RegExp(`^${idOf(viewer)}  viewer .* revoked 2`));
    expect(await status(viewer)).toBe(401);
    expect(await status(admin)).toBe(200);

    const lines = await run(DATABASE_URL, 'list');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(new RegExp(`^${idOf(admin)}  admin +operator:ana  made .*  expires never$`));
    const agents = lines.find(line => line.startsWith(idOf(agent)));
    expect(agents).toMatch(/ {2}agent +agents \* of runs nightly-\* {2}made .* {2}expires 2/);
    expect(lines).toContain(revoked);

    // A token where it does not belong: its secret is not in the log.
    await service.send('POST', `/tokens/${admin}/revoke`, undefined, bearer(admin));
    await service.send('GET', `/stats?authorization=Bearer%20${admin}`);
    for (const token of [admin, agent, viewer]) {
      expect([...lines, service.output].join('\n').includes(token.slice(-64))).toBe(false);
    }
    expect(service.output).toContain(`/tokens/fbt_${idOf(admin)}_***/revoke`);
  });
});

describe('npm run token', () => {
  it('generates tokens that are stored nowhere', async () => {
    const DATABASE_URL = await database('sqlite');
    const [one, other] = await Promise.all([make(DATABASE_URL, ['generate']), make(DATABASE_URL, ['generate'])]);
    expect(one).not.toBe(other);
    expect(await run(DATABASE_URL, 'list')).toEqual([]);
  });

  const create = ['create', '--role'];
  it.each<[RegExp, ...string[]]>([
    [/^Say what to do with tokens: npm run token -- create/],
    [/^Say what to do with tokens/, 'constructor'],
    [/^--actor must be one of agent, operator, human, system/, ...create, 'viewer', '--actor', 'operators'],
    [/^--agents is required for the role agent/, ...create, 'agent', '--runs', 'x'],
    [/^--expires-in must be <= 315360000/, ...ADMIN, '--expires-in', '99999d'],
    [/Unknown option '--role'/, 'list', '--role', 'admin'],
    [/^No token has this id/, 'revoke', `fbt_0123456789abcdef_${'01234567'.repeat(8)}`],
  ])('ends with 1 and one sentence, like %s', async (expected, ...args) => {
    const command = spawnService({ DATABASE_URL: await database('sqlite') }, { file: 'commands/token.ts', args });
    expect(await sentence(command)).toMatch(expected);
    expect(command.output).not.toContain('01234567'.repeat(8));
  });
});

describe('ADMIN_TOKEN_FILE', () => {
  const start = (DATABASE_URL: string, ADMIN_TOKEN_FILE: string) => spawnService({ DATABASE_URL, ADMIN_TOKEN_FILE });
  const file = async (content: string) => {
    const path = join((await forThisTest(scratchFolder())).path, 'admin-token');
    await writeFile(path, content);
    return path;
  };
  const stop = async (service: ServiceProcess) => {
    service.kill('SIGTERM');
    expect((await service.exited).code, service.output).toBe(0);
  };

  it("makes its token an admin's at the start, once, and revoked it stays revoked", async () => {
    const DATABASE_URL = await database('sqlite');
    const id = '0123456789abcdef';
    const token = `fbt_${id}_${'01'.repeat(32)}`;
    const path = await file(`\n${token}\n`);
    const first = start(DATABASE_URL, path);
    const listed = await first.send('GET', '/tokens', undefined, bearer(token));
    expect(listed.body.items).toMatchObject([{ token_id: id, role: 'admin', created_by: 'file' }]);
    expect((await first.send('GET', '/stats')).status).toBe(401);
    await stop(first);
    const again = start(DATABASE_URL, path);
    expect((await again.send('POST', `/tokens/${id}/revoke`, undefined, bearer(token))).status).toBe(200);
    await stop(again);
    const revoked = start(DATABASE_URL, path);
    expect((await revoked.send('GET', '/tokens', undefined, bearer(token))).status).toBe(401);
    await stop(revoked);
    expect([first, again, revoked].some(({ output }) => output.includes('01'.repeat(32)))).toBe(false);

    const changed = await file(`fbt_${id}_${'02'.repeat(32)}`);
    expect(await sentence(start(DATABASE_URL, changed))).toMatch(/ADMIN_TOKEN_FILE names holds another secret/);
  });

  it('stops a start if it is missing, no file, holds no token, or one that is no admin', async () => {
    // Several processes may try at once.
    const DATABASE_URL = await database('postgres');
    const { path } = await forThisTest(scratchFolder());
    const viewer = await make(DATABASE_URL, ['create', '--role', 'viewer', '--actor', 'human:vera']);
    await mkdir(join(path, 'folder'));
    const cases: [string, RegExp][] = [
      [join(path, 'none'), /none that ADMIN_TOKEN_FILE names cannot be read \(ENOENT\)/],
      [join(path, 'folder'), /folder that ADMIN_TOKEN_FILE names cannot be read \(EISDIR\)/],
      [await file('hunter2'), /does not hold a token \(`npm run token -- generate`/],
      [await file(viewer), /holds a token of the role viewer, not admin/],
    ];
    const services = cases.map(([name]) => start(DATABASE_URL, name));
    const sentences = await Promise.all(services.map(sentence));
    for (const [index, [, expected]] of cases.entries()) expect(sentences[index]).toMatch(expected);
    expect(services.some(({ output }) => output.includes('hunter2') || output.includes(viewer.slice(-64)))).toBe(false);
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

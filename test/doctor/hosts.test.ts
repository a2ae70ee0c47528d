import { once } from 'node:events';
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { checkHosts } from '../../src/doctor/hosts.ts';
import { cliMain, commandLine } from '../helpers/cli.ts';
import { freePort } from '../helpers/ports.ts';
import { forThisTest, NODE_COMPILE_CACHE, runCommand, type ServiceProcess, startService } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';

let service: ServiceProcess;
let url: string;
let folder: string;
let env: Record<string, string>;
let install: (...args: string[]) => Promise<unknown>;

beforeAll(async () => {
  // A process of its own: the doctor blocks this one while it fires a hook.
  const ends: (() => unknown)[] = [];
  const { path } = await forThisTest(scratchFolder(), end => void ends.unshift(end));
  const DATABASE_URL = `sqlite:${join(path, 'forumbus.db')}`;
  service = await startService({ DATABASE_URL }, {}, end => void ends.unshift(end));
  url = await service.listening();
  return async () => {
    for (const end of ends) await end();
  };
});

/** Puts a shell script on the PATH. */
async function program(name: string, script: string): Promise<void> {
  const file = join(folder, 'bin', name);
  await writeFile(file, `#!/bin/sh\n${script}\n`);
  await chmod(file, 0o755);
}

beforeEach(async () => {
  folder = (await forThisTest(scratchFolder())).path;
  for (const name of ['bin', 'project']) await mkdir(join(folder, name));
  env = {
    PATH: `${join(folder, 'bin')}:/usr/bin:/bin`,
    HOME: folder,
    NODE_COMPILE_CACHE,
    XDG_STATE_HOME: join(folder, 'state'),
    FORUMBUS_URL: url,
  };
  const run = commandLine({ env, cwd: join(folder, 'project') });
  install = (...args) => run(['install', ...args]);
  await program('forumbus', `exec '${process.execPath}' '${cliMain}' "$@"`);
});

const check = () => checkHosts({ env, cwd: join(folder, 'project') });
const found = (level: string, finding: RegExp) =>
  expect.objectContaining({ level, check: 'hooks', finding: expect.stringMatching(finding) });

describe('the hooks of hosts', () => {
  it('are not looked for where no host has them', async () => {
    await program('claude', 'echo "1.0.0 (Claude Code)"');
    await mkdir(join(folder, '.claude'));
    await writeFile(join(folder, '.claude/settings.json'), '{"askUserQuestionTimeout": "60s"}');
    await mkdir(join(folder, '.gemini'));
    await writeFile(join(folder, '.gemini/settings.json'), 'forumbus?');
    expect(check()).toEqual([]);
  });

  it('are fired once for each file, and leave nothing behind', async () => {
    await install('claude', '--project');
    await install('claude');
    await install('copilot');
    expect(check()).toEqual([
      found('ok', /^`forumbus hook claude` of \S+\/\.claude\/settings\.json runs and reaches the service/),
      found('ok', /project\/\.claude/),
      found('ok', /^`forumbus hook copilot` of /),
    ]);
    expect(await readdir(join(folder, 'state/forumbus')).then(names => names.includes('sessions'))).toBe(false);
    expect((await service.send('GET', '/questions')).body.items).toEqual([]);
  });

  it('that do not run are a problem', async () => {
    await install('codex');
    await program('forumbus', 'echo "not today" >&2; exit 1');
    expect(check()).toEqual([found('problem', /^`forumbus hook codex` of \S+hooks\.json does not run: not today\.$/)]);
    env.PATH = '/usr/bin:/bin';
    expect(check()).toEqual([found('problem', /not found/)]);
  });

  it('that do not reach the service are a warning with the reason', async () => {
    await install('claude');
    await install('codex');
    env.FORUMBUS_URL = `http://127.0.0.1:${await freePort()}`;
    const unreachable = found('warning', /runs, but: Error: No connection to http:\/\/127/);
    expect(check()).toEqual([unreachable, unreachable]);
  });

  it('that the service refuses are a warning with the reason', async () => {
    const { path } = await forThisTest(scratchFolder());
    const DATABASE_URL = `sqlite:${join(path, 'forumbus.db')}`;
    const guarded = await startService({ DATABASE_URL });
    const create = ['create', '--role', 'admin', '--actor', 'operator:ana'];
    expect(await runCommand('token', create, { DATABASE_URL })).toMatchObject({ code: 0 });
    env.FORUMBUS_URL = await guarded.listening();
    env.FORUMBUS_TOKEN = 'fbt_of_another_service';
    await install('claude');
    expect(check()).toEqual([found('warning', /runs, but: ForumbusError: The token is unknown to this service/)]);
  });

  it('that wait for a service that hangs are a warning with the reason', async () => {
    await install('codex');
    // It connects, and this process answers nothing meanwhile.
    const hanging = createServer().listen(0, '127.0.0.1');
    await once(hanging, 'listening');
    onTestFinished(() => void hanging.close());
    env.FORUMBUS_URL = `http://127.0.0.1:${(hanging.address() as AddressInfo).port}`;
    expect(check()).toEqual([found('warning', /runs, but: Error: No answer from http:\/\/127/)]);
  });

  it('warn of a dialog that ends by itself', async () => {
    await mkdir(join(folder, '.claude'));
    await writeFile(join(folder, '.claude/settings.json'), '{"askUserQuestionTimeout": "60s"}');
    await install('claude', '--project');
    expect(check()).toEqual([
      found('ok', /runs/),
      found('warning', /askUserQuestionTimeout in \S+ ends a question after 60s/),
    ]);
  });
});

describe('the version of a host', () => {
  it.each([
    ['claude', '2.1.332 (Claude Code)', 'ok', /version 2\.1\.332\.$/],
    ['claude', '2.1.99 (Claude Code)', 'warning', /tried with 2\.1\.220 and later/],
    ['codex', 'codex-cli 0.171.0', 'ok', /version 0\.171\.0\.$/],
    ['codex', '', 'warning', /does not say its version/],
  ])('of %s is looked at: %s', async (host, version, level, finding) => {
    await install(host);
    await program(host, `[ "$1" = --version ] && echo "${version}"`);
    expect(check()).toContainEqual(found(level, finding));
  });
});

import { lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { hostNames } from '../../src/hooks/hosts.ts';
import { commandLine } from '../helpers/cli.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';

let home: string;
let project: string;
let run: ReturnType<typeof commandLine>;

beforeEach(async () => {
  const { path } = await forThisTest(scratchFolder());
  home = join(path, 'home');
  project = join(path, 'project');
  for (const folder of [home, project]) await mkdir(folder);
  run = commandLine({ env: { HOME: home, XDG_STATE_HOME: join(path, 'state') }, cwd: project });
});

/** Every file and folder below a folder, with its text. */
async function tree(folder: string): Promise<Record<string, string>> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const pairs = names.map(async entry => {
    const path = join(entry.parentPath, entry.name);
    return [path.slice(folder.length + 1), entry.isDirectory() ? '(folder)' : await readFile(path, 'utf8')] as const;
  });
  return Object.fromEntries((await Promise.all(pairs)).sort());
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}

const files: Record<string, { user: string; project: string }> = {
  claude: { user: '.claude/settings.json', project: '.claude/settings.json' },
  codex: { user: '.codex/hooks.json', project: '.codex/hooks.json' },
  gemini: { user: '.gemini/settings.json', project: '.gemini/settings.json' },
  cursor: { user: '.cursor/hooks.json', project: '.cursor/hooks.json' },
  copilot: { user: '.copilot/hooks/forumbus.json', project: '.github/hooks/forumbus.json' },
};
const own = { type: 'command', command: 'lint --fix', timeout: 5 };
/** What others have there, in another style than ours. */
const foreign = `{
    "model": "large",
    "hooks": {"Stop": [{"hooks": [${JSON.stringify(own)}]}], "stop": [], "Empty": []},
    "permissions": {"allow": ["Bash(ls:*)"]}
}`;

describe.each(hostNames)('install and uninstall %s', host => {
  const { user, project: inProject } = files[host] as { user: string; project: string };

  it('make the file, and leave nothing', async () => {
    for (const [args, folder, file] of [
      [[], home, user],
      [['--user'], home, user],
      [['--project'], project, inProject],
    ] as const) {
      expect(await run(['install', host, ...args])).toMatchObject({
        code: 0,
        out: expect.stringMatching(new RegExp(`^Installed in ${join(folder, file)}( and \\S+config.toml)?;`)),
      });
      const text = await readFile(join(folder, file), 'utf8');
      expect(text).toContain(`forumbus hook ${host}`);
      expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600);
      expect(await run(['install', host, ...args])).toMatchObject({ out: expect.stringContaining('Nothing to do') });
      expect(await readFile(join(folder, file), 'utf8')).toBe(text);
      expect(await run(['uninstall', host, ...args])).toMatchObject({ out: expect.stringContaining('gone from') });
      expect(await tree(folder)).toEqual({});
      expect(await run(['uninstall', host, ...args])).toMatchObject({
        code: 0,
        out: expect.stringContaining('has no'),
      });
    }
  });

  it('keep what others have there, byte by byte', async () => {
    const path = join(home, user);
    await write(path, foreign);
    await run(['install', host]);
    const content = JSON.parse(await readFile(path, 'utf8'));
    expect(content).toMatchObject({ model: 'large', permissions: { allow: ['Bash(ls:*)'] } });
    expect(content.hooks.Stop[0]).toEqual({ hooks: [own] });
    expect(content.hooks.Empty).toEqual([]);
    await run(['uninstall', host]);
    expect(await readFile(path, 'utf8')).toBe(foreign);
  });

  it('keep the numbers of others as they are written', async () => {
    const path = join(home, user);
    const numbers = '[12345678901234567890, 1.50, 1e3]';
    await write(path, `{ "big": ${numbers} }`);
    await run(['install', host]);
    expect((await readFile(path, 'utf8')).replaceAll(/\s+/g, '')).toContain(numbers.replaceAll(' ', ''));
  });

  it('keep what others have changed since', async () => {
    const path = join(home, user);
    await write(path, foreign);
    await run(['install', host]);
    const content = JSON.parse(await readFile(path, 'utf8'));
    const [event = ''] = Object.keys(content.hooks).filter(name =>
      JSON.stringify(content.hooks[name]).includes('forumbus'),
    );
    content.hooks[event].push(own);
    content.hooks[event][0].hooks?.push(own);
    content.theme = 'dark';
    await writeFile(path, JSON.stringify(content, null, '\t'));
    expect(await run(['install', host])).toMatchObject({ code: 0 });
    await run(['uninstall', host]);
    const after = await readFile(path, 'utf8');
    expect(after).not.toContain('forumbus');
    expect(after).toContain('\n\t"theme": "dark"');
    expect(JSON.parse(after)).toMatchObject({ model: 'large', theme: 'dark', hooks: { Empty: [] } });
    expect(JSON.stringify(JSON.parse(after).hooks[event])).toContain('lint --fix');
  });

  it('refuse a file that they do not understand, and change nothing', async () => {
    const path = join(home, user);
    for (const text of [
      '',
      '{"hooks": {}',
      '// comment\n{}',
      '[]',
      '1.0',
      '{"hooks": []}',
      '{"hooks": 1.0}',
      '{"hooks": {"stop": {}, "Stop": 1, "agentStop": 1, "AfterAgent": 1}}',
    ]) {
      await write(path, text);
      for (const act of ['install', 'uninstall']) {
        expect(await run([act, host])).toEqual({
          code: 1,
          out: '',
          err: expect.stringMatching(/It was not changed\.$/),
        });
      }
      expect(await readFile(path, 'utf8')).toBe(text);
    }
  });
});

describe('install', () => {
  it('prints what the file would be', async () => {
    const printed = await run(['install', 'claude', '--print', '--project']);
    expect(await tree(project)).toEqual({});
    await run(['install', 'claude', '--project']);
    expect(`${printed.out}\n`).toBe(await readFile(join(project, '.claude/settings.json'), 'utf8'));
  });

  it.each(hostNames)('undone for %s, prints what the file would be', async host => {
    const { user } = files[host] as { user: string };
    const gone = await run(['uninstall', host, '--print']);
    expect(gone).toMatchObject({ code: 0, out: expect.stringContaining(`${user} would not be there.`) });
    await write(join(home, user), foreign);
    await run(['install', host]);
    const before = await tree(home);
    const printed = await run(['uninstall', host, '--print']);
    expect(await tree(home)).toEqual(before);
    expect(printed.out).toContain(foreign);
    await run(['uninstall', host]);
    expect(await tree(home)).toMatchObject({ [user]: foreign });
    expect((await run(['uninstall', host, '--print'])).out).toContain(foreign);
  });

  it('marks headless sessions of Claude Code only', async () => {
    const path = join(home, '.claude/settings.json');
    await write(path, '{"env": {"A": "1"}}');
    await run(['install', 'claude', '--headless']);
    expect(JSON.parse(await readFile(path, 'utf8')).env).toEqual({ A: '1', FORUMBUS_HEADLESS: '1' });
    await run(['install', 'claude']);
    expect(JSON.parse(await readFile(path, 'utf8')).env).toEqual({ A: '1' });
    await run(['uninstall', 'claude']);
    expect(await readFile(path, 'utf8')).toBe('{"env": {"A": "1"}}');
    expect(await run(['install', 'codex', '--headless'])).toMatchObject({ code: 1 });
  });

  it('leaves a person’s own mark of headless sessions, and takes only that of --headless out', async () => {
    const path = join(home, '.claude/settings.json');
    const env = async () => JSON.parse(await readFile(path, 'utf8')).env;
    for (const own of [{ FORUMBUS_HEADLESS: '1' }, undefined]) {
      await write(path, JSON.stringify({ env: own }));
      for (const flags of [[], ['--headless'], []]) {
        await run(['install', 'claude', ...flags]);
        expect(await env()).toEqual(flags.length > 0 ? { FORUMBUS_HEADLESS: '1' } : own);
      }
      await run(['install', 'claude', '--headless']);
      await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), model: 'large' }));
      await run(['uninstall', 'claude']);
      expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ ...(own && { env: own }), model: 'large' });
    }
  });

  it('gives Codex the MCP server, among what others have in its configuration', async () => {
    const path = join(home, '.codex/config.toml');
    const others = 'model = "large" # mine\n\n[mcp_servers.docs]\nurl = "http://127.0.0.1:1/mcp"\n';
    await write(path, others);
    const printed = await run(['install', 'codex', '--print']);
    expect(await readFile(path, 'utf8')).toBe(others);
    await run(['install', 'codex']);
    const installed = await readFile(path, 'utf8');
    expect(printed.out).toContain(installed.trimEnd());
    expect(installed.startsWith(`${others}\n`)).toBe(true);
    expect(installed).toMatch(
      /^\[mcp_servers\.forumbus\]\ncommand = "forumbus"\nargs = \["mcp", "codex"\]\nenv_vars = \[/m,
    );
    expect(await run(['install', 'codex'])).toMatchObject({ out: expect.stringContaining('Nothing to do') });
    await run(['uninstall', 'codex']);
    expect(await readFile(path, 'utf8')).toBe(others);

    // Codex and people write into the file as well.
    await run(['install', 'codex']);
    const approvals = '\n[mcp_servers.forumbus.tools.ask]\napproval_mode = "approve"\n';
    const state = '\n# Trust.\n[hooks.state]\nx = 1\n';
    await writeFile(path, `${installed}tool_timeout_sec = 600\n${approvals}${state}`);
    await run(['uninstall', 'codex']);
    const after = await readFile(path, 'utf8');
    expect(after).not.toContain('forumbus');
    expect(after.replaceAll(/\n+/g, '\n')).toBe(`${others}${state}`.replaceAll(/\n+/g, '\n'));
  });

  it('leaves a server of that name alone that a person has written', async () => {
    const path = join(home, '.codex/config.toml');
    const servers = [
      '[mcp_servers."forumbus"]\nurl = "https://forumbus.example/mcp"\n',
      "[ 'mcp_servers' . forumbus ]\nurl = 'https://forumbus.example/mcp'\n",
      '[mcp_servers]\ndocs = { command = "docs" }\nforumbus = { command = "forumbus" }\n',
      '[mcp_servers]\n"forumbus".command = "forumbus"\n',
      'mcp_servers.forumbus = { command = "forumbus" }\n',
      "mcp_servers . 'forumbus'.command = 'forumbus'\n\n[tools]\nforumbus = 1\n",
    ];
    for (const own of servers) {
      await write(path, own);
      await run(['install', 'codex']);
      expect(await readFile(path, 'utf8')).toBe(own);
      await run(['uninstall', 'codex']);
      expect(await readFile(path, 'utf8')).toBe(own);
    }
    await write(path, 'mcp_servers = { docs = { command = "docs" } }\n');
    expect(await run(['install', 'codex'])).toMatchObject({ code: 1, err: expect.stringContaining('was not changed') });
    expect(await tree(home)).toEqual({ '.codex': '(folder)', '.codex/config.toml': expect.any(String) });
  });

  it.each([
    ['a file', 'settings.json', 'dot/claude.json', 'dot/claude.json'],
    ['a folder', '', 'dot/claude', 'dot/claude/settings.json'],
  ])('makes %s that a link points at, and leaves the link', async (_what, link, target, file) => {
    const path = join(home, '.claude', link);
    await mkdir(dirname(path), { recursive: true });
    await symlink(relative(dirname(path), join(home, target)), path);
    expect(await run(['install', 'claude'])).toMatchObject({ code: 0 });
    expect((await lstat(path)).isSymbolicLink()).toBe(true);
    expect(await readFile(join(home, file), 'utf8')).toContain('forumbus hook claude');
    await run(['uninstall', 'claude']);
    expect((await lstat(path)).isSymbolicLink()).toBe(true);
    expect(await readdir(home)).toEqual(['.claude']);
  });

  it('says so where links lead nowhere', async () => {
    await symlink('.claude', join(home, '.claude'));
    expect(await run(['install', 'claude'])).toMatchObject({ code: 1, err: expect.stringContaining('(ELOOP)') });
  });

  it('changes what a link points at', async () => {
    const target = join(home, 'dotfiles.json');
    await write(target, '{}');
    await mkdir(join(home, '.claude'));
    await symlink(target, join(home, '.claude/settings.json'));
    await run(['install', 'claude']);
    expect((await lstat(join(home, '.claude/settings.json'))).isSymbolicLink()).toBe(true);
    expect(await readFile(target, 'utf8')).toContain('forumbus hook');
    await run(['uninstall', 'claude']);
    expect(await readFile(target, 'utf8')).toBe('{}');
  });

  it('says what is wrong with its arguments', async () => {
    expect(await run(['install'])).toMatchObject({ code: 1, err: expect.stringContaining('Name the host') });
    expect(await run(['install', 'emacs'])).toMatchObject({ code: 1, err: expect.stringContaining('Name the host') });
    expect(await run(['install', 'claude', '--user', '--project'])).toMatchObject({ code: 1 });
  });

  it('says so when the hooks could not find the program', async () => {
    expect(await run(['install', 'cursor'])).toMatchObject({ err: expect.stringContaining('not on the PATH') });
    await writeFile(join(home, 'forumbus'), '', { mode: 0o755 });
    expect(await run(['install', 'cursor'], { env: { PATH: home } })).toMatchObject({ err: '' });
  });
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { beforeAll, describe, expect, it } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { commands } from '../../src/cli/commands.ts';
import { agentsText } from '../../src/hooks/agents-text.ts';
import { entries } from '../../src/hooks/entries.ts';
import { hostNames } from '../../src/hooks/hosts.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { cliMain } from '../helpers/cli.ts';
import { hostSession } from '../helpers/hooks.ts';
import { NODE_COMPILE_CACHE } from '../helpers/process.ts';
import { listen } from '../helpers/socket.ts';

const plugin = join(import.meta.dirname, '../../plugin');
const json = async (...path: string[]) => JSON.parse(await readFile(join(plugin, ...path), 'utf8'));
const known = commands.map(({ name }) => name);

interface Handler {
  command: string;
  args?: string[];
  bash?: string;
}

const handlersOf = (hooks: Record<string, object[]>): Handler[] =>
  Object.values(hooks).flatMap(list =>
    list.flatMap(entry => ('hooks' in entry ? (entry.hooks as Handler[]) : [entry as Handler])),
  );

describe('the command lines in the files of hosts', () => {
  it.each(hostNames)('of %s are short, the same on every machine, and those of this program', host => {
    for (const { command, bash } of handlersOf(entries[host]().hooks)) {
      expect(command ?? bash).toMatch(
        new RegExp(`^forumbus hook ${host}( --wake| sessionStart| notification| agentStop)?$`),
      );
    }
  });
});

describe('the plugin', () => {
  it('has the hooks that install writes, by a launcher in its own folder', async () => {
    const { hooks } = await json('hooks/hooks.json');
    const launched = handlersOf(hooks).map(({ command, args = [] }) => {
      const [launcher, ...rest] = args;
      expect([command, launcher]).toEqual(['node', `\${CLAUDE_PLUGIN_ROOT}/hooks/run.mjs`]);
      return ['forumbus', ...rest].join(' ');
    });
    const installed = entries.claude().hooks;
    expect(launched).toEqual(handlersOf(installed).map(({ command }) => command));
    const shape = (lists: Record<string, object[]>) =>
      JSON.parse(JSON.stringify(lists, (key, value) => (['command', 'args'].includes(key) ? undefined : value)));
    expect(shape(hooks)).toEqual(shape(installed));
    // Options of a plugin that nobody has set make every hook fail that names one.
    expect(JSON.stringify(hooks)).not.toMatch(/user_config/);
  });

  it('names commands that exist', async () => {
    for (const file of ['.mcp.json', 'mcp.json']) {
      const { command, args } = (await json(file)).mcpServers.forumbus;
      expect(command).toBe('forumbus');
      expect(known).toContain(args[0]);
    }
    const named = [...agentsText.matchAll(/forumbus (\w+)/g)].map(([, name]) => name);
    expect(named.length).toBeGreaterThan(3);
    for (const name of named) expect(known).toContain(name);
  });

  it('is a root of Agent Plugins 1.0, whose readers go by the schemas and refuse other fields', async () => {
    const schema = (name: string) => `https://agent-plugins.org/schemas/1.0.0/${name}.schema.json`;
    const { $schema, name, version, description, license, keywords, ...others } = await json('plugin.json');
    expect({ $schema, others }).toEqual({ $schema: schema('plugin'), others: {} });
    expect([name, version, description, license].map(value => typeof value)).toEqual(Array(4).fill('string'));
    expect(keywords.every((word: unknown) => typeof word === 'string')).toBe(true);
    expect(await json('mcp.json')).toEqual({
      $schema: schema('mcp'),
      mcpServers: { forumbus: { type: 'stdio', command: 'forumbus', args: ['mcp'] } },
    });
  });

  it('has the version of the package, and the marketplace names it', async () => {
    for (const file of ['plugin.json', '.claude-plugin/plugin.json']) {
      expect(await json(file)).toMatchObject({ name: 'forumbus', version: packageJson.version });
    }
    const { plugins } = await json('../.claude-plugin/marketplace.json');
    expect(plugins).toMatchObject([{ name: 'forumbus', source: './plugin' }]);
  });

  it('teaches what `install --agents-md` prints', async () => {
    const skill = await readFile(join(plugin, 'skills/forumbus/SKILL.md'), 'utf8');
    const [, front, body] = /^---\n(.*?)\n---\n\n(.*)$/s.exec(skill) ?? [];
    expect(front).toMatch(/^name: forumbus\ndescription: \S.{20,1000}$/);
    expect(body).toBe(agentsText);
  });
});

describe('the launcher', () => {
  let service: TestApp;
  let url: string;
  beforeAll(async () => {
    service = await startApp('sqlite');
    url = `http://127.0.0.1:${await listen(service.app)}`;
    return () => service.close();
  });
  const launch = async (env: Record<string, string>, input: object) => {
    const args = [join(plugin, 'hooks/run.mjs'), 'hook', 'claude'];
    const child = spawn(process.execPath, args, { env: { NODE_COMPILE_CACHE, ...env } });
    child.stdin.end(JSON.stringify(input));
    const [[code], out, err] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]);
    return { code, out, err };
  };

  it('runs the program on the PATH, and is silent without one', async () => {
    const session = await hostSession('claude', service, url);
    const id = await session.news();
    const bin = join(session.folder, 'bin');
    await mkdir(bin);
    await symlink(cliMain, join(bin, 'forumbus'));
    const { env } = session.place;
    const event = { hook_event_name: 'UserPromptSubmit', session_id: 's-1', prompt: 'Go on.' };
    expect(await launch({ ...env, PATH: '/none' }, event)).toEqual({ code: 0, out: '', err: '' });
    // A clone has the name of the program.
    const clones = join(session.folder, 'clones');
    await mkdir(join(clones, 'forumbus'), { recursive: true });
    expect(await launch({ ...env, PATH: clones }, event)).toEqual({ code: 0, out: '', err: '' });
    const { out } = await launch({ ...env, PATH: `${clones}:${bin}` }, event);
    expect(JSON.parse(out).hookSpecificOutput.additionalContext).toContain(id);
  });

  it('runs a shell script that stands for the program', async () => {
    const session = await hostSession('claude', service, url);
    const id = await session.news();
    const shim = join(session.folder, 'forumbus');
    await writeFile(shim, `#!/bin/sh\nexec '${process.execPath}' '${cliMain}' "$@"\n`, { mode: 0o755 });
    const event = { hook_event_name: 'UserPromptSubmit', session_id: 's-1', prompt: 'Go on.' };
    const { code, out, err } = await launch({ ...session.place.env, PATH: `${session.folder}:/bin` }, event);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(JSON.parse(out).hookSpecificOutput.additionalContext).toContain(id);
  });
});

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { cliMain } from '../helpers/cli.ts';
import { clientOf } from '../helpers/mcp.ts';
import { forThisTest, NODE_COMPILE_CACHE } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { listen } from '../helpers/socket.ts';

let url: string;
beforeAll(async () => {
  const service = await startApp('sqlite');
  url = `http://127.0.0.1:${await listen(service.app)}`;
  return () => service.close();
});

interface Place {
  args?: string[];
  env?: Record<string, string>;
  cwd: string;
}

/** A host that has started `forumbus mcp`. */
async function host({ args = [], env = {}, cwd }: Place): Promise<Client> {
  const client = clientOf('2025-11-25');
  await client.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: [cliMain, 'mcp', ...args],
      env: { NODE_COMPILE_CACHE, FORUMBUS_URL: url, ...env },
      cwd,
    }),
  );
  onTestFinished(() => client.close());
  return client;
}

/** As which agent of which run a call counts, or why it does not. */
async function caller(client: Client, _meta: Record<string, unknown> = {}): Promise<string> {
  const { content } = await client.callTool({ name: 'status', arguments: {}, _meta });
  const [{ text } = { text: '' }] = content as { text: string }[];
  return /^(\S+ in \S+): /.exec(text)?.[1] ?? text;
}

describe('the agent and its run', () => {
  it('are those of the folder and the environment', async () => {
    const { path } = await forThisTest(scratchFolder());
    const shop = join(path, 'shop');
    await mkdir(shop);
    expect(await caller(await host({ cwd: shop }))).toBe('agent in shop');
    expect(await caller(await host({ cwd: shop, args: ['claude'] }))).toBe('claude in shop');
    const env = { FORUMBUS_RUN: 'run-7', FORUMBUS_AGENT: 'builder' };
    expect(await caller(await host({ cwd: shop, env, args: ['claude'] }))).toBe('builder in run-7');
  });

  it('are not those of the folder of a plugin, which all projects share', async () => {
    const { path } = await forThisTest(scratchFolder());
    const [plugin, shop] = [join(path, 'plugin'), join(path, 'shop')];
    for (const folder of [plugin, shop]) await mkdir(folder);
    const env = { PLUGIN_ROOT: plugin };
    // What Codex sends with a call in a repository; another host sends nothing like it.
    const codex = { callId: 'call_1', 'x-codex-turn-metadata': { workspaces: { [shop]: { has_changes: false } } } };
    const client = await host({ cwd: plugin, env });
    expect((await client.listTools()).tools).toHaveLength(4);
    expect(await caller(client, codex)).toBe('codex in shop');
    expect(await caller(client)).toMatch(/must name the run, .*; with forumbus mcp, set FORUMBUS_RUN/);
    for (const odd of [{ 'x-codex-turn-metadata': { workspaces: {} } }, { 'x-codex-turn-metadata': null }])
      expect(await caller(client, odd)).toMatch(/must name the run/);
    expect(await caller(await host({ cwd: plugin, env: { ...env, FORUMBUS_RUN: 'run-7' } }), codex)).toBe(
      'codex in run-7',
    );
    expect(await caller(await host({ cwd: shop, env }))).toBe('agent in shop');
  });
});

import { relative } from 'node:path';
import { hostNames } from '../hooks/hosts.ts';
import { bridge, type Meta } from '../mcp/stdio.ts';
import { defineCommand, exits } from './command.ts';
import { runOf } from './identity.ts';

export const command = defineCommand({
  name: 'mcp',
  summary: 'Serve the MCP tools over stdio, for hosts that have no HTTP',
  usage: '[HOST]',
  counts: { least: 0, most: 1 },
  words: hostNames,
  options: {},
  help: `A host starts it; people rather give their host the address of the service, which ends in /mcp.
HOST is the agent where neither --agent nor FORUMBUS_AGENT names one: some hosts tell their servers nothing.`,
  async run({ identity, env, cwd, stdin, stdout }, [host], values) {
    const { url, token, run_id, agent_name } = identity;
    const named = values.agent ?? (env.FORUMBUS_AGENT || host);
    // A host starts the server of a plugin in the folder of the plugin, which is the same for all projects.
    const isElsewhere = isInside(env.PLUGIN_ROOT, cwd) && values.run === undefined && !env.FORUMBUS_RUN;
    const urlFor = (meta: Meta) => {
      const workspace = codexWorkspace(meta);
      const run = isElsewhere ? workspace && runOf(workspace) : run_id;
      const agent = named ?? (workspace === undefined ? agent_name : 'codex');
      return `${url.replace(/\/+$/, '')}/mcp?${new URLSearchParams({ ...(run !== undefined && { run }), agent })}`;
    };
    await bridge({ urlFor, token, input: stdin, output: stdout });
    return exits.done;
  },
});

function isInside(folder: string | undefined, path: string): boolean {
  return Boolean(folder) && !relative(String(folder), path).startsWith('..');
}

/** The repository that Codex works in, as it tells servers with each call; undefined for other hosts, and without one. */
function codexWorkspace(meta: Meta): string | undefined {
  const { workspaces } = (meta['x-codex-turn-metadata'] ?? {}) as { workspaces?: unknown };
  return typeof workspaces === 'object' && workspaces !== null ? Object.keys(workspaces)[0] : undefined;
}

import { hostNames } from '../hooks/hosts.ts';
import { bridge } from '../mcp/stdio.ts';
import { defineCommand, exits } from './command.ts';

export const command = defineCommand({
  name: 'mcp',
  summary: 'Serve the MCP tools over stdio, for hosts that have no HTTP',
  usage: '[HOST]',
  counts: { least: 0, most: 1 },
  words: hostNames,
  options: {},
  help: `A host starts it; people rather give their host the address of the service, which ends in /mcp.
HOST is the agent where neither --agent nor FORUMBUS_AGENT names one: some hosts tell their servers nothing.`,
  async run({ identity, env, stdin, stdout }, [host], values) {
    const { url, token, run_id } = identity;
    const agent = values.agent ?? (env.FORUMBUS_AGENT || host || identity.agent_name);
    const names = new URLSearchParams({ run: run_id, agent });
    await bridge({ url: `${url.replace(/\/+$/, '')}/mcp?${names}`, token, input: stdin, output: stdout });
    return exits.done;
  },
});

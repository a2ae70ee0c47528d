import { bridge } from '../mcp/stdio.ts';
import { defineCommand, exits } from './command.ts';

export const command = defineCommand({
  name: 'mcp',
  summary: 'Serve the MCP tools over stdio, for hosts that have no HTTP',
  usage: '',
  counts: { least: 0, most: 0 },
  options: {},
  help: `A host starts it; people rather give their host the address of the service, which ends in /mcp.`,
  async run({ identity: { url, token, run_id, agent_name }, stdin, stdout }) {
    const names = new URLSearchParams({ run: run_id, agent: agent_name });
    await bridge({ url: `${url.replace(/\/+$/, '')}/mcp?${names}`, token, input: stdin, output: stdout });
    return exits.done;
  },
});

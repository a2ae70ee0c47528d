import type { Caller } from '../access/caller.ts';
import { exactName } from '../access/pattern.ts';
import type { AgentName } from '../control/service.ts';
import { Refusal } from '../errors.ts';
import type { Audience, Names } from './tool.ts';

/** Whose tools a caller sees. While the service is open, the URL decides: one that names an agent is an agent's. */
export function audienceOf({ grant }: Caller, names: Names): Audience {
  if (!grant) return names.agent === undefined ? 'operator' : 'agent';
  return grant.role === 'admin' ? 'operator' : grant.role;
}

/**
 * The agent that a caller is: of its token, or where that is for several, of the URL.
 * @throws Refusal VALIDATION_FAILED if neither names one, FORBIDDEN if the token is for another
 */
export function agentOf(caller: Caller, names: Names): AgentName {
  const run_id = exactName(caller.grant?.runs ?? null) ?? names.run;
  const agent_name = exactName(caller.grant?.agents ?? null) ?? names.agent;
  if (run_id === undefined || agent_name === undefined) {
    const missing = run_id === undefined ? 'run' : 'agent';
    const detail = `The URL of the MCP server must name the ${missing}, as /mcp?run=run-7&agent=builder does; with forumbus mcp, set FORUMBUS_${missing.toUpperCase()}.`;
    throw new Refusal('VALIDATION_FAILED', detail, {
      errors: [{ in: 'query', pointer: `/${missing}`, code: 'REQUIRED', detail: 'is required' }],
    });
  }
  caller.assertActsFor(run_id, agent_name);
  return { run_id, agent_name };
}

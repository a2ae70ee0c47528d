import { type Brief, meetsCriteria } from '../control/run-state.ts';
import type { ControlState } from '../control/schemas.ts';
import type { GateReason } from './schemas.ts';

/** All reasons that block the close of a run, agent by agent; empty if the run may close. */
export function gateReasons(brief: Brief | null, agents: ControlState[]): GateReason[] {
  const seen = new Set(agents.map(agent => agent.agent_name));
  const absent = (brief?.agents ?? []).filter(name => !seen.has(name));
  const counted = agents.filter(({ status }) => status !== 'withdrawn');
  if (counted.length === 0 && absent.length === 0) {
    return [{ code: 'NO_AGENTS', detail: 'No agent takes part: none has sent a signal, or all are withdrawn.' }];
  }
  return [
    ...absent.map(
      (agent_name): GateReason => ({
        code: 'AGENT_NOT_SEEN',
        agent_name,
        detail: `${agent_name} has sent no signal yet.`,
      }),
    ),
    ...counted.flatMap(agent => agentReasons(brief, agent)),
  ];
}

function agentReasons(brief: Brief | null, agent: ControlState): GateReason[] {
  const { agent_name, open_questions, completion, validation } = agent;
  const reasons: GateReason[] = open_questions.map(question_id => ({
    code: 'OPEN_QUESTION',
    agent_name,
    question_id,
    detail: `${agent_name} waits for an answer to ${question_id}.`,
  }));
  if (!completion) {
    reasons.push({ code: 'MISSING_COMPLETION', agent_name, detail: `${agent_name} has not reported completion.` });
  }
  if (!validation) {
    reasons.push({
      code: 'MISSING_VALIDATION',
      agent_name,
      detail: `The work of ${agent_name} has not been validated.`,
    });
  } else if (validation.status === 'failed') {
    reasons.push({ code: 'VALIDATION_FAILED', agent_name, detail: `The work of ${agent_name} failed its validation.` });
  } else if (!meetsCriteria(brief, validation.done_criteria)) {
    const detail = `The work of ${agent_name} was validated against other criteria than those of the brief.`;
    reasons.push({ code: 'DONE_CRITERIA_MISMATCH', agent_name, detail });
  }
  return reasons;
}

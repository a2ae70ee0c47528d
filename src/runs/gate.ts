import type { ControlRow, OpenQuestion } from '../control/agent-state.ts';
import { isReady, type RunRow } from '../control/run-state.ts';
import type { Run } from './schemas.ts';

type Gate = Run['gate'];
type GateReason = Gate['reasons'][number];

/** An agent that keeps the gate closed, with its open questions. */
export interface Blocking {
  control: ControlRow;
  open: OpenQuestion[];
}

/** The most reasons that the gate names. */
const REASONS = 100;

/**
 * The gate of a run: open (`ready`), or the first reasons that block the close, agent by agent.
 * @param absent agents of the brief that have sent no signal
 * @param blocking agents that keep the gate closed, at least as many as there are reasons to name
 * @param standings how far the open questions are that two people must answer, by id
 */
export function gateOf(
  run: RunRow,
  absent: string[],
  blocking: Blocking[],
  standings: ReadonlyMap<string, string>,
): Gate {
  const blocking_count = run.agents_count - run.clear_count + run.absent_count;
  if (run.agents_count === 0 && run.absent_count === 0) {
    const detail = 'No agent takes part: none has sent a signal, or all are withdrawn.';
    return { ready: false, reasons: [{ code: 'NO_AGENTS', detail }], blocking_count };
  }
  const reasons = [
    ...absent.map(
      (agent_name): GateReason => ({
        code: 'AGENT_NOT_SEEN',
        agent_name,
        detail: `${agent_name} has sent no signal yet.`,
      }),
    ),
    ...blocking.flatMap(agent => agentReasons(agent, standings)),
  ];
  return { ready: isReady(run), reasons: reasons.slice(0, REASONS), blocking_count };
}

function agentReasons({ control, open }: Blocking, standings: ReadonlyMap<string, string>): GateReason[] {
  const { agent_name, completion_sequence, validation_sequence, validation_status, criteria_met } = control;
  const reasons: GateReason[] = open.map(({ question_id }) => {
    const standing = standings.get(question_id);
    const detail = `${agent_name} waits for an answer to ${question_id}${standing ? ` (${standing})` : ''}.`;
    return { code: 'OPEN_QUESTION', agent_name, question_id, detail };
  });
  if (completion_sequence === null) {
    reasons.push({ code: 'MISSING_COMPLETION', agent_name, detail: `${agent_name} has not reported completion.` });
  }
  if (validation_sequence === null) {
    reasons.push({
      code: 'MISSING_VALIDATION',
      agent_name,
      detail: `The work of ${agent_name} has not been validated.`,
    });
  } else if (validation_status === 'failed') {
    reasons.push({ code: 'VALIDATION_FAILED', agent_name, detail: `The work of ${agent_name} failed its validation.` });
  } else if (criteria_met === 0) {
    const detail = `The work of ${agent_name} was validated against other criteria than those of the brief.`;
    reasons.push({ code: 'DONE_CRITERIA_MISMATCH', agent_name, detail });
  }
  return reasons;
}

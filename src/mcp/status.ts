import type { Clock } from '../clock.ts';
import type { ControlState } from '../control/schemas.ts';
import type { Control } from '../control/service.ts';
import { Refusal } from '../errors.ts';
import { Strict } from '../http/schemas.ts';
import type { QuestionLists } from '../questions/lists.ts';
import type { Question } from '../questions/schemas.ts';
import type { Run } from '../runs/schemas.ts';
import type { RunService } from '../runs/service.ts';
import { agentOf } from './names.ts';
import type { OutcomeSender } from './outcomes.ts';
import { duration, line } from './texts.ts';
import { type Tool, tool } from './tool.ts';

interface Dependencies {
  clock: Clock;
  control: Pick<Control, 'get'>;
  questionLists: QuestionLists;
  runs: Pick<RunService, 'get'>;
  outcomes: Pick<OutcomeSender, 'others'>;
}

/** The open questions and gate reasons that a status names. */
const NAMED = 5;
const HEAD = 100;
/** A reason may name the people who have answered. Characters. */
const REASON = 200;
/** Criteria may be long; an agent needs them whole to validate by them. Characters. */
const CRITERIA = 4000;

/** The tool that says where an agent and its run stand. */
export function statusTool({ clock, control, questionLists, runs, outcomes }: Dependencies): Tool {
  return tool({
    name: 'status',
    title: 'Status of this agent and its run',
    description: 'Where you and your run stand: your open questions, done criteria, and what still blocks the run.',
    input: Strict({}),
    audience: ['agent'],
    readOnly: true,
    async run({ request, names }) {
      const { run_id, agent_name } = agentOf(request.caller, names);
      const [state, run] = await Promise.all([
        unlessMissing(control.get(run_id, agent_name), 'CONTROL_THREAD_NOT_FOUND'),
        unlessMissing(runs.get(run_id), 'RUN_NOT_FOUND'),
      ]);
      const open = state?.open_questions_count
        ? (await questionLists.list({ state: 'open', run_id, agent_name, limit: NAMED })).items
        : [];
      const lines = [
        `${agent_name} in ${run_id}: ${state ? `${state.status}, attempt ${state.attempt}` : 'no signal sent yet'}.`,
        ...openLines(state, open, clock.now()),
        ...(run ? runLines(run) : []),
      ];
      return { text: `${lines.join('\n')}${await outcomes.others({ run_id, agent_name })}` };
    },
  });
}

function openLines(state: ControlState | undefined, open: Question[], now: number): string[] {
  if (!state || open.length === 0) return [];
  const heads = open.map(
    ({ question_id, question, asked_at }) =>
      `- ${question_id} (${duration(now - Date.parse(asked_at))}): ${line(question, HEAD)}`,
  );
  return [`Open questions: ${state.open_questions_count}`, ...heads];
}

function runLines({ status, brief, gate }: Run): string[] {
  const criteria = brief?.done_criteria ? [`Done criteria: ${line(brief.done_criteria, CRITERIA)}`] : [];
  return [...criteria, `Run: ${status}. ${gateText(gate)}`];
}

/** The gate of a run in one sentence or two. */
export function gateText({ ready, reasons }: Run['gate']): string {
  if (ready) return 'Gate: ready.';
  const named = reasons.slice(0, NAMED).map(({ detail }) => line(detail, REASON));
  const more = reasons.length > NAMED ? ` And ${reasons.length - NAMED} more.` : '';
  return `Gate: blocked. ${named.join(' ')}${more}`;
}

async function unlessMissing<T>(work: Promise<T>, code: string): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Refusal && error.code === code) return undefined;
    throw error;
  }
}

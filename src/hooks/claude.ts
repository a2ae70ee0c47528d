import type { Question } from '../client/index.ts';
import { quoted } from '../printable.ts';
import { acknowledgeAll, askPeople, noteCall, questionsOfSession, toolCallOf } from './ask.ts';
import { type Asked, askedIn, hostValue, selectedIn, sentText } from './asked.ts';
import { deliver, deliverAtEnd } from './deliver.ts';
import { shownAnswer } from './facts.ts';
import { fieldsOf, type HookInput, type Reply, type Station, textOf } from './hook.ts';

/** Claude Code ends a turn that hooks have put off eight times. */
const MOST_CONTINUATIONS = 7;

const PLAN = { question: 'Approve this plan?', approve: 'Approve', refuse: 'Keep planning' };

/** The hooks of Claude Code. */
export async function claude(input: HookInput, station: Station): Promise<Reply> {
  const event = String(input.hook_event_name);
  switch (event) {
    case 'SessionStart':
    case 'UserPromptSubmit':
    case 'PostToolBatch':
      // A subagent could not pass on what is meant for the agent.
      return input.agent_id === undefined ? deliver(station, contextFor(event)) : {};
    case 'Stop':
      return deliverAtEnd(input, station, MOST_CONTINUATIONS, contextFor(event));
    case 'PermissionRequest':
      return input.tool_name === 'ExitPlanMode' ? approvePlan(input, station) : answerTool(input, station, decisionOf);
    case 'PreToolUse':
      return preToolUse(input, station);
    case 'PostToolUse':
      return postToolUse(input, station);
    default:
      return {};
  }
}

const contextFor = (hookEventName: string) => (additionalContext: string) => ({
  hookSpecificOutput: { hookEventName, additionalContext },
});

/** `PermissionRequest` */
const decisionOf = (updatedInput: object) => decision({ behavior: 'allow', updatedInput });

function decision(decision: object) {
  return { hookSpecificOutput: { hookEventName: 'PermissionRequest', decision } };
}

/** `PreToolUse` */
function permissionOf(permissionDecision: 'allow' | 'defer', more: object = {}) {
  return { hookSpecificOutput: { hookEventName: 'PreToolUse', permissionDecision, ...more } };
}

async function preToolUse(input: HookInput, station: Station): Promise<Reply> {
  if (input.tool_name !== 'AskUserQuestion' && input.tool_name !== 'ExitPlanMode') return {};
  noteCall(input, station);
  const { headless, park } = station.switches;
  // In a terminal, the dialog opens only once this hook has ended; the hook of PermissionRequest runs beside it.
  if (!headless || input.tool_name !== 'AskUserQuestion') return {};
  if (!park) return answerTool(input, station, updatedInput => permissionOf('allow', { updatedInput }));
  const shape = (updatedInput: object) => permissionOf('allow', { updatedInput });
  const reply = await answerTool(input, station, shape, 0);
  if (reply.output) return reply;
  const { source } = toolCallOf(input, station);
  const open = await questionsOfSession(source, station);
  return open.some(one => one.source?.tool_use_id === source.tool_use_id) ? { output: permissionOf('defer') } : {};
}

/** Answers AskUserQuestion once people have answered all of its questions. */
async function answerTool(
  input: HookInput,
  station: Station,
  shape: (updatedInput: object) => object,
  wait_seconds?: number,
): Promise<Reply> {
  const asked = input.tool_name === 'AskUserQuestion' ? askedIn(input.tool_input) : undefined;
  if (!asked) return {};
  const requests = asked.map(({ request }) => request);
  const answered = await askPeople(requests, toolCallOf(input, station), station, wait_seconds);
  if (!answered) return {};
  const delivered = () => acknowledgeAll(answered, station);
  if (answered.some(({ answered_in }) => answered_in === 'terminal')) return { delivered };
  const answers = Object.fromEntries(
    asked.map((one, index) => [one.question, hostValue(one, answered[index] as Question)]),
  );
  return { output: shape({ ...fieldsOf(input.tool_input), answers }), delivered };
}

/** Lets a person approve a plan, or say what to change. */
async function approvePlan(input: HookInput, station: Station): Promise<Reply> {
  const plan = textOf(fieldsOf(input.tool_input).plan);
  if (plan === undefined) return {};
  const request = {
    question: PLAN.question,
    context: sentText(plan, 65_536),
    options: [PLAN.approve, PLAN.refuse],
  };
  const [answered] = (await askPeople([request], toolCallOf(input, station), station)) ?? [];
  if (!answered) return {};
  const delivered = () => acknowledgeAll([answered], station);
  if (answered.answered_in === 'terminal') return { delivered };
  // An approval with a text may hold a condition, so it is none.
  if (shownAnswer(answered) === PLAN.approve) return { output: decisionOf(fieldsOf(input.tool_input)), delivered };
  const who = quoted(answered.answered_by?.name ?? 'somebody');
  const message = `The plan was not approved by ${who}: ${quoted(shownAnswer(answered))}`;
  return { output: decision({ behavior: 'deny', message }), delivered };
}

/** Passes on the answer of a person in the terminal. So our question ends, and the hook that waits for it too. */
async function postToolUse(input: HookInput, station: Station): Promise<Reply> {
  const { tool_name, tool_input, tool_response } = input;
  const { source } = toolCallOf(input, station);
  if (tool_name === 'ExitPlanMode') {
    const open = (await questionsOfSession(source, station)).filter(({ question }) => question === PLAN.question);
    return answeredInTerminal(
      open.map(question => [question, { selected: [PLAN.approve] }]),
      station,
    );
  }
  if (tool_name !== 'AskUserQuestion') return {};
  const response = fieldsOf(tool_response);
  const annotations = response.annotations ?? fieldsOf(tool_input).annotations;
  // Without annotations a hook has answered. With afkTimeoutMs nobody has, and the question stays open.
  if (annotations === undefined || response.afkTimeoutMs !== undefined) return {};
  const answers = fieldsOf(response.answers ?? fieldsOf(tool_input).answers);
  const asked = new Map((askedIn(tool_input) ?? []).map(one => [one.request.question, one]));
  const pairs = (await questionsOfSession(source, station)).flatMap((question): [Question, object][] => {
    const one = asked.get(question.question);
    const value = one && textOf(answers[one.question]);
    if (!one || value === undefined || fieldsOf(fieldsOf(annotations)[one.question]).unanswered !== undefined)
      return [];
    return [[question, answerOf(one, question, value)]];
  });
  return answeredInTerminal(pairs, station);
}

function answerOf(asked: Asked, { options }: Question, value: string): { selected: string[] } | { answer: string } {
  const chosen = selectedIn(asked, value);
  const selected = chosen.flatMap(label => options[asked.labels.indexOf(label)]?.label ?? []);
  return selected.length > 0 ? { selected } : { answer: value };
}

async function answeredInTerminal(answers: [Question, object][], station: Station): Promise<Reply> {
  const actor = { type: 'human', name: 'terminal' } as const;
  for (const [{ question_id }, answer] of answers) {
    await station.client.answer(question_id, { ...answer, actor, answered_in: 'terminal' });
    // The agent has it from the terminal.
    await station.client.acknowledge(question_id);
  }
  return {};
}

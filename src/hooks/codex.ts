import { quoted } from '../printable.ts';
import { acknowledgeAll, askPeople, toolCallOf } from './ask.ts';
import { sentText } from './asked.ts';
import { deliver, deliverAtEnd } from './deliver.ts';
import { denyWithAnswer } from './denial.ts';
import { shownAnswer } from './facts.ts';
import { fieldsOf, type HookInput, type Reply, type Station, textOf } from './hook.ts';

/** Codex has no limit of its own. */
const MOST_CONTINUATIONS = 8;

/** The hooks of Codex CLI. */
export async function codex(input: HookInput, station: Station): Promise<Reply> {
  const event = String(input.hook_event_name);
  switch (event) {
    case 'SessionStart':
    case 'UserPromptSubmit':
    case 'PostToolUse':
      return deliver(station, additionalContext => ({
        hookSpecificOutput: { hookEventName: event, additionalContext },
      }));
    case 'PreToolUse':
      if (!String(input.tool_name).startsWith('request_user_input')) return {};
      return denyWithAnswer(input, station, permissionDecisionReason => ({
        hookSpecificOutput: { hookEventName: event, permissionDecision: 'deny', permissionDecisionReason },
      }));
    case 'PermissionRequest':
      // While it waits, the terminal shows no prompt.
      return station.switches.away ? approve(input, station) : {};
    case 'Stop':
      return deliverAtEnd(input, station, MOST_CONTINUATIONS, reason => ({ decision: 'block', reason }));
    default:
      return {};
  }
}

/** Lets a person allow a call, or say why not. */
async function approve(input: HookInput, station: Station): Promise<Reply> {
  const tool = textOf(input.tool_name) ?? 'a tool';
  const { command, description } = fieldsOf(input.tool_input);
  const shown = textOf(command) ?? JSON.stringify(input.tool_input ?? {});
  const about = [textOf(description), shown].filter(part => part !== undefined).join('\n\n');
  const request = {
    question: sentText(`Allow ${tool}: ${shown}`, 500),
    context: sentText(about, 65_536),
    options: ['Allow', 'Deny'],
  };
  const [answered] = (await askPeople([request], toolCallOf(input, station), station)) ?? [];
  if (!answered) return {};
  const said = shownAnswer(answered);
  const who = quoted(answered.answered_by?.name ?? 'somebody');
  // An approval with a text may hold a condition, so it is none.
  const decision =
    said === 'Allow' ? { behavior: 'allow' } : { behavior: 'deny', message: `Denied by ${who}: ${quoted(said)}` };
  return {
    output: { hookSpecificOutput: { hookEventName: 'PermissionRequest', decision } },
    delivered: () => acknowledgeAll([answered], station),
  };
}

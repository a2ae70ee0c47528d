import { deliver, deliverAtEnd } from './deliver.ts';
import { denyWithAnswer } from './denial.ts';
import type { HookInput, Reply, Station } from './hook.ts';

/** Gemini CLI names no limit. */
const MOST_CONTINUATIONS = 8;

/** The hooks of Gemini CLI. */
export async function gemini(input: HookInput, station: Station): Promise<Reply> {
  const event = String(input.hook_event_name);
  const denial = (reason: string) => ({ decision: 'deny', reason });
  switch (event) {
    case 'SessionStart':
    case 'BeforeAgent':
    case 'AfterTool':
      return deliver(station, additionalContext => ({
        hookSpecificOutput: { hookEventName: event, additionalContext },
      }));
    case 'BeforeTool':
      return input.tool_name === 'ask_user' ? denyWithAnswer(input, station, denial) : {};
    case 'AfterAgent':
      return deliverAtEnd(input, station, MOST_CONTINUATIONS, denial);
    default:
      return {};
  }
}

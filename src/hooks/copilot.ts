import { deliver, deliverAtEnd } from './deliver.ts';
import type { HookInput, Reply, Station } from './hook.ts';

/** Copilot CLI ends a turn that hooks have put off eight times. */
const MOST_CONTINUATIONS = 7;

/** The hooks of GitHub Copilot CLI. */
export async function copilot(input: HookInput, station: Station): Promise<Reply> {
  switch (input.hook_event_name) {
    case 'sessionStart':
    case 'notification':
      return deliver(station, additionalContext => ({ additionalContext }));
    case 'agentStop':
      return deliverAtEnd(input, station, MOST_CONTINUATIONS, reason => ({ decision: 'block', reason }));
    default:
      return {};
  }
}

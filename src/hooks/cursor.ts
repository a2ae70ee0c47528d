import { deliver } from './deliver.ts';
import type { HookInput, Reply, Station } from './hook.ts';

/** Cursor sends at most five follow-ups in a row. */
const MOST_CONTINUATIONS = 4;

/** The hooks of Cursor. */
export async function cursor({ hook_event_name, status, loop_count }: HookInput, station: Station): Promise<Reply> {
  if (hook_event_name !== 'stop') return {};
  // A person has stopped it, or it has failed.
  if (status !== undefined && status !== 'completed') return {};
  if (Number(loop_count ?? 0) >= MOST_CONTINUATIONS) return {};
  return deliver(station, followup_message => ({ followup_message }));
}

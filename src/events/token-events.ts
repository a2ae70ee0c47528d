import type { TokenEvent } from '../access/service.ts';
import type { Tx } from '../db/database.ts';
import type { EventLog } from './service.ts';

/** Appends events about tokens to the log. They belong to no run, so agents do not see them. */
export function tokenEvents(events: Pick<EventLog, 'append' | 'draft'>) {
  const nowhere = { thread_id: null, run_id: null, agent_name: null, ticket: null };
  return async (tx: Tx, { actor, event_type, payload }: TokenEvent): Promise<void> => {
    await events.append(tx, [events.draft(nowhere, actor, event_type, payload)]);
  };
}

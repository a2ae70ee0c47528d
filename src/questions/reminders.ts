import { type Clock, toTimestamp } from '../clock.ts';
import { type Control, ticketed } from '../control/service.ts';
import type { Database, Tx } from '../db/database.ts';
import type { EventLog } from '../events/service.ts';
import { priorityAt } from '../priority.ts';
import { timekeeper } from './endings.ts';
import { endedPayload, type QuestionRow, withTicketOf } from './question.ts';
import { askedHeads, clearReminders, listQuestionsById, listToRemind } from './repository.ts';

interface Dependencies {
  db: Pick<Database, 'read' | 'write'>;
  clock: Clock;
  events: Pick<EventLog, 'draft'>;
  control: Pick<Control, 'record' | 'required'>;
}

/** Questions that one transaction calls to mind. */
const BATCH = 50;

/** Makes the job that calls open questions to mind which have waited for as long as they say, each once. */
export function createReminders({ db, clock, events, control }: Dependencies) {
  /** Appends an event for each of these questions that is still open, agent by agent. */
  async function remind(tx: Tx, questionIds: string[]): Promise<void> {
    const rows = await listQuestionsById(tx, questionIds);
    const askedHead = await askedHeads(tx, rows);
    const open = rows.filter(({ state }) => state === 'open');
    for (const own of Map.groupBy(open, ({ thread_id }) => thread_id).values()) {
      const [{ run_id, agent_name }] = own as [QuestionRow];
      const agent = await control.required(tx, run_id, agent_name);
      const drafts = own.map(row => {
        const since = { priority: priorityAt(row.priority), asked_at: toTimestamp(row.asked_at) };
        const payload = endedPayload(row, askedHead(row), since, agent.run.title);
        return withTicketOf(row, events.draft(ticketed(agent), timekeeper, 'forum.question.reminded', payload));
      });
      const [first, ...others] = drafts;
      if (first) await control.record(tx, agent, [first, ...others]);
    }
    await clearReminders(tx, questionIds);
  }

  return async (): Promise<void> => {
    for (;;) {
      const due = await listToRemind(db.read, clock.now(), BATCH);
      if (due.length === 0) return;
      await db.write(tx => remind(tx, due));
    }
  };
}

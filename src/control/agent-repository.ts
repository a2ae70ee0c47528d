import { sql } from 'kysely';
import { after } from '../db/cursors.ts';
import type { Reader, Tx } from '../db/database.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import { upsert } from '../db/upsert.ts';
import type { ControlRow, OpenQuestion } from './agent-state.ts';

type Pair = Pick<ControlRow, 'run_id' | 'agent_name'>;

/** Columns of an agent that can change. */
const changing = [
  'attempt',
  'open_questions_count',
  'completion_sequence',
  'validation_sequence',
  'validation_status',
  'status',
  'criteria_met',
  'unread',
  'version',
  'withdrawn_at',
  'last_seen_at',
] as const;

export async function findControlThread(
  reader: Reader,
  runId: string,
  agentName: string,
): Promise<ControlRow | undefined> {
  return reader.first(findControlThreadStatement, { run_id: runId, agent_name: agentName });
}

const findControlThreadStatement = statement(({ query, value }: StatementBuilder<Pair>) =>
  query
    .selectFrom('control_threads')
    .selectAll()
    .where('run_id', '=', value('run_id'))
    .where('agent_name', '=', value('agent_name')),
);

export function insertControlThread(tx: Tx, row: ControlRow): void {
  tx.send(insertControlThreadStatement, row);
}

const insertControlThreadStatement = statement(({ query, values }: StatementBuilder<ControlRow>) =>
  query.insertInto('control_threads').values(values(['run_id', 'agent_name', 'thread_id', ...changing])),
);

/** Updates the columns that can change. */
export function updateControlThread(tx: Tx, row: ControlRow): void {
  tx.send(updateControlThreadStatement, row);
}

const updateControlThreadStatement = statement(({ query, value, values }: StatementBuilder<ControlRow>) =>
  query
    .updateTable('control_threads')
    .set(values(changing))
    .where('run_id', '=', value('run_id'))
    .where('agent_name', '=', value('agent_name')),
);

/** Adds to the number of an agent's unacknowledged items. */
export function addUnread(tx: Tx, pair: Pair, by: number): void {
  tx.send(addUnreadStatement, { run_id: pair.run_id, agent_name: pair.agent_name, by });
}

const addUnreadStatement = statement(({ query, value }: StatementBuilder<Pair & { by: number }>) =>
  query
    .updateTable('control_threads')
    .set(eb => ({ unread: eb('unread', '+', value('by')) }))
    .where('run_id', '=', value('run_id'))
    .where('agent_name', '=', value('agent_name')),
);

/** Stores when an agent was seen, unless it has been seen later than `renewMs` before that. */
export function setSeen(tx: Tx, pair: Pair, at: number, renewMs: number): void {
  tx.send(setSeenStatement, { run_id: pair.run_id, agent_name: pair.agent_name, at, until: at - renewMs });
}

const setSeenStatement = statement(({ query, value }: StatementBuilder<Pair & { at: number; until: number }>) =>
  query
    .updateTable('control_threads')
    .set({ last_seen_at: value('at') })
    .where('run_id', '=', value('run_id'))
    .where('agent_name', '=', value('agent_name'))
    .where(eb => eb.or([eb('last_seen_at', 'is', null), eb('last_seen_at', '<=', value('until'))])),
);

/** By run, then agent. `from` is the pair of the last row of the previous page. */
export async function listControlThreads(
  reader: Reader,
  filter: { run_id?: string | undefined; status?: string | undefined; from?: readonly [string, string] | undefined },
  limit: number,
): Promise<ControlRow[]> {
  let query = reader.query.selectFrom('control_threads').selectAll();
  const { run_id, status, from } = filter;
  if (run_id !== undefined) query = query.where('run_id', '=', run_id);
  if (status === 'withdrawn') query = query.where('withdrawn_at', 'is not', null);
  else if (status !== undefined) query = query.where('status', '=', status).where('withdrawn_at', 'is', null);
  if (from) query = query.where(eb => after(eb, ['run_id', 'agent_name'], from));
  return query.orderBy('run_id').orderBy('agent_name').limit(limit).execute();
}

/** An agent's open questions, oldest first. */
export async function listOpenQuestions(
  reader: Reader,
  { run_id, agent_name }: Pair,
  limit: number,
): Promise<OpenQuestion[]> {
  return reader.all(listOpenQuestionsStatement, { run_id, agent_name, limit });
}

const listOpenQuestionsStatement = statement(({ query, value }: StatementBuilder<Pair & { limit: number }>) =>
  query
    .selectFrom('questions')
    .select(['question_id', 'approvals_required'])
    .where('run_id', '=', value('run_id'))
    .where('agent_name', '=', value('agent_name'))
    .where('state', '=', sql.lit('open'))
    .orderBy('asked_sequence')
    .limit(value('limit')),
);

/** The agents of a run that keep its gate closed, by name. */
export async function listBlockingAgents(reader: Reader, runId: string, limit: number): Promise<ControlRow[]> {
  return (
    reader.query
      .selectFrom('control_threads')
      .selectAll()
      .where('run_id', '=', runId)
      .where('withdrawn_at', 'is', null)
      // Repeats the condition of the partial index, or the planner would not use it.
      .where(eb => eb.or([eb('status', '<>', sql.lit('validated')), eb('criteria_met', '=', sql.lit(0))]))
      .orderBy('agent_name')
      .limit(limit)
      .execute()
  );
}

/** Which of these agents have sent a signal in the run. */
export async function listSeen(reader: Reader, runId: string, agentNames: string[]): Promise<string[]> {
  if (agentNames.length === 0) return [];
  const query = reader.query.selectFrom('control_threads').select('agent_name').where('run_id', '=', runId);
  return (await query.where('agent_name', 'in', agentNames).execute()).map(row => row.agent_name);
}

/** Counts agents that have open questions. */
export async function countWaiting(reader: Reader): Promise<number> {
  const query = reader.query.selectFrom('control_threads').select(eb => eb.fn.countAll<number>().as('count'));
  return (await query.where('status', '=', 'awaiting_guidance').executeTakeFirstOrThrow()).count;
}

const HOUR_MS = 3_600_000;

/** Counts working agents of open runs that were last seen between two times. Epoch milliseconds. */
export async function countSilent(reader: Reader, { from, until }: { from: number; until: number }): Promise<number> {
  const row = await reader.query
    .selectFrom('control_threads')
    .innerJoin('runs', 'runs.run_id', 'control_threads.run_id')
    .select(eb => eb.fn.countAll<number>().as('count'))
    .where('control_threads.status', '=', sql.lit('working'))
    .where('last_seen_hour', '>=', Math.floor(from / HOUR_MS))
    .where('last_seen_hour', '<=', Math.floor(until / HOUR_MS))
    .where('last_seen_at', '>=', from)
    .where('last_seen_at', '<', until)
    .where('withdrawn_at', 'is', null)
    .where('closed_at', 'is', null)
    .executeTakeFirstOrThrow();
  return row.count;
}

/** All agents of a run, by name. */
export async function listAgents(reader: Reader, runId: string): Promise<ControlRow[]> {
  const query = reader.query.selectFrom('control_threads').selectAll().where('run_id', '=', runId);
  return query.orderBy('agent_name').execute();
}

/**
 * Empties the inboxes of some agents of a run that is erased, and measures their validations by a brief without criteria.
 * @returns how many agents changed
 */
export async function eraseAgents(tx: Tx, runId: string, limit: number): Promise<number> {
  const measured = sql<number>`case when validation_sequence is null then 0 else 1 end`;
  const { numUpdatedRows } = await tx.query
    .updateTable('control_threads')
    .set({ unread: 0, criteria_met: measured })
    .where('run_id', '=', runId)
    .where('agent_name', 'in', eb =>
      eb
        .selectFrom('control_threads as one')
        .select('one.agent_name')
        .where('one.run_id', '=', runId)
        .where(eb => eb.or([eb('one.unread', '<>', 0), eb('one.criteria_met', '<>', measured)]))
        .limit(limit),
    )
    .executeTakeFirst();
  return Number(numUpdatedRows);
}

/** Those of these agents of a run that have a control state. */
export async function listAgentsByName(tx: Tx, run_id: string, names: string[]): Promise<ControlRow[]> {
  return tx.all(namedStatement, { run_id, names: JSON.stringify(names) });
}

const namedStatement = statement(
  ({ query, value, among, textElements }: StatementBuilder<{ run_id: string; names: string }>) =>
    query
      .selectFrom('control_threads')
      .selectAll()
      .where('run_id', '=', value('run_id'))
      .where(among('agent_name', textElements('names'))),
);

/** Stores these control states, new ones and known ones. */
export async function storeControlThreads(tx: Tx, rows: readonly ControlRow[]): Promise<void> {
  await tx.run(storeControlThreadsStatement, { rows: JSON.stringify(rows) });
}

const storeControlThreadsStatement = upsert('control_threads', ['run_id', 'agent_name'], {
  ...({ run_id: 'text', agent_name: 'text', thread_id: 'text', attempt: 'integer', status: 'text' } as const),
  ...({ open_questions_count: 'integer', completion_sequence: 'integer', validation_sequence: 'integer' } as const),
  ...({ validation_status: 'text', criteria_met: 'integer', unread: 'integer', version: 'integer' } as const),
  ...({ withdrawn_at: 'integer', last_seen_at: 'integer' } as const),
});

import { type ExpressionBuilder, type ReferenceExpression, type SelectQueryBuilder, type SqlBool, sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { erasing } from '../db/erasing.ts';
import type { Row, Schema } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import { upsert } from '../db/upsert.ts';
import { rangeOfPriority, type ThreadRow, threadStates } from './thread.ts';

export interface ThreadFilter {
  run_id?: string | undefined;
  ticket?: string | undefined;
  assignee?: string | undefined;
  agent_name?: string | undefined;
  kind?: ThreadRow['kind'] | undefined;
  state?: string | undefined;
  /** A rank; 0 is `urgent`. */
  priority?: number | undefined;
  unanswered?: true | undefined;
}

/** A thread as it is now, and the data for its place as of an earlier sequence. */
export interface MovedThread extends ThreadRow {
  /** The thread's latest sequence then. */
  sequence_then: number;
  /** The payload (JSON) of the first priority change since then; its `from` is the priority then. Null without one. */
  priority_change: string | null;
}

/** The columns that the first event sets for good. */
const fixedColumns = ['thread_id', 'kind', 'title', 'run_id', 'agent_name', 'opened_by', 'opened_at'] as const;

/** The columns that later events can change. */
const mutableColumns = [
  'state',
  'priority',
  'assignee',
  'ticket',
  'last_actor',
  'updated_at',
  'closed_at',
  'posts_count',
  'last_sequence',
  'last_agent_post',
  'last_human_post',
  'last_answered',
  'opened_sequence',
  'place',
  'open_questions',
  'awaits_person',
  'version',
] as const;

type Threads = SelectQueryBuilder<Schema, 'threads', object>;

/** Whether the title is being erased. Titles of control threads have names only. */
const isErasing = erasing('threads.run_id').as('erasing');

export async function findThread(reader: Reader, threadId: string): Promise<ThreadRow | undefined> {
  return reader.first(findThreadStatement, { thread_id: threadId });
}

const findThreadStatement = statement(({ query, value }: StatementBuilder<Pick<ThreadRow, 'thread_id'>>) =>
  query.selectFrom('threads').selectAll().select(isErasing).where('thread_id', '=', value('thread_id')),
);

/** The control thread of an agent in a run; there is at most one. */
export async function findThreadOfAgent(
  reader: Reader,
  runId: string,
  agentName: string,
): Promise<ThreadRow | undefined> {
  return reader.first(findThreadOfAgentStatement, { run_id: runId, agent_name: agentName });
}

const findThreadOfAgentStatement = statement(
  ({ query, value }: StatementBuilder<Record<'run_id' | 'agent_name', string>>) =>
    query
      .selectFrom('threads')
      .selectAll()
      .where('run_id', '=', value('run_id'))
      .where('agent_name', '=', value('agent_name'))
      .where('kind', '=', sql.lit('control' as const)),
);

export function insertThread(tx: Tx, row: ThreadRow): void {
  tx.send(insertThreadStatement, row);
}

const insertThreadStatement = statement(({ query, values }: StatementBuilder<ThreadRow>) =>
  query.insertInto('threads').values(values([...fixedColumns, ...mutableColumns])),
);

/** Stores the mutable columns of a thread. */
export function updateThread(tx: Tx, row: ThreadRow): void {
  tx.send(updateThreadStatement, row);
}

const updateThreadStatement = statement(({ query, value, values }: StatementBuilder<ThreadRow>) =>
  query.updateTable('threads').set(values(mutableColumns)).where('thread_id', '=', value('thread_id')),
);

/** A closed thread whose open questions have not all been cancelled yet, if there is one. */
export async function findWithdrawing(reader: Reader): Promise<ThreadRow | undefined> {
  const query = reader.query.selectFrom('threads').selectAll().where('state', '=', sql.lit('closed'));
  return query.where('open_questions', '>', sql.lit(0)).orderBy('thread_id').limit(1).executeTakeFirst();
}

/** Whether a thread has a place p with after < p < before. */
export async function hasThreadBetween(reader: Reader, after: number, before: number): Promise<boolean> {
  const between = reader.query.selectFrom('threads').select('place').where('place', '>', after);
  return (await between.where('place', '<', before).limit(1).executeTakeFirst()) !== undefined;
}

/**
 * The threads after a place without events since `asOf` (a sequence), by place.
 * Each index has the columns (column, state, place). So one query per state reads its rows in order, and a union merges
 * them without a sort of all matches.
 */
export async function listThreads(
  reader: Reader,
  filter: ThreadFilter,
  { after, asOf, limit }: { after: number; asOf: number; limit: number },
): Promise<ThreadRow[]> {
  const branches = branchesOf(filter).map(branch =>
    matching(reader.query.selectFrom('threads'), branch)
      .selectAll()
      .select(isErasing)
      .where('place', '>', after)
      .where('last_sequence', '<=', asOf)
      .orderBy('place')
      .limit(limit),
  );
  const [first, ...others] = branches.map(branch => reader.query.selectFrom(branch.as('branch')).selectAll());
  if (!first) return [];
  return others
    .reduce((all, branch) => all.unionAll(branch), first)
    .orderBy('place')
    .limit(limit)
    .execute();
}

/**
 * The next threads after a place that existed at `asOf` (a sequence) and have had events since, by place.
 * @param below ends the range of places, all of one priority
 */
export async function listMovedSince(
  reader: Reader,
  filter: ThreadFilter,
  { asOf, after, below, limit }: { asOf: number; after: number; below: number; limit: number },
): Promise<MovedThread[]> {
  const branches = branchesOf(filter).map(branch =>
    matching(reader.query.selectFrom('threads'), branch)
      .selectAll()
      .select(isErasing)
      .where('place', '>', after)
      .where('place', '<', below)
      .where(sql<number>`opened_sequence + 0`, '<=', asOf)
      .orderBy('place')
      .limit(limit),
  );
  const [first, ...others] = branches.map(branch => reader.query.selectFrom(branch.as('branch')).selectAll());
  if (!first) return [];
  const moved = others
    .reduce((all, branch) => all.unionAll(branch), first)
    .orderBy('place')
    .limit(limit);
  return reader.query
    .selectFrom(moved.as('moved'))
    .selectAll()
    .select(eb => [
      eb
        .selectFrom('events')
        .select(events => events.fn.max('sequence').as('sequence'))
        .whereRef('events.thread_id', '=', 'moved.thread_id')
        .where('events.sequence', '<=', asOf)
        .as('sequence_then'),
      eb
        .selectFrom('events')
        .select('payload')
        .whereRef('events.thread_id', '=', 'moved.thread_id')
        .where('events.event_type', '=', 'forum.priority.changed')
        .where('events.sequence', '>', asOf)
        .orderBy('events.sequence')
        .limit(1)
        .as('priority_change'),
    ])
    .orderBy('place')
    .execute() as Promise<unknown[]> as Promise<MovedThread[]>;
}

/** The threads with these numbers (`opened_sequence`) that match a filter, newest first; none that is being erased. */
export async function findThreadsByNumber(
  reader: Reader,
  filter: ThreadFilter,
  numbers: number[],
): Promise<ThreadRow[]> {
  if (numbers.length === 0) return [];
  return matching(reader.query.selectFrom('threads'), { ...filter, by: undefined })
    .selectAll()
    .where('opened_sequence', 'in', numbers)
    .where(erasing('threads.run_id'), '=', 0)
    .orderBy('opened_sequence', 'desc')
    .execute();
}

/** The newest thread of those that were opened before a sequence. It is `erased` if all texts of its run are. */
export async function findNewestThreadBefore(
  reader: Reader,
  sequence: number,
): Promise<(ThreadRow & { erased: number }) | undefined> {
  return reader.first(findNewestThreadBeforeStatement, { sequence });
}

const isErased = sql<number>`(select count(*) from runs
  where runs.run_id = threads.run_id and runs.erased_at is not null and ${erasing('threads.run_id')} = 0)`;

const findNewestThreadBeforeStatement = statement(({ query, value }: StatementBuilder<{ sequence: number }>) =>
  query
    .selectFrom('threads')
    .selectAll()
    .select(isErased.as('erased'))
    .where('opened_sequence', '<', value('sequence'))
    .orderBy('opened_sequence', 'desc')
    .limit(1),
);

/** The columns with an index, most selective first. */
const indexedColumns = ['run_id', 'ticket', 'assignee', 'agent_name', 'kind'] as const;

interface Branch extends ThreadFilter {
  /**
   * The column whose index the query uses. The query hides the other indexes from the planner, which plans without the
   * values and could choose a less selective one.
   */
  by: (typeof indexedColumns)[number] | undefined;
}

/** One branch per index range, that is per value of the column and state. */
function branchesOf(filter: ThreadFilter): Branch[] {
  const { kind, state, unanswered } = filter;
  const by = indexedColumns.find(column => filter[column] !== undefined);
  if (unanswered && (by === undefined || by === 'kind')) return [{ ...filter, by: undefined }];
  if (by === undefined && state === undefined) return [{ ...filter, by }];
  const states = state === undefined ? threadStates : [state];
  const kinds = by === undefined ? (['control', 'discussion'] as const) : [kind];
  return kinds.flatMap(kind => states.map(state => ({ ...filter, kind, state, by: by ?? 'kind' })));
}

function matching(query: Threads, { by, priority, unanswered, state, ...filter }: Branch): Threads {
  let found = query;
  for (const column of indexedColumns) {
    const value = filter[column];
    if (value === undefined) continue;
    // The expression equals the column, but no index holds it.
    const ref = column === by ? column : sql<string>`${sql.ref(column)} || ''`;
    found = found.where(ref as ReferenceExpression<Schema, 'threads'>, '=', value);
  }
  if (state !== undefined) found = found.where('state', '=', state);
  if (priority !== undefined) {
    const { above, below } = rangeOfPriority(priority);
    found = found.where('place', '>', above).where('place', '<', below);
  }
  return unanswered ? found.where(isUnanswered) : found;
}

/** Repeats the condition of the partial index, or the planner would not use it. */
function isUnanswered(eb: ExpressionBuilder<Schema, 'threads'>) {
  return eb.and([
    eb('state', '<>', sql.lit('closed')),
    eb('last_agent_post', '>', eb.ref('last_human_post')),
    eb('last_agent_post', '>', eb.ref('last_answered')),
  ]) as ReturnType<typeof eb.and> & SqlBool;
}

/** Whether the texts of a run were erased. */
export async function isRunErased(reader: Reader, run_id: string): Promise<boolean> {
  return (await reader.first(runErasedStatement, { run_id })) !== undefined;
}

const runErasedStatement = statement(({ query, value }: StatementBuilder<{ run_id: string }>) =>
  query.selectFrom('runs').select('erased_at').where('run_id', '=', value('run_id')).where('erased_at', 'is not', null),
);

/** Empties the title of a discussion. */
export function eraseTitle(tx: Tx, thread_id: string): void {
  tx.send(eraseTitleStatement, { thread_id });
}

const eraseTitleStatement = statement(({ query, value }: StatementBuilder<Pick<ThreadRow, 'thread_id'>>) =>
  query
    .updateTable('threads')
    .set({ title: sql.lit('') })
    .where('thread_id', '=', value('thread_id'))
    .where('kind', '=', sql.lit('discussion' as const)),
);

/** The attributes that are counted per value, such as threads per state. */
export type Subject = 'thread_state' | 'thread_priority' | 'thread_ticket' | 'thread_run' | 'signal_type';
export type CountRow = Row<'counts'>;

/**
 * Subjects of which every signal changes one of few values. Their counts are kept in parts, of which each process has
 * one. With one row, processes would wait for each other's transactions.
 */
export const COUNTED_IN_PARTS: readonly Subject[] = ['thread_state', 'thread_priority', 'signal_type'];
/** Parts of a count. */
export const PARTS = 16;

/** Adds `change.count`, which may be negative, to a part of the stored count. */
export function addCount(tx: Tx, change: CountRow): void {
  tx.send(addCountStatement, change);
}

const addCountStatement = statement(({ query, values }: StatementBuilder<CountRow>) =>
  query
    .insertInto('counts')
    .values(values(['subject', 'value', 'part', 'count']))
    .onConflict(conflict =>
      conflict
        .columns(['subject', 'value', 'part'])
        .doUpdateSet(eb => ({ count: eb('counts.count', '+', eb.ref('excluded.count')) })),
    ),
);

/** All counts of these subjects, each as the sum of its parts. Meant for subjects with few values, such as states. */
export async function readCounts(reader: Reader, subjects: readonly Subject[]): Promise<Omit<CountRow, 'part'>[]> {
  return reader.query
    .selectFrom('counts')
    .select(eb => ['subject', 'value', eb.cast<number>(eb.fn.sum('count'), 'bigint').as('count')])
    .where('subject', 'in', subjects)
    .groupBy(['subject', 'value'])
    .execute();
}

/** The largest counts of a subject with many values, largest first. */
export async function largestCounts(
  reader: Reader,
  subject: 'thread_ticket' | 'thread_run',
  limit: number,
): Promise<CountRow[]> {
  return (
    reader.query
      .selectFrom('counts')
      .selectAll()
      .where('subject', '=', subject)
      // Repeats the condition of the partial index, or the planner would not use it.
      .where('subject', 'in', sql<string>`('thread_ticket', 'thread_run')`)
      .orderBy('count', 'desc')
      .limit(limit)
      .execute()
  );
}

/** The threads with these ids. */
export async function listThreadsById(tx: Tx, ids: string[]): Promise<ThreadRow[]> {
  return tx.all(threadsByIdStatement, { ids: JSON.stringify(ids) });
}

const threadsByIdStatement = statement(({ query, among, textElements }: StatementBuilder<{ ids: string }>) =>
  query
    .selectFrom('threads')
    .selectAll()
    .where(among('thread_id', textElements('ids'))),
);

/** Stores these threads, new ones and known ones. */
export async function storeThreads(tx: Tx, rows: readonly ThreadRow[]): Promise<void> {
  await tx.run(storeThreadsStatement, { rows: JSON.stringify(rows) });
}

const storeThreadsStatement = upsert('threads', ['thread_id'], {
  ...({
    thread_id: 'text',
    kind: 'text',
    title: 'text',
    state: 'text',
    priority: 'integer',
    assignee: 'text',
  } as const),
  ...({ ticket: 'text', run_id: 'text', agent_name: 'text', opened_by: 'text', opened_at: 'integer' } as const),
  ...({ last_actor: 'text', updated_at: 'integer', closed_at: 'integer', posts_count: 'integer' } as const),
  ...({ last_sequence: 'integer', last_agent_post: 'integer', last_human_post: 'integer' } as const),
  ...({ last_answered: 'integer', opened_sequence: 'integer', place: 'integer', open_questions: 'integer' } as const),
  ...({ awaits_person: 'integer', version: 'integer' } as const),
});

/** The numbers (`opened_sequence`) of the next threads, the oldest first. */
export async function listOpenedAfter(tx: Tx, after: number, limit: number): Promise<number[]> {
  return (await tx.all(openedAfterStatement, { after, limit })).map(row => row.opened_sequence);
}

const openedAfterStatement = statement(({ query, value }: StatementBuilder<{ after: number; limit: number }>) =>
  query
    .selectFrom('threads')
    .select('opened_sequence')
    .where('opened_sequence', '>', value('after'))
    .orderBy('opened_sequence')
    .limit(value('limit')),
);

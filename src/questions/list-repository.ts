import { type SelectQueryBuilder, type SqlBool, sql } from 'kysely';
import { after } from '../db/cursors.ts';
import type { Reader } from '../db/database.ts';
import { erasing } from '../db/erasing.ts';
import type { Schema } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';
import { priorities } from '../priority.ts';
import { phasesOf, type QuestionRow } from './question.ts';

export interface QuestionFilter {
  state?: string | undefined;
  run_id?: string | undefined;
  agent_name?: string | undefined;
  ticket?: string | undefined;
  /** A rank; 0 is `urgent`. */
  priority?: number | undefined;
  /** Only ended questions that are news for their agents. */
  unacknowledged?: boolean | undefined;
  /** Only questions asked after this time. Epoch milliseconds. */
  asked_after?: number | undefined;
}

/** Where a page begins: after the last row of the previous one. */
export type From =
  | { order: 'urgent'; key?: readonly [priority: number, asked_sequence: number] | undefined }
  | { order: 'newest'; key?: readonly [asked_sequence: number] | undefined };

/**
 * Clocks of processes differ by less than this. Where one was set back by more, `asked_after` misses questions: finding them
 * would read all that were asked since. Milliseconds.
 */
const SKEW_MS = 60_000;

/**
 * The columns that have an index, alone and with all others. It goes on with the phase, the priority and the sequence.
 * It spells the phase in its own way: as `phase + 3` in that of run and agent.
 */
const indexed = ['run_id', 'agent_name', 'ticket'] as const;

/** The phase as the index of these columns spells it. */
function inPhase(filter: QuestionFilter, phase: number) {
  const number = indexed.reduce((sum, column, bit) => sum + (filter[column] === undefined ? 0 : 2 ** bit), 0);
  return sql<SqlBool>`phase + ${sql.lit(number)} = ${sql.lit(phase + number)}`;
}

/** The expression of the index by sequence. */
const sequence = sql<number>`asked_sequence + 0`;

type Questions = SelectQueryBuilder<Schema, 'questions', object>;

/**
 * Questions by urgency (most urgent first, then oldest first) or newest first. Each combination of filters is a few
 * ranges of one index. There is one per phase and, where the order needs it, per priority. A union brings their pages
 * together.
 */
export async function listQuestions(
  reader: Reader,
  filter: QuestionFilter,
  from: From,
  limit: number,
): Promise<QuestionRow[]> {
  const since = filter.asked_after === undefined ? 0 : await firstSince(reader, filter.asked_after);
  if (since === undefined) return [];
  const ranks = rangesOf(filter, from, since);
  // PostgreSQL would sort by a priority that is the same for all rows.
  const byPriority = from.order === 'urgent' && filter.priority === undefined;
  const direction = from.order === 'newest' ? 'desc' : 'asc';
  const inOrder = (query: Questions) =>
    (byPriority ? query.orderBy('priority') : query).orderBy('asked_sequence', direction).limit(limit);
  const branches = phasesOf(filter).flatMap(phase =>
    ranks.map(range => {
      const branch = range(matching(reader.query.selectFrom('questions'), filter));
      return inOrder(branch.where(inPhase(filter, phase)))
        .selectAll()
        .select(erasing('questions.run_id').as('erasing'));
    }),
  );
  const [only] = branches;
  if (!only) return [];
  if (branches.length === 1) return only.execute();
  const [first, ...others] = branches.map(branch => reader.query.selectFrom(branch.as('branch')).selectAll());
  const all = others.reduce((all, branch) => all.unionAll(branch), first as NonNullable<typeof first>);
  return (byPriority ? all.orderBy('priority') : all).orderBy('asked_sequence', direction).limit(limit).execute();
}

/** The conditions on priority and sequence: one range, or one per priority. */
function rangesOf({ priority }: QuestionFilter, from: From, since: number): ((query: Questions) => Questions)[] {
  if (from.order === 'urgent' && since === 0) {
    const { key } = from;
    return [
      query => {
        const found = priority === undefined ? query : query.where('priority', '=', priority);
        return key ? found.where(eb => after(eb, ['priority', 'asked_sequence'], key)) : found;
      },
    ];
  }
  const ranks = priority === undefined ? priorities.map((_name, rank) => rank) : [priority];
  const [last, beyond] = from.order === 'urgent' ? (from.key ?? [-1, 0]) : [-1, 0];
  return ranks
    .filter(rank => rank >= last)
    .map(rank => query => {
      const above = Math.max(since - 1, rank === last ? beyond : 0);
      const found = query.where('priority', '=', rank).where('asked_sequence', '>', above);
      return from.order === 'newest' && from.key ? found.where('asked_sequence', '<', from.key[0]) : found;
    });
}

function matching(query: Questions, filter: QuestionFilter): Questions {
  let found = query;
  for (const column of indexed) {
    const value = filter[column];
    if (value !== undefined) found = found.where(column, '=', value);
  }
  // Nearly all rows of the range; clocks of several processes are not the same.
  return filter.asked_after === undefined ? found : found.where('asked_at', '>', filter.asked_after);
}

/** A sequence before which no question was asked after a time; undefined if none was asked since. */
async function firstSince(reader: Reader, time: number): Promise<number | undefined> {
  return (await reader.first(firstSinceStatement, { time: time - SKEW_MS }))?.asked_sequence;
}

const firstSinceStatement = statement(({ query, value }: StatementBuilder<{ time: number }>) =>
  query
    .selectFrom('questions')
    .select('asked_sequence')
    .where('asked_at', '>', value('time'))
    .orderBy('asked_at')
    .orderBy('asked_sequence')
    .limit(1),
);

/** The questions with these sequences that match a filter, newest first; none that is being erased. */
export async function findQuestionsAt(
  reader: Reader,
  filter: QuestionFilter,
  sequences: number[],
): Promise<QuestionRow[]> {
  const phases = phasesOf(filter);
  if (sequences.length === 0 || phases.length === 0) return [];
  let query = reader.query
    .selectFrom('questions')
    .selectAll()
    .where(sequence, 'in', sequences)
    .where(erasing('questions.run_id'), '=', 0);
  // The expressions equal the columns, but no index holds them: the sequences are the most selective.
  for (const column of indexed) {
    const value = filter[column];
    if (value !== undefined) query = query.where(sql<string>`${sql.ref(column)} || ''`, '=', value);
  }
  if (filter.priority !== undefined) query = query.where(sql<number>`priority + 0`, '=', filter.priority);
  if (filter.asked_after !== undefined) query = query.where(sql<number>`asked_at + 0`, '>', filter.asked_after);
  return query.where('phase', 'in', phases).orderBy(sequence, 'desc').execute();
}

/** The next questions asked before a sequence, newest first. */
export async function listAskedBefore(
  reader: Reader,
  sequence: number,
  limit: number,
): Promise<Pick<QuestionRow, 'asked_sequence'>[]> {
  return reader.all(listAskedBeforeStatement, { sequence, limit });
}

const listAskedBeforeStatement = statement(({ query, value }: StatementBuilder<Record<'sequence' | 'limit', number>>) =>
  query
    .selectFrom('questions')
    .select('asked_sequence')
    .where(sequence, '<', value('sequence'))
    .orderBy(sequence, 'desc')
    .limit(value('limit')),
);

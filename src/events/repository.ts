import type { Reader, Tx } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

export type EventRow = Row<'events'>;

const columns = [
  'event_id',
  'event_type',
  'event_version',
  'occurred_at',
  'thread_id',
  'run_id',
  'ticket',
  'agent_name',
  'actor',
  'correlation_id',
  'causation_id',
  'payload',
  'token_id',
] as const;

export interface EventFilter {
  /** Only events with a greater sequence. */
  after: number;
  run_id?: string | undefined;
  thread_id?: string | undefined;
  agent_name?: string | undefined;
  event_type?: string | undefined;
}

/** Inserts the rows in this order. @returns their sequences, in the same order */
export async function insertEvents(tx: Tx, rows: Omit<EventRow, 'sequence'>[]): Promise<number[]> {
  return Promise.all(rows.map(row => tx.insert(insertEventStatement, row)));
}

const insertEventStatement = statement(
  ({ query, values, returningKey }: StatementBuilder<Omit<EventRow, 'sequence'>>) =>
    returningKey(query.insertInto('events').values(values(columns)), 'sequence'),
);

export async function findEvent(reader: Reader, eventId: string): Promise<EventRow | undefined> {
  return reader.query.selectFrom('events').selectAll().where('event_id', '=', eventId).executeTakeFirst();
}

/** The events at these sequences, in no particular order. */
export async function findEventsAt(reader: Reader, sequences: number[]): Promise<EventRow[]> {
  if (sequences.length === 0) return [];
  return reader.all(eventsAtStatement, { sequences: JSON.stringify(sequences) });
}

const eventsAtStatement = statement(({ query, integerElements }: StatementBuilder<{ sequences: string }>) =>
  query.selectFrom('events').selectAll().where('sequence', 'in', integerElements('sequences')),
);

/** The sequence of the newest event; 0 before the first. */
export async function latestSequence(reader: Reader): Promise<number> {
  return (await reader.first(latestSequenceStatement, {}))?.sequence ?? 0;
}

const latestSequenceStatement = statement(({ query }: StatementBuilder<object>) =>
  query.selectFrom('events').select('sequence').orderBy('sequence', 'desc').limit(1),
);

/** The events that match a filter, oldest first. */
export async function listEvents(reader: Reader, filter: EventFilter, limit: number): Promise<EventRow[]> {
  let query = reader.query.selectFrom('events').selectAll().where('sequence', '>', filter.after);
  for (const column of ['thread_id', 'run_id', 'agent_name', 'event_type'] as const) {
    const value = filter[column];
    if (value !== undefined) query = query.where(column, '=', value);
  }
  return query.orderBy('sequence').limit(limit).execute();
}

/** The events of a thread that are posts, oldest first. */
export async function listPosts(reader: Reader, threadId: string, after: number, limit: number): Promise<EventRow[]> {
  return reader.query
    .selectFrom('events')
    .selectAll()
    .where('thread_id', '=', threadId)
    .where('sequence', '>', after)
    .where('event_type', 'in', ['forum.post.added', 'forum.control.signal'])
    .orderBy('sequence')
    .limit(limit)
    .execute();
}

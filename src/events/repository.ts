import type { Reader, Tx } from '../db/database.ts';
import type { NewRow, Row } from '../db/schema.ts';

export type EventRow = Row<'events'>;

export interface EventFilter {
  after: number;
  run_id?: string | undefined;
  thread_id?: string | undefined;
  agent_name?: string | undefined;
  event_type?: string | undefined;
}

/** Appends in the order given and answers the sequences in that order. */
export async function insertEvents(tx: Tx, rows: NewRow<'events'>[]): Promise<number[]> {
  const inserted = await tx.query.insertInto('events').values(rows).returning(['sequence', 'event_id']).execute();
  // Neither engine promises the order of returned rows.
  const sequences = new Map(inserted.map(row => [row.event_id, row.sequence]));
  return rows.map(row => sequences.get(row.event_id) as number);
}

export async function findEvent(reader: Reader, eventId: string): Promise<EventRow | undefined> {
  return reader.query.selectFrom('events').selectAll().where('event_id', '=', eventId).executeTakeFirst();
}

/** The events at these sequences, in no particular order. */
export async function findEventsAt(reader: Reader, sequences: number[]): Promise<EventRow[]> {
  if (sequences.length === 0) return [];
  return reader.query.selectFrom('events').selectAll().where('sequence', 'in', sequences).execute();
}

export async function latestSequence(reader: Reader): Promise<number> {
  const query = reader.query.selectFrom('events').select('sequence').orderBy('sequence', 'desc').limit(1);
  return (await query.executeTakeFirst())?.sequence ?? 0;
}

/** Oldest first. */
export async function listEvents(reader: Reader, filter: EventFilter, limit: number): Promise<EventRow[]> {
  let query = reader.query.selectFrom('events').selectAll().where('sequence', '>', filter.after);
  for (const column of ['thread_id', 'run_id', 'agent_name', 'event_type'] as const) {
    const value = filter[column];
    if (value !== undefined) query = query.where(column, '=', value);
  }
  return query.orderBy('sequence').limit(limit).execute();
}

/** The events of a thread that carry text for people, oldest first. */
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

import { type RawBuilder, sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import type { Engine } from '../db/engine.ts';
import { type Erasable, erasing } from '../db/erasing.ts';
import type { Row } from '../db/schema.ts';
import { type Statement, type StatementBuilder, statement } from '../db/statement.ts';
import type { ColumnTypes } from '../db/upsert.ts';

export type EventRow = Row<'events'> & Erasable;

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
  'traceparent',
] as const;

export interface EventFilter {
  /** Only events with a greater sequence. */
  after: number;
  run_id?: string | undefined;
  thread_id?: string | undefined;
  agent_name?: string | undefined;
  event_type?: string | undefined;
  /** Newest first, and only events with a lower sequence; `after` is left out of account. */
  before?: number | undefined;
}

/** Inserts the rows in this order. @returns their sequences, in the same order */
export async function insertEvents(tx: Tx, rows: Omit<EventRow, 'sequence'>[]): Promise<number[]> {
  tx.announceEvents();
  return Promise.all(rows.map(row => tx.insert(insertEventStatement, row)));
}

const insertEventStatement = statement(
  ({ query, values, returningKey }: StatementBuilder<Omit<EventRow, 'sequence'>>) =>
    returningKey(query.insertInto('events').values(values(columns)), 'sequence'),
);

const isErasing = erasing('events.run_id').as('erasing');

export async function findEvent(reader: Reader, eventId: string): Promise<EventRow | undefined> {
  const query = reader.query.selectFrom('events').selectAll().select(isErasing);
  return query.where('event_id', '=', eventId).executeTakeFirst();
}

/** The events at these sequences, in no particular order. */
export async function findEventsAt(reader: Reader, sequences: number[]): Promise<EventRow[]> {
  if (sequences.length === 0) return [];
  return reader.all(eventsAtStatement, { sequences: JSON.stringify(sequences) });
}

const eventsAtStatement = statement(({ query, integerElements, among }: StatementBuilder<{ sequences: string }>) =>
  query
    .selectFrom('events')
    .selectAll()
    .select(isErasing)
    .where(among('sequence', integerElements('sequences'))),
);

/** An event without its content. */
export type EventOutline = Pick<
  EventRow,
  'sequence' | 'event_type' | 'occurred_at' | 'thread_id' | 'run_id' | 'agent_name'
> & {
  /** 1 if its run was erased, and nobody is told of it any more; otherwise 0. */
  erased: number;
};

/** The outlines of the next events after a sequence, oldest first. */
export async function listOutlines(reader: Reader, after: number, limit: number): Promise<EventOutline[]> {
  return reader.all(outlinesStatement, { after, limit });
}

/** As `erasedPayload` begins. The event of the erasure itself is not erased. */
const ERASED = '{"erased":true';
const isErasedOutline = sql<number>`case
  when event_type = 'forum.run.erased' then 0
  when substr(payload, 1, ${sql.lit(ERASED.length)}) = ${sql.lit(ERASED)} then 1
  else ${erasing('events.run_id')} end`.as('erased');

const outlinesStatement = statement(({ query, value }: StatementBuilder<{ after: number; limit: number }>) =>
  query
    .selectFrom('events')
    .select(['sequence', 'event_type', 'occurred_at', 'thread_id', 'run_id', 'agent_name'])
    .select(isErasedOutline)
    .where('sequence', '>', value('after'))
    .orderBy('sequence')
    .limit(value('limit')),
);

/**
 * The sequence of the newest event that no other can still come before; 0 before the first. Later statements see all
 * events up to it, but not those of a snapshot that was taken before.
 */
export async function latestSequence(reader: Reader): Promise<number> {
  return (await reader.first(latestSequenceStatement, {}))?.sequence ?? 0;
}

const latestSequenceStatement = statement(({ query, horizon }: StatementBuilder<object>) => {
  const events = query.selectFrom('events').select('sequence').orderBy('sequence', 'desc').limit(1);
  return horizon ? events.where('sequence', '<=', horizon) : events;
});

/**
 * The events that match a filter, oldest first; with `before`, newest first. Each combination of columns has an index that ends in `sequence`, so a
 * page reads only what it returns. All events of a thread have its run and agent; they only decide whether it matches.
 */
export async function listEvents(reader: Reader, filter: EventFilter, limit: number): Promise<EventRow[]> {
  const { after, before, thread_id, run_id, agent_name, event_type } = filter;
  // One end of the range only: with both, SQLite prefers an index of fewer columns.
  let query = reader.query
    .selectFrom('events')
    .selectAll()
    .select(isErasing)
    .where('sequence', before === undefined ? '>' : '<', before ?? after);
  if (event_type !== undefined) query = query.where('event_type', '=', event_type);
  if (thread_id === undefined) {
    if (run_id !== undefined) query = query.where('run_id', '=', run_id);
    if (agent_name !== undefined) query = query.where('agent_name', '=', agent_name);
  } else if (run_id === undefined && agent_name === undefined) {
    query = query.where('thread_id', '=', thread_id);
  } else {
    query = query.where('thread_id', '=', eb => {
      let thread = eb.selectFrom('threads').select('threads.thread_id').where('threads.thread_id', '=', thread_id);
      if (run_id !== undefined) thread = thread.where(sql`threads.run_id || ''`, '=', run_id);
      if (agent_name !== undefined) thread = thread.where(sql`threads.agent_name || ''`, '=', agent_name);
      return thread;
    });
  }
  return query
    .orderBy('sequence', before === undefined ? 'asc' : 'desc')
    .limit(limit)
    .execute();
}

/** The events of a thread that are posts: after a sequence, oldest first; or before one, newest first. */
export async function listPosts(
  reader: Reader,
  threadId: string,
  range: { after: number } | { before: number },
  limit: number,
): Promise<EventRow[]> {
  const [operator, end, direction] =
    'before' in range ? (['<', range.before, 'desc'] as const) : (['>', range.after, 'asc'] as const);
  const ofType = (type: 'forum.post.added' | 'forum.control.signal') =>
    reader.query
      .selectFrom('events')
      .selectAll()
      .where('thread_id', '=', threadId)
      .where('event_type', '=', type)
      .where('sequence', operator, end)
      .orderBy('sequence', direction)
      .limit(limit)
      .as('branch');
  // Each branch reads its index in order. One query for both types would read all events of the thread.
  return reader.query
    .selectFrom(ofType('forum.post.added'))
    .selectAll()
    .select(erasing('branch.run_id').as('erasing'))
    .unionAll(
      reader.query
        .selectFrom(ofType('forum.control.signal'))
        .selectAll()
        .select(erasing('branch.run_id').as('erasing')),
    )
    .orderBy('sequence', direction)
    .limit(limit)
    .execute();
}

/** The content of the next events of a run after a sequence and before another, oldest first, as it is stored. */
export async function listStored(
  tx: Tx,
  range: { run_id: string; after: number; before: number },
  limit: number,
): Promise<Pick<EventRow, 'sequence' | 'event_type' | 'payload'>[]> {
  return tx.all(storedStatement, { ...range, limit });
}

const storedStatement = statement(
  ({ query, value }: StatementBuilder<{ run_id: string; after: number; before: number; limit: number }>) =>
    query
      .selectFrom('events')
      .select(['sequence', 'event_type', 'payload'])
      .where('run_id', '=', value('run_id'))
      .where('sequence', '>', value('after'))
      .where('sequence', '<', value('before'))
      .orderBy('sequence')
      .limit(value('limit')),
);

/** Replaces the payloads (JSON) of these events. */
export async function updatePayloads(tx: Tx, rows: { sequence: number; payload: string }[]): Promise<void> {
  if (rows.length > 0) await tx.run(updatePayloadsStatement, { rows: JSON.stringify(rows) });
}

const updatePayloadsStatement = statement(({ query, records }: StatementBuilder<{ rows: string }>) =>
  query
    .updateTable('events')
    .from(records<{ sequence: number; payload: string }>('rows', { sequence: 'integer', payload: 'text' }).as('one'))
    .set({ payload: sql<string>`one.payload` })
    .whereRef('events.sequence', '=', 'one.sequence'),
);

/** The next thread of a run that was opened after a sequence, and the sequence of its first event. */
export async function nextOpened(
  tx: Tx,
  run_id: string,
  after: number,
): Promise<{ sequence: number; thread_id: string } | undefined> {
  const query = tx.query.selectFrom('events').select(['sequence', 'thread_id']).where('run_id', '=', run_id);
  const row = await query
    .where('event_type', '=', 'forum.thread.opened')
    .where('sequence', '>', after)
    .orderBy('sequence')
    .limit(1)
    .executeTakeFirst();
  return row?.thread_id ? { sequence: row.sequence, thread_id: row.thread_id } : undefined;
}

const types: ColumnTypes<'events'> = {
  ...({ sequence: 'integer', event_id: 'text', event_type: 'text', event_version: 'integer' } as const),
  ...({ occurred_at: 'integer', thread_id: 'text', run_id: 'text', ticket: 'text', agent_name: 'text' } as const),
  ...({ actor: 'text', correlation_id: 'text', causation_id: 'text', payload: 'text' } as const),
  ...({ token_id: 'text', traceparent: 'text' } as const),
};

/** @param own lets the rows have sequences of their own */
const insertAt = (own: RawBuilder<unknown>) =>
  statement(({ query, records }: StatementBuilder<{ rows: string }>) => {
    const names = sql.join(Object.keys(types).map(name => sql.id(name)));
    const text = sql`insert into events (${names}) ${own} select ${names} from ${records('rows', types)} as one`;
    return { compile: () => text.compile(query) };
  });

const insertEventsAtStatement: Record<Engine, Statement<{ rows: string }, unknown>> = {
  sqlite: insertAt(sql``),
  postgres: insertAt(sql`overriding system value`),
};

/** Inserts rows that have their sequences. */
export async function insertEventsAt(tx: Tx, engine: Engine, rows: Omit<EventRow, 'erasing'>[]): Promise<void> {
  tx.announceEvents();
  await tx.run(insertEventsAtStatement[engine], { rows: JSON.stringify(rows) });
}

/** Those of these sequences and ids that the log has. */
export async function listTaken(
  tx: Tx,
  sequences: number[],
  ids: string[],
): Promise<Pick<EventRow, 'sequence' | 'event_id'>[]> {
  return tx.all(takenStatement, { sequences: JSON.stringify(sequences), ids: JSON.stringify(ids) });
}

const takenStatement = statement(
  ({ query, integerElements, among, textElements }: StatementBuilder<{ sequences: string; ids: string }>) =>
    query
      .selectFrom('events')
      .select(['sequence', 'event_id'])
      .where(among('sequence', integerElements('sequences')))
      .union(
        query
          .selectFrom('events')
          .select(['sequence', 'event_id'])
          .where(among('event_id', textElements('ids'))),
      ),
);

/** Lets the next event have the sequence after this one. SQLite does so by itself. */
export async function continueAfter(tx: Tx, engine: Engine, sequence: number): Promise<void> {
  if (engine === 'sqlite') return;
  await sql`select setval(pg_get_serial_sequence('events', 'sequence'), ${sequence})`.execute(tx.query);
}

import { sql } from 'kysely';
import type { Reader, Tx } from '../db/database.ts';
import { erasing } from '../db/erasing.ts';
import type { Row } from '../db/schema.ts';
import { type StatementBuilder, statement } from '../db/statement.ts';

type ItemRow = Row<'inbox_items'>;

type Owner = Pick<ItemRow, 'run_id' | 'agent_name'>;
export type NewItem = Omit<ItemRow, 'claimed_by' | 'claimed_until'>;

export function insertItem(tx: Tx, row: NewItem): void {
  tx.send(insertItemStatement, row);
}

const insertItemStatement = statement(({ query, values }: StatementBuilder<NewItem>) =>
  query.insertInto('inbox_items').values(values(['sequence', 'run_id', 'agent_name', 'question_id', 'created_at'])),
);

/** Counts items, up to a number. */
export async function countItems(reader: Reader, most: number): Promise<number> {
  const row = await reader.query
    .selectFrom(eb => eb.selectFrom('inbox_items').select('sequence').limit(most).as('branch'))
    .select(eb => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return row.count;
}

/** Deletes the item of a question, if it has one. */
export function deleteItemOf(tx: Tx, question_id: string): void {
  tx.send(deleteItemOfStatement, { question_id });
}

const deleteItemOfStatement = statement(({ query, value }: StatementBuilder<{ question_id: string }>) =>
  query.deleteFrom('inbox_items').where('question_id', '=', value('question_id')),
);

/** Deletes these items. */
export function deleteItems(tx: Tx, sequences: number[]): void {
  tx.send(deleteItemsStatement, { sequences: JSON.stringify(sequences) });
}

const deleteItemsStatement = statement(({ query, integerElements, among }: StatementBuilder<{ sequences: string }>) =>
  query.deleteFrom('inbox_items').where(among('sequence', integerElements('sequences'))),
);

/** An item with the end of its lease; null if nobody holds it. */
export type HeldItem = Omit<ItemRow, 'claimed_by' | 'claimed_until'> & { held_until: number | null };

interface Range extends Owner {
  /** The sequence of the last item of the previous page. */
  after: number;
  limit: number;
}

/** Items of a run that is being erased are not shown. */
const isKept = sql<boolean>`${erasing('inbox_items.run_id')} = 0`;

/** The items of an agent, oldest first. */
export async function listItems(reader: Reader, range: Range): Promise<HeldItem[]> {
  return reader.all(listItemsStatement, range);
}

const listItemsStatement = statement(({ query, value, leaseNow }: StatementBuilder<Range>) =>
  query
    .selectFrom('inbox_items')
    .select(['sequence', 'run_id', 'agent_name', 'question_id', 'created_at'])
    .select(sql<number | null>`case when claimed_until > ${leaseNow} then claimed_until end`.as('held_until'))
    .where('run_id', '=', value('run_id'))
    .where('agent_name', '=', value('agent_name'))
    .where('sequence', '>', value('after'))
    .where(isKept)
    .orderBy('sequence')
    .limit(value('limit')),
);

/** As {@link listItems}, without those that somebody else than `claimant` holds. */
export async function listClaimable(reader: Reader, range: Range & { claimant: string }): Promise<HeldItem[]> {
  return reader.all(listClaimableStatement, range);
}

const listClaimableStatement = statement(({ query, value, leaseNow }: StatementBuilder<Range & { claimant: string }>) =>
  query
    .selectFrom('inbox_items')
    .select(['sequence', 'run_id', 'agent_name', 'question_id', 'created_at', 'claimed_until as held_until'])
    .where('run_id', '=', value('run_id'))
    .where('agent_name', '=', value('agent_name'))
    .where('sequence', '>', value('after'))
    .where(isKept)
    .where(eb => eb.or([eb('claimed_until', '<=', leaseNow), eb('claimed_by', '=', value('claimant'))]))
    .orderBy('sequence')
    .limit(value('limit')),
);

/** Those of these items that are the agent's, oldest first. */
export async function findItems(reader: Reader, owner: Owner, sequences: number[]): Promise<HeldItem[]> {
  const { run_id, agent_name } = owner;
  return reader.all(findItemsStatement, { run_id, agent_name, sequences: JSON.stringify(sequences) });
}

const findItemsStatement = statement(
  ({ query, value, integerElements, leaseNow, among }: StatementBuilder<Owner & { sequences: string }>) =>
    query
      .selectFrom('inbox_items')
      .select(['sequence', 'run_id', 'agent_name', 'question_id', 'created_at'])
      .select(sql<number | null>`case when claimed_until > ${leaseNow} then claimed_until end`.as('held_until'))
      .where(among('sequence', integerElements('sequences')))
      // The expressions equal the columns, but no index holds them: the sequences are the most selective.
      .where(sql<string>`run_id || ''`, '=', value('run_id'))
      .where(sql<string>`agent_name || ''`, '=', value('agent_name'))
      .where(isKept)
      .orderBy('sequence'),
);

/** Leases these items to a claimant. */
export function claimItems(tx: Tx, sequences: number[], claimant: string, leaseMs: number): void {
  tx.send(claimItemsStatement, { sequences: JSON.stringify(sequences), claimant, leaseMs });
}

interface Lease {
  sequences: string;
  claimant: string;
  leaseMs: number;
}

const claimItemsStatement = statement(({ query, value, integerElements, leaseNow, among }: StatementBuilder<Lease>) =>
  query
    .updateTable('inbox_items')
    .set({
      claimed_by: value('claimant'),
      claimed_until: sql<number>`${leaseNow} + ${value('leaseMs')}`,
    })
    .where(among('sequence', integerElements('sequences'))),
);

/** When the first item of an agent is free, and the time now, both on the clock of leases. Undefined without an item. */
export async function findFirstFree(reader: Reader, owner: Owner): Promise<{ at: number; now: number } | undefined> {
  return reader.first(findFirstFreeStatement, owner);
}

const findFirstFreeStatement = statement(({ query, value, leaseNow }: StatementBuilder<Owner>) =>
  query
    .selectFrom('inbox_items')
    .select(['claimed_until as at', sql<number>`${leaseNow}`.as('now')])
    .where('run_id', '=', value('run_id'))
    .where('agent_name', '=', value('agent_name'))
    .orderBy('claimed_until')
    .limit(1),
);

/** Deletes up to `limit` items of a run, and answers how many. */
export async function deleteSome(tx: Tx, run_id: string, limit: number): Promise<number> {
  const { numDeletedRows } = await tx.query
    .deleteFrom('inbox_items')
    .where('sequence', 'in', eb =>
      eb.selectFrom('inbox_items as one').select('one.sequence').where('one.run_id', '=', run_id).limit(limit),
    )
    .executeTakeFirst();
  return Number(numDeletedRows);
}

/** Puts these items into inboxes. */
export async function restoreItems(tx: Tx, rows: readonly NewItem[]): Promise<void> {
  await tx.run(insertItemsStatement, { rows: JSON.stringify(rows) });
}

const insertItemsStatement = statement(({ query, records }: StatementBuilder<{ rows: string }>) =>
  query
    .insertInto('inbox_items')
    .columns(['sequence', 'run_id', 'agent_name', 'question_id', 'created_at'])
    .expression(
      query
        .selectFrom(
          records<NewItem>('rows', {
            ...({ sequence: 'integer', run_id: 'text', agent_name: 'text', question_id: 'text' } as const),
            created_at: 'integer',
          }).as('one'),
        )
        .select(['sequence', 'run_id', 'agent_name', 'question_id', 'created_at']),
    ),
);

/** Deletes the items of these questions. */
export async function deleteReceivedItems(tx: Tx, question_ids: string[]): Promise<void> {
  await tx.run(deleteItemsOfStatement, { ids: JSON.stringify(question_ids) });
}

const deleteItemsOfStatement = statement(({ query, among, textElements }: StatementBuilder<{ ids: string }>) =>
  query.deleteFrom('inbox_items').where(among('question_id', textElements('ids'))),
);

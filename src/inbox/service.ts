import type { Actor } from '../actor.ts';
import { toTimestamp, toTimestampOrNull } from '../clock.ts';
import { type AgentName, type Control, isAgent } from '../control/service.ts';
import { type Page, type PageRequest, readPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import type { EventLog } from '../events/service.ts';
import type { QuestionService } from '../questions/service.ts';
import { type DatedNews, isPerson, type ThreadRow, toPost } from '../threads/thread.ts';
import {
  claimItems,
  countItems,
  deleteItemOf,
  deleteItems,
  deleteReceivedItems,
  deleteSome,
  findFirstFree,
  findItems,
  type HeldItem,
  insertItem,
  listClaimable,
  listItems,
  type NewItem,
  restoreItems,
} from './repository.ts';
import type { InboxClaim, InboxItem } from './schemas.ts';

export type { NewItem };
export type Inbox = ReturnType<typeof createInbox>;

interface Dependencies {
  db: Database;
  events: EventLog;
  control: Control;
  questions: QuestionService;
}

/** Items that are counted at most. */
const COUNTED = 10_000;
/** What a claim is without its fields. */
const DEFAULTS = { lease_seconds: 60, limit: 50 };

/**
 * The inbox of each agent: what has happened for it and it has not acknowledged. Items are written in the transaction of
 * their events, and deleted when they are acknowledged. A claim leases items, so that no two claimants show the same one.
 */
export function createInbox({ db, events, control, questions }: Dependencies) {
  /** The wire form of these items. */
  async function views(reader: Reader, rows: HeldItem[]): Promise<InboxItem[]> {
    const posts = rows.filter(row => row.question_id === null).map(row => row.sequence);
    const asked = await questions.byId(
      reader,
      rows.flatMap(row => row.question_id ?? []),
    );
    const posted = await events.at(reader, posts);
    return rows.map(row => {
      const item = {
        item_id: itemId(row.sequence),
        at: toTimestamp(row.created_at),
        claimed_until: toTimestampOrNull(row.held_until),
      };
      const question = row.question_id === null ? undefined : asked.get(row.question_id);
      if (question) return { ...item, kind: question.state as InboxItem['kind'], question };
      const post = posted.get(row.sequence);
      if (!post?.thread_id) throw new Error(`The event ${row.sequence} of an inbox item is missing.`);
      return { ...item, kind: 'message' as const, post: toPost({ ...post, thread_id: post.thread_id }) };
    });
  }

  return {
    /** Puts what an act means for the agent of a control thread into its inbox. */
    record(tx: Tx, thread: ThreadRow, news: readonly DatedNews[]): void {
      const agent = { run_id: thread.run_id as string, agent_name: thread.agent_name as string };
      for (const { sequence, occurred_at, ...one } of news) {
        const item = { ...agent, sequence, created_at: occurred_at };
        if ('received' in one) {
          deleteItemOf(tx, one.received);
        } else if ('ended' in one) {
          insertItem(tx, { ...item, question_id: one.ended });
        } else if (isPerson(one.posted)) {
          insertItem(tx, { ...item, question_id: null });
          control.addUnread(tx, agent, 1);
        } else if (isAgent(one.posted, agent)) {
          control.seen(tx, agent, occurred_at);
        }
      }
    },

    /** Puts items of an import into inboxes, then takes out those of questions whose ends were received. */
    async restore(tx: Tx, items: readonly NewItem[], received: string[]): Promise<void> {
      if (items.length > 0) await restoreItems(tx, items);
      if (received.length > 0) await deleteReceivedItems(tx, received);
    },

    /** A page of an agent's items, oldest first. @throws Refusal INVALID_CURSOR */
    async list(
      { run_id, agent_name }: AgentName,
      { limit = 50, cursor }: Partial<PageRequest>,
    ): Promise<Page<InboxItem>> {
      return readPage({
        list: `inbox ${JSON.stringify([run_id, agent_name])}`,
        cursor,
        shape: [0],
        limit,
        read: (from, count) => listItems(db.read, { run_id, agent_name, after: from?.[0] ?? 0, limit: count }),
        keyOf: row => [row.sequence],
        views: rows => views(db.read, rows),
      });
    },

    /**
     * Leases the oldest items that nobody else holds to a claimant. What it holds already, it holds for longer.
     * @returns the items, and their sequences
     */
    async claim(tx: Tx, agent: AgentName, wanted: InboxClaim): Promise<{ items: InboxItem[]; sequences: number[] }> {
      const { claimant, lease_seconds, limit } = { ...DEFAULTS, ...wanted };
      const { run_id, agent_name } = agent;
      const free = await readPage({
        list: 'claim',
        cursor: undefined,
        shape: [0],
        limit,
        read: (from, count) => listClaimable(tx, { run_id, agent_name, claimant, after: from?.[0] ?? 0, limit: count }),
        keyOf: row => [row.sequence],
        views: rows => views(tx, rows),
      });
      const sequences = free.items.flatMap(({ item_id }) => sequenceOf(item_id) ?? []);
      if (sequences.length === 0) return { items: [], sequences };
      claimItems(tx, sequences, claimant, lease_seconds * 1000);
      const held = new Map((await findItems(tx, agent, sequences)).map(row => [itemId(row.sequence), row.held_until]));
      const items = free.items.map(item => ({
        ...item,
        claimed_until: toTimestampOrNull(held.get(item.item_id) ?? null),
      }));
      return { items, sequences };
    },

    /** How many items no agent has acknowledged, up to 10,000. */
    undelivered: (): Promise<number> => countItems(db.read, COUNTED),

    /** Those of an agent's items with these sequences that are left. */
    async at(reader: Reader, agent: AgentName, sequences: number[]): Promise<InboxItem[]> {
      return views(reader, await findItems(reader, agent, sequences));
    },

    /**
     * Ends these items; questions are acknowledged with them. Unknown ids change nothing.
     * @param actor who acknowledges; the agent, if undefined
     * @returns how many items there were
     */
    async acknowledge(tx: Tx, agent: AgentName, itemIds: string[], actor: Actor | undefined): Promise<number> {
      const wanted = itemIds.flatMap(id => sequenceOf(id) ?? []);
      const rows = await findItems(tx, agent, wanted);
      const messages = rows.filter(row => row.question_id === null).map(row => row.sequence);
      if (messages.length > 0) {
        deleteItems(tx, messages);
        control.addUnread(tx, agent, -messages.length);
      }
      const ended = rows.flatMap(row => row.question_id ?? []);
      if (ended.length > 0) await questions.acknowledgeAll(tx, agent, ended, actor);
      return rows.length;
    },

    /** Deletes up to `limit` items of a run that is erased, and answers how many. */
    eraseSome: (tx: Tx, run_id: string, limit: number): Promise<number> => deleteSome(tx, run_id, limit),

    /** When the first item of an agent is free; null without an item. Times are of the clock of leases. */
    async firstFree(agent: AgentName): Promise<FirstFree> {
      return (await findFirstFree(db.read, agent)) ?? { at: null, now: 0 };
    },
  };
}

/** When the first item of an inbox is free (null without an item), and the time now. */
export interface FirstFree {
  at: number | null;
  now: number;
}

const PREFIX = 'item_';

/** The id of an item. @param sequence of its event */
function itemId(sequence: number): string {
  return `${PREFIX}${sequence}`;
}

/** The sequence in the id of an item; undefined if no item can have the id. */
function sequenceOf(itemId: string): number | undefined {
  const [, digits] = new RegExp(`^${PREFIX}([1-9][0-9]{0,15})$`).exec(itemId) ?? [];
  const sequence = Number(digits);
  return Number.isSafeInteger(sequence) ? sequence : undefined;
}

import { setTimeout as delay } from 'node:timers/promises';
import type { Acknowledged, ClaimedItem, Mark, Sighting } from './clients.ts';
import type { Note } from './notes.ts';
import type { Row, Store } from './store.ts';
import { follows } from './subscriptions.ts';

/** A row of the log. */
export interface StoredEvent {
  sequence: number;
  event_id: string;
  event_type: string;
  occurred_at: number;
  thread_id: string | null;
  run_id: string | null;
  agent_name: string | null;
  ticket: string | null;
  /** `type:name`. */
  actor: string;
  correlation_id: string;
  payload: Record<string, unknown>;
}

export interface StoredDelivery {
  position: number;
  /** Name of the subscription; null for a message that none matches. */
  consumer: string | null;
  event_sequence: number | null;
  message_number: number | null;
  topic: string;
  message_key: string | null;
  queued: number;
  status: string;
  attempts: number;
  generation: number;
  claimable_at: number | null;
  parked: number;
  lease_token: string | null;
  history: { attempt: number; generation: number; outcome: string }[];
}

interface StoredMessage {
  number: number;
  message_id: string;
  topic: string;
  message_key: string | null;
}

interface Effect {
  signal_id: string;
  thread_id: string;
  sequence: number;
}

/** Tables whose rows are computed again from the log. */
const PROJECTIONS = [
  'threads',
  'control_threads',
  'runs',
  'questions',
  'inbox_items',
  'counts',
  'seen',
  'topics',
] as const;
type Projections = Record<(typeof PROJECTIONS)[number], Row[]>;

/** What the database says. */
export interface Stored {
  /** By sequence. */
  events: StoredEvent[];
  messages: StoredMessage[];
  /** By position. */
  deliveries: StoredDelivery[];
  subscriptions: { name: string; topics: string[]; position: number }[];
  /** Processes that are said to serve something. */
  servers: number;
  /** In the order in which they were inserted. */
  effects: Effect[];
  tables: Projections;
}

/** The newest event and the newest published message. */
export interface Heads {
  sequence: number;
  number: number;
}

/** What the HTTP API said when nothing happened any more, and what it should have said. */
export interface Asked {
  what: string;
  got: unknown;
  wanted: unknown;
}

/** Everything that can be known about a run when it is over. */
export interface Observed extends Stored {
  acknowledged: Acknowledged[];
  /** Correlation ids of all signals that were sent, once each. */
  sent: ReadonlySet<string>;
  /** The answers that showed a thread. */
  sightings: Sighting[];
  marks: Mark[];
  /** Ids of inbox items that a client acknowledged, also without an answer. */
  received: ReadonlySet<string>;
  /** Items as claims were answered. */
  claimed: ClaimedItem[];
  /** Bodies of acknowledged posts, and their threads. */
  posted: ReadonlyMap<string, string>;
  /** Ids of acknowledged messages. */
  published: string[];
  /** Answers that no valid request should get. */
  wrong: string[];
  /** Processes that ended though nobody had asked them to. */
  unexpected: string[];
  /** In the order in which they were written. */
  notes: Note[];
  /** How often a process found a lane without a head. */
  mended: number;
  /** How long a claim held. Milliseconds. */
  leaseMs: number;
  /** Undefined if the late subscription did not come. */
  joined: { before: Heads; after: Heads } | undefined;
  asked: Asked[];
}

/** Reads the database past the service. */
export async function readStore(store: Store): Promise<Stored> {
  const names = new Map<number, string>();
  const subscriptions = (await store.query('select * from subscriptions order by subscription_id')).map(row => {
    names.set(Number(row.subscription_id), String(row.name));
    return { name: String(row.name), topics: JSON.parse(String(row.topics)), position: Number(row.position) };
  });
  const deliveries = await store.query('select * from deliveries order by position');
  const [servers] = await store.query('select count(*) as count from subscription_servers');
  const tables: Partial<Projections> = {};
  for (const table of PROJECTIONS) tables[table] = await store.query(`select * from ${table}`);
  return {
    events: await readEvents(store),
    messages: (await store.query('select number, message_id, topic, message_key from messages order by number')).map(
      row => ({ ...(row as unknown as StoredMessage), number: Number(row.number) }),
    ),
    deliveries: deliveries.map(row => ({
      ...(row as unknown as StoredDelivery),
      position: Number(row.position),
      consumer: row.subscription_id === null ? null : (names.get(Number(row.subscription_id)) ?? '?'),
      event_sequence: numberOrNull(row.event_sequence),
      message_number: numberOrNull(row.message_number),
      claimable_at: numberOrNull(row.claimable_at),
      queued: Number(row.queued),
      parked: Number(row.parked),
      attempts: Number(row.attempts),
      generation: Number(row.generation),
      history: JSON.parse(String(row.history)),
    })),
    subscriptions,
    servers: Number(servers?.count),
    effects: (await store.query('select signal_id, thread_id, sequence from verify_effects order by position')).map(
      row => ({ ...(row as unknown as Effect), sequence: Number(row.sequence) }),
    ),
    tables: tables as Projections,
  };
}

async function readEvents(store: Store): Promise<StoredEvent[]> {
  return (await store.query('select * from events order by sequence')).map(row => ({
    ...(row as unknown as StoredEvent),
    // PostgreSQL gives its eight-byte numbers as text.
    sequence: Number(row.sequence),
    occurred_at: Number(row.occurred_at),
    payload: JSON.parse(String(row.payload)),
  }));
}

function numberOrNull(value: unknown): number | null {
  return value === null ? null : Number(value);
}

export async function readHeads(store: Store): Promise<Heads> {
  const [row] = await store.query(`select (select coalesce(max(sequence), 0) from events) as sequence,
    (select coalesce(max(number), 0) from messages) as number`);
  return { sequence: Number(row?.sequence), number: Number(row?.number) };
}

/** Resolves when a subscription is stored. */
export async function waitForSubscription(store: Store, name: string, cancelled: AbortSignal): Promise<void> {
  while (!(await store.query('select name from subscriptions')).some(row => row.name === name)) {
    await delay(50, undefined, { signal: cancelled });
  }
}

/** What is still to come: deliveries that are not at their end, events without deliveries, and questions that expire. */
export async function countOpen(store: Store): Promise<number> {
  const [row] = await store.query(
    `select (select count(*) from deliveries where subscription_id is not null and status in ('pending', 'processing', 'failed'))
      + (select count(*) from questions where state = 'open' and expires_at is not null) as open`,
  );
  const types = await store.query('select event_type, max(sequence) as last from events group by event_type');
  const subscriptions = await store.query('select topics, position from subscriptions');
  const behind = subscriptions.filter(({ topics, position }) =>
    types.some(({ event_type, last }) => {
      const followed = { topics: JSON.parse(String(topics)) };
      return Number(last) > Number(position) && follows(followed, topicOf(String(event_type)));
    }),
  );
  return Number(row?.open) + behind.length;
}

/** The topic of the deliveries of an event. */
export function topicOf(event_type: string): string {
  return event_type.replace('forum.', 'forum.events.');
}

/** The id of the message that carries an event. */
export function messageIdOf({ event_id }: Pick<StoredEvent, 'event_id'>): string {
  return event_id.replace('evt_', 'msg_');
}

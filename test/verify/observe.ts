import type { Acknowledged } from './clients.ts';
import type { Note } from './notes.ts';
import type { Store } from './store.ts';

/** A row of the log that is a control signal. */
interface StoredSignal {
  signal_id: string;
  sequence: number;
  thread_id: string;
  run_id: string;
  agent_name: string;
  correlation_id: string;
}

interface StoredMessage {
  message_id: string;
  topic: string;
  status: string;
  event_sequence: number | null;
  /** The handler it is for, of a topic with several; null for the message that was published. */
  consumer: string | null;
}

interface Effect {
  signal_id: string;
  thread_id: string;
  sequence: number;
}

/** Everything that can be known about a run when it is over. */
export interface Observed {
  acknowledged: Acknowledged[];
  /** Correlation ids of all signals that were sent, once each. */
  sent: ReadonlySet<string>;
  /** Answers that no valid signal should get. */
  wrong: string[];
  /** Processes that ended though nobody had asked them to. */
  unexpected: string[];
  /** By sequence. */
  signals: StoredSignal[];
  /** Sequences of all events, also of those that are no signals. */
  sequences: number[];
  messages: StoredMessage[];
  /** In the order in which they were inserted. */
  effects: Effect[];
  /** In the order in which they were written. */
  notes: Note[];
}

/** What the database says, read past the service. */
export async function readStore(
  store: Store,
): Promise<Pick<Observed, 'signals' | 'sequences' | 'messages' | 'effects'>> {
  const events = await store.query(
    'select sequence, event_type, thread_id, run_id, agent_name, correlation_id, payload from events order by sequence',
  );
  const signals = events.filter(event => event.event_type === 'forum.control.signal');
  return {
    sequences: events.map(event => Number(event.sequence)),
    signals: signals.map(row => ({
      signal_id: JSON.parse(String(row.payload)).signal_id,
      sequence: Number(row.sequence),
      thread_id: String(row.thread_id),
      run_id: String(row.run_id),
      agent_name: String(row.agent_name),
      correlation_id: String(row.correlation_id),
    })),
    messages: (await store.query('select message_id, topic, status, event_sequence, consumer from outbox')).map(
      row => ({
        message_id: String(row.message_id),
        topic: String(row.topic),
        status: String(row.status),
        // PostgreSQL gives its eight-byte numbers as text.
        event_sequence: row.event_sequence === null ? null : Number(row.event_sequence),
        consumer: row.consumer === null ? null : String(row.consumer),
      }),
    ),
    effects: (await store.query('select signal_id, thread_id, sequence from verify_effects order by position')).map(
      row => ({
        signal_id: String(row.signal_id),
        thread_id: String(row.thread_id),
        sequence: Number(row.sequence),
      }),
    ),
  };
}

/** Messages that are not terminal yet. */
export async function countOpen(store: Store): Promise<number> {
  const [row] = await store.query(
    `select count(*) as open from outbox where status <> 'sent' and status not in ('dead', 'discarded')`,
  );
  return Number(row?.open);
}

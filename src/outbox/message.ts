import { toTimestamp, toTimestampOrNull } from '../clock.ts';
import type { Reader } from '../db/database.ts';
import type { EventLog } from '../events/service.ts';
import type { MessageRow } from './leased-delivery.ts';
import type { Message } from './schemas.ts';

/** Maps rows to messages. One query reads all events that are payloads. */
export async function toMessages(events: Pick<EventLog, 'at'>, reader: Reader, rows: MessageRow[]): Promise<Message[]> {
  const sequences = rows.map(row => row.event_sequence).filter(sequence => sequence !== null);
  const found = await events.at(reader, sequences);
  return rows.map(row => ({
    message_id: row.message_id,
    topic: row.topic,
    message_key: row.message_key,
    payload: row.event_sequence === null ? JSON.parse(row.payload ?? 'null') : found.get(row.event_sequence),
    status: row.status,
    attempts: row.attempts,
    max_attempts: row.max_attempts,
    available_at: toTimestamp(row.available_at),
    last_error: row.last_error,
    generation: row.generation,
    consumer: row.consumer,
    result: row.result === null ? null : JSON.parse(row.result),
    created_at: toTimestamp(row.created_at),
    updated_at: toTimestamp(row.updated_at),
    sent_at: toTimestampOrNull(row.sent_at),
  }));
}

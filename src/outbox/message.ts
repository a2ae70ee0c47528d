import { toTimestamp, toTimestampOrNull } from '../clock.ts';
import type { Reader } from '../db/database.ts';
import { messageIdOf } from '../events/envelope.ts';
import { isErased } from '../events/erased.ts';
import type { EventLog } from '../events/service.ts';
import type { DeliveryRow } from './leased-delivery.ts';
import { listMessagesByNumber, type MessageRow } from './repository.ts';
import type { Message } from './schemas.ts';

/** What a delivery carries, and the trace and the token of the request that published it. */
interface Content {
  message_id: string;
  payload: unknown;
  /** Its run was erased, and so is what was said of its attempts. */
  erased: boolean;
  traceparent: string | null;
  tokenId: string | null;
}

/** Where the content of a delivery is. */
type Source = Partial<Pick<DeliveryRow, 'event_sequence' | 'message_number'>>;
/** Answers the content of a delivery. */
export type ContentOf = (row: DeliveryRow) => Content;

/** Answers the content of each delivery. One query reads all events, and one all published messages. */
export async function readContents(
  events: Pick<EventLog, 'carried'>,
  reader: Reader,
  rows: readonly Source[],
): Promise<ContentOf> {
  const [carried, published] = await Promise.all([
    events.carried(reader, distinct(rows.map(row => row.event_sequence))),
    listMessagesByNumber(reader, distinct(rows.map(row => row.message_number))),
  ]);
  const byNumber = new Map(published.map(message => [message.number, message]));
  const texts = new Set<unknown>();
  /** Each of several deliveries gets an event for itself: a handler may change what it is given. */
  const own = <T>(value: T): T => {
    if (texts.has(value)) return structuredClone(value);
    texts.add(value);
    return value;
  };
  return row => {
    if (row.event_sequence === null) {
      const message = byNumber.get(row.message_number as number) as NonNullable<ReturnType<typeof byNumber.get>>;
      const { message_id, traceparent, token_id } = message;
      return { message_id, ...payloadOf(message), traceparent, tokenId: token_id };
    }
    const { event, traceparent } = carried.get(row.event_sequence) as NonNullable<ReturnType<typeof carried.get>>;
    const carries = { message_id: messageIdOf(event.event_id), payload: own(event), erased: isErased(event) };
    return { ...carries, traceparent, tokenId: event.token_id };
  };
}

/** What is left of the payload of a published message about an erased run. */
export const ERASED_PAYLOAD = { erased: true } as const;

/** The payload of a published message, unless its run is being erased. */
export function payloadOf({ payload, erasing }: MessageRow): Pick<Content, 'payload' | 'erased'> {
  return erasing ? { payload: ERASED_PAYLOAD, erased: true } : { payload: JSON.parse(payload), erased: false };
}

function distinct(numbers: (number | null | undefined)[]): number[] {
  return [...new Set(numbers.filter(number => typeof number === 'number'))];
}

/** The wire form of a delivery. */
export function toMessage(
  row: DeliveryRow,
  { message_id, payload, erased }: Pick<Content, 'message_id' | 'payload' | 'erased'>,
  consumer: string | null,
  maxAttempts: number,
): Message {
  return {
    message_id,
    topic: row.topic,
    message_key: row.message_key,
    payload,
    ...stateOf(erased ? withoutTexts(row) : row, consumer, maxAttempts),
  };
}

/** A delivery without what was said of its attempts, which may repeat texts. */
export function withoutTexts(row: DeliveryRow): DeliveryRow {
  return { ...row, last_error: null, result: null, history: '[]' };
}

/** The state of a delivery. */
export function stateOf(row: DeliveryRow, consumer: string | null, maxAttempts: number) {
  return {
    status: row.status,
    attempts: row.attempts,
    max_attempts: maxAttempts,
    available_at: toTimestamp(row.available_at),
    last_error: row.last_error,
    generation: row.generation,
    consumer,
    result: row.result === null ? null : JSON.parse(row.result),
    created_at: toTimestamp(row.created_at),
    updated_at: toTimestamp(row.updated_at),
    sent_at: toTimestampOrNull(row.status === 'sent' ? row.updated_at : null),
  };
}

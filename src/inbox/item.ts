import type { Event } from '../events/schemas.ts';
import { isPerson } from '../threads/thread.ts';

/** What an event of a control thread means for the inbox of its agent. */
export type News =
  /** A question of the agent ended. An own replacement (`superseded`) is no news. */
  | { ended: string }
  /** The agent has received the end of a question. */
  | { received: string }
  /** A person has posted. */
  | { message: true };

/** The news in an event; undefined if there are none. */
export function newsOf({
  event_type,
  actor,
  payload,
}: Pick<Event, 'event_type' | 'actor' | 'payload'>): News | undefined {
  switch (event_type) {
    case 'forum.question.answered':
    case 'forum.question.expired':
    case 'forum.question.cancelled':
      return { ended: String(payload.question_id) };
    case 'forum.question.acknowledged':
      return { received: String(payload.question_id) };
    case 'forum.post.added':
      return isPerson(actor) ? { message: true } : undefined;
    default:
      return undefined;
  }
}

const PREFIX = 'item_';

/** The id of an item. @param sequence of its event */
export function itemId(sequence: number): string {
  return `${PREFIX}${sequence}`;
}

/** The sequence in the id of an item; undefined if no item can have the id. */
export function sequenceOf(itemId: string): number | undefined {
  const [, digits] = new RegExp(`^${PREFIX}([1-9][0-9]{0,15})$`).exec(itemId) ?? [];
  const sequence = Number(digits);
  return Number.isSafeInteger(sequence) ? sequence : undefined;
}

import type { Clock } from '../clock.ts';
import { toTimestamp } from '../clock.ts';
import type { Database, Tx } from '../db/database.ts';
import type { Event } from '../events/schemas.ts';
import type { AnswerLink, AnswerLinkService } from '../links/service.ts';
import type { QuestionService } from '../questions/service.ts';
import type { Channel, ChannelMessage, Reading, Wire } from './channels/channel.ts';
import { noticeOf, type Told, WAITING_TYPES } from './channels/notice.ts';
import { channels } from './channels/table.ts';
import { CLOUD_EVENT_TYPE, cloudEvent, pingEvent } from './cloud-event.ts';
import type { SendMail } from './mail.ts';
import type { PostAnswer } from './post.ts';
import type { Vapid } from './push.ts';
import {
  deleteMessages,
  deleteMessagesAbout,
  insertSentMessage,
  listMessages,
  oldestMessage,
  type WebhookRow,
} from './repository.ts';
import { type StoredSecret, signedHeaders } from './signature.ts';
import { targetOf, toWebhook } from './webhook.ts';

interface Dependencies {
  db: Pick<Database, 'read' | 'write'>;
  clock: Clock;
  questions: Pick<QuestionService, 'get'>;
  links: Pick<AnswerLinkService, 'linkTo'>;
  vapid: Vapid;
  wire: Wire;
  sendMail: SendMail;
}

/** An event for a webhook. */
export interface Delivered {
  message_id: string;
  event: Event;
  traceparent: string | null;
}

type Answered = PostAnswer & Omit<Reading, 'error' | 'retryAfterMs'>;

/** How long a message can be changed. Afterwards another one says how its question has ended. Milliseconds. */
const CHANGED_FOR_MS = 30 * 24 * 3_600_000;
/** Messages that one write forgets. */
const FORGOTTEN_AT_ONCE = 500;

export type Telling = ReturnType<typeof createTelling>;

/** Tells webhooks of events: programs by signed requests, people by the messages of their channel. */
export function createTelling({ db, clock, questions, links, vapid, wire, sendMail }: Dependencies) {
  function signed(row: WebhookRow, id: string, body: string, secrets: readonly StoredSecret[], more: object = {}) {
    const headers = { 'content-type': CLOUD_EVENT_TYPE, ...signedHeaders(id, body, secrets, clock.now()), ...more };
    return { url: row.url, headers, body };
  }

  /** The question for which an event asks an answer, and its link if the webhook has links. */
  async function waiting({ event_type, payload }: Event, row: WebhookRow) {
    const isWanted = row.answer_links === 1 || isForPeople(row);
    if (!isWanted || !WAITING_TYPES.includes(event_type)) return {};
    const question = await questions.get(payload.question_id as string);
    const recipient = { name: toWebhook(row).name, number: row.subscription_id };
    const hasLink = row.answer_links === 1 && question.state === 'open';
    return { question, link: hasLink ? await links.linkTo(question, recipient) : undefined };
  }

  async function send(
    channel: Channel,
    message: ChannelMessage,
    signal: AbortSignal,
    reference?: string,
  ): Promise<Answered> {
    if ('mail' in channel) return sendMail(message.to.url, channel.mail(message), signal);
    const answer = await wire.post(channel.request(message, reference), signal);
    if (answer.status === null) return answer;
    const reading = channel.read?.(answer, message.to) ?? {};
    return { ...answer, ...(reading.isDone && { status: 200 }), ...reading };
  }

  /** Replaces the messages about a question by how it has ended. @returns undefined if there are none to replace */
  async function replace(channel: Channel, message: ChannelMessage, row: WebhookRow, signal: AbortSignal) {
    const { question_id, isOpen } = message.notice;
    if ('mail' in channel || !channel.read || question_id === undefined || isOpen) return undefined;
    let replaced: Answered | undefined;
    for (const { reference } of await listMessages(db.read, row.subscription_id, question_id)) {
      const answer = await send(channel, message, signal, reference);
      if (isSuccess(answer)) replaced ??= answer;
      else if (!answer.isGone) return answer;
    }
    return replaced;
  }

  async function tell(
    row: WebhookRow & { format: keyof typeof channels },
    told: Told,
    link: AnswerLink | undefined,
    signal: AbortSignal,
  ): Promise<PostAnswer> {
    const channel = channels[row.format];
    const message = { notice: noticeOf(told, channel.length), link, to: targetOf(row), vapid };
    const replaced = await replace(channel, message, row, signal);
    if (replaced) return replaced;
    const answer = await send(channel, message, signal);
    const { question_id, isOpen } = message.notice;
    if (answer.reference !== undefined && question_id !== undefined && isOpen && isSuccess(answer)) {
      const { subscription_id } = row;
      const noted = { subscription_id, question_id, reference: answer.reference, told_at: clock.now() };
      await db.write(tx => insertSentMessage(tx, noted));
    }
    return answer;
  }

  return {
    /**
     * Sends an event to a webhook. An event that ends a question replaces what was told of it, where the channel can.
     * It throws only if `signal` is aborted, or the database fails.
     */
    async event(
      row: WebhookRow,
      { message_id, event, traceparent }: Delivered,
      secrets: readonly StoredSecret[],
      signal: AbortSignal,
    ): Promise<PostAnswer> {
      const { question, link } = await waiting(event, row);
      if (!isForPeople(row)) {
        const trace = traceparent === null ? {} : { traceparent };
        return wire.post(signed(row, message_id, cloudEvent(event, link?.url), secrets, trace), signal);
      }
      // An event may have only the beginning of what was asked.
      const payload = question === undefined ? event.payload : { ...event.payload, ...asked(question) };
      return tell(row, { ...event, payload }, link, signal);
    },

    /** Tries a webhook. @param uid of the ping, which is no event of the log */
    ping(row: WebhookRow, uid: string, secrets: readonly StoredSecret[], signal: AbortSignal): Promise<PostAnswer> {
      const { name } = toWebhook(row);
      const [event_id, at] = [`evt_${uid}`, toTimestamp(clock.now())];
      if (!isForPeople(row)) {
        return wire.post(signed(row, `msg_${uid}`, pingEvent(name, event_id, at), secrets), signal);
      }
      const from = { agent_name: null, run_id: null, actor: { type: 'system' as const, name: 'forumbus' } };
      return tell(row, { event_id, event_type: 'forum.webhook.ping', ...from, payload: { name } }, undefined, signal);
    },

    /** Forgets the messages about questions of an erased run. What a channel shows, it goes on showing. */
    forgetQuestions: (tx: Tx, questionIds: string[]): Promise<void> => deleteMessagesAbout(tx, questionIds),

    /** Forgets the messages that are too old to be changed. */
    async forget(): Promise<void> {
      const before = clock.now() - CHANGED_FOR_MS;
      while (((await oldestMessage(db.read)) ?? before) < before) {
        await db.write(tx => deleteMessages(tx, before, FORGOTTEN_AT_ONCE));
      }
    },
  };
}

/** Whether an attempt has succeeded. */
export function isSuccess({ status, error }: Pick<PostAnswer, 'status' | 'error'>): boolean {
  return status !== null && status >= 200 && status < 300 && error === null;
}

function isForPeople(row: WebhookRow): row is WebhookRow & { format: keyof typeof channels } {
  return row.format !== 'standard';
}

function asked({
  question,
  context,
  options,
  multi_select,
  priority,
  expires_at,
  approvals_required,
  approvals,
}: Awaited<ReturnType<QuestionService['get']>>) {
  return { question, context, options, multi_select, priority, expires_at, approvals_required, approvals };
}

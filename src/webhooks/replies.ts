import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../db/database.ts';
import { textOf } from '../error-text.ts';
import { Refusal } from '../errors.ts';
import type { AnswerLinks } from '../links/service.ts';
import type { Logger } from '../logging.ts';
import type { Follow } from './post.ts';
import { findWebhook, setReplySince, type WebhookRow } from './repository.ts';
import type { Settings } from './schemas.ts';

interface Dependencies {
  db: Pick<Database, 'read' | 'write'>;
  links: Pick<AnswerLinks, 'answer'>;
  follow: Follow;
  log: Logger;
}

/** A line of a subscription to a topic of ntfy. */
interface Line {
  id: string;
  event: string;
  message?: string;
}

/** The pause before a topic is followed again. Milliseconds. */
const PAUSE_MS = 5000;

/**
 * Follows the reply topics of ntfy: a press on a button publishes there what an answer link allows, and the option. What
 * was pressed while the service was away is read at the start. Several processes may follow one topic: the first answer wins.
 */
export function createReplies({ db, links, follow, log }: Dependencies) {
  const followed = new Map<string, AbortController>();

  /** Answers as one press says, and notes that it was read. A press that comes too late changes nothing else. */
  async function take({ subscription_id }: WebhookRow, { id, event, message = '' }: Line): Promise<void> {
    if (event !== 'message') return;
    const [, token = '', option = ''] = /^(\S+) (.+)$/s.exec(message) ?? [];
    try {
      await db.write(async tx => {
        await links.answer(tx, token, { selected: [option], answer: '' });
        await setReplySince(tx, subscription_id, id);
      });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      log.info({ code: error.code }, 'a press on a button answered nothing');
      await db.write(tx => setReplySince(tx, subscription_id, id));
    }
  }

  async function run(row: WebhookRow, signal: AbortSignal): Promise<void> {
    const { reply_topic = '', token } = JSON.parse(row.settings) as Settings;
    while (!signal.aborted) {
      try {
        const since = (await findWebhook(db.read, row.subscription))?.reply_since ?? 'all';
        const url = new URL(`${reply_topic}/json?since=${encodeURIComponent(since)}`, row.url);
        const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
        for await (const line of follow(url, headers, signal)) await take(row, JSON.parse(line));
      } catch (error) {
        if (!signal.aborted) log.warn({ webhook: row.subscription, error: textOf(error) }, 'a reply topic is lost');
      }
      await sleep(PAUSE_MS, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  return {
    /** Follows the reply topics of these webhooks, and no others. */
    follow(rows: readonly WebhookRow[]): void {
      const wanted = new Map(
        rows
          .filter(({ enabled, settings }) => enabled === 1 && 'reply_topic' in JSON.parse(settings))
          .map(row => [`${row.subscription_id} ${row.url} ${row.settings}`, row]),
      );
      for (const [key, controller] of followed) {
        if (wanted.has(key)) continue;
        controller.abort();
        followed.delete(key);
      }
      for (const [key, row] of wanted) {
        if (followed.has(key)) continue;
        const controller = new AbortController();
        followed.set(key, controller);
        void run(row, controller.signal);
      }
    },

    stop(): void {
      this.follow([]);
    },
  };
}

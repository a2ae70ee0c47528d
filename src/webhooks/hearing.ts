import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../clock.ts';
import type { Database, Tx } from '../db/database.ts';
import { textOf } from '../error-text.ts';
import { Refusal } from '../errors.ts';
import type { AnswerLinkService, Button } from '../links/service.ts';
import type { Logger } from '../logging.ts';
import type { Question } from '../questions/schemas.ts';
import { isName, normalName } from '../text.ts';
import type { Hearing as ChannelHearing, Heard, Press, Target, Wire } from './channels/channel.ts';
import { cutText } from './channels/notice.ts';
import { channels } from './channels/table.ts';
import {
  findSource,
  insertSentMessage,
  leaveSource,
  listWebhooks,
  moveSource,
  takeSource,
  type WebhookRow,
} from './repository.ts';
import { targetOf, toWebhook } from './webhook.ts';

interface Dependencies {
  db: Pick<Database, 'read' | 'write' | 'presence'>;
  clock: Clock;
  links: Pick<AnswerLinkService, 'button' | 'press'>;
  wire: Wire;
  /** Names this process. */
  process: string;
  log: Logger;
}

/** What is followed: a bot, an app or a topic. Several webhooks may use one. */
interface Source {
  key: string;
  hearing: ChannelHearing;
  to: Target;
  rows: readonly WebhookRow[];
}

interface Follower {
  source: Source;
  stop: AbortController;
  ended: Promise<void>;
}

/** The pause before a source is followed again, after the first failure and at most. Milliseconds. */
const PAUSE_MS = 2000;
const LONGEST_PAUSE_MS = 60_000;
/** How often another process is asked whether it still follows a source. Milliseconds. */
const STANDBY_MS = 5000;
/** People who are told at once what came of their presses. */
const TOLD_AT_ONCE = 50;

/**
 * Follows channels for presses on buttons. One process follows each source; another one takes it over when that is
 * gone. The position in a source commits with the answer. So no restart loses a press, and each is taken once.
 */
export function createHearing({ db, clock, links, wire, process, log }: Dependencies) {
  const followers = new Map<string, Follower>();
  let stopped = false;
  const telling = new Set<Promise<void>>();

  /** Tells the channel what came of a press. The next press does not wait for it. */
  async function settle(press: Press, text: string, isAnswer: boolean): Promise<void> {
    if (telling.size >= TOLD_AT_ONCE) await Promise.race(telling);
    // A person who is not told sees it in the message.
    const told: Promise<void> = press
      .settle({ text, isAnswer })
      .catch(() => {})
      .finally(() => telling.delete(told));
    telling.add(told);
  }

  /** The button of a press, and the webhook that it was sent by. @throws Refusal NOT_FOUND */
  async function origin(press: Press, { key, hearing, rows }: Source): Promise<{ button: Button; row: WebhookRow }> {
    const button = await links.button(press.handle);
    const isIt = ({ subscription_id }: WebhookRow) => subscription_id === button.number;
    // One that another process has made may not be known here yet.
    const row = rows.find(isIt) ?? (await listWebhooks(db.read)).find(one => isIt(one) && sourcesOf([one]).has(key));
    if (!row || (hearing.isAt && !hearing.isAt(targetOf(row), press.place))) {
      throw new Refusal('NOT_FOUND', 'The button was not sent there.');
    }
    return { button, row };
  }

  /** A service that died after it had sent a message does not know it. A press on a button tells which one it was. */
  async function note(tx: Tx, { reference }: Press, { subscription_id }: WebhookRow, { question_id }: Question) {
    if (reference !== undefined)
      await insertSentMessage(tx, { subscription_id, question_id, reference, told_at: clock.now() });
  }

  /** Takes a press: the answer and the position commit together. One that answers nothing changes nothing else. */
  async function take({ press, position }: Heard, source: Source): Promise<void> {
    const answer = async (change?: { button: Button; row: WebhookRow; press: Press }) =>
      db.write(async tx => {
        const question = change && (await links.press(tx, change.button, byOf(change.press, change.row, source)));
        if (change && question) await note(tx, change.press, change.row, question);
        if (position !== undefined && !(await moveSource(tx, source.key, process, position))) throw new Lost();
        return question;
      });
    if (!press || press.handle === '') {
      if (position !== undefined) await answer();
      if (press) await settle(press, '', false);
      return;
    }
    let button: Button | undefined;
    try {
      const from = await origin(press, source);
      button = from.button;
      const question = await answer({ ...from, press });
      await settle(press, endOf(question), true);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      log.info({ code: error.code }, 'a press on a button answered nothing');
      if (position !== undefined) await answer();
      const now = button && (await links.button(press.handle)).question;
      await settle(press, now ? endOf(now) : error.message, false);
    }
  }

  /** Makes this process the one that follows a source, unless another one does. */
  async function isOurs({ key }: Source): Promise<boolean> {
    const holder = (await findSource(db.read, key))?.process ?? null;
    if (holder === process) return true;
    if (holder !== null && (await db.presence.deadAmong([holder])).length === 0) return false;
    return db.write(async tx => {
      const now = (await findSource(tx, key))?.process ?? null;
      if (now !== holder) return false;
      await takeSource(tx, key, process);
      return true;
    });
  }

  async function run(follower: Follower): Promise<void> {
    const { signal } = follower.stop;
    const { key, hearing, to } = follower.source;
    for (let failures = 0; !signal.aborted; ) {
      let pause = STANDBY_MS;
      try {
        if (await isOurs(follower.source)) {
          const position = (await findSource(db.read, key))?.position ?? null;
          pause = PAUSE_MS;
          for await (const heard of hearing.hear(to, position, wire, signal)) {
            // The webhooks of the source may have changed meanwhile.
            await take(heard, follower.source);
            failures = 0;
          }
        }
      } catch (error) {
        if (signal.aborted) break;
        pause = Math.min(PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS);
        failures += 1;
        const webhooks = follower.source.rows.map(({ subscription }) => subscription);
        log.warn({ webhooks, error: textOf(error) }, 'the presses of a channel cannot be read');
      }
      await sleep(pause, undefined, { signal, ref: false }).catch(() => {});
    }
    // Without a database, other processes notice that this one is gone.
    await db.write(tx => leaveSource(tx, key, process)).catch(() => {});
  }

  function begin(source: Source): void {
    const follower: Follower = { source, stop: new AbortController(), ended: Promise.resolve() };
    followers.set(source.key, follower);
    follower.ended = run(follower);
  }

  return {
    /** Follows what these webhooks may be answered by, and nothing else. */
    follow(rows: readonly WebhookRow[]): void {
      if (stopped) return;
      const wanted = sourcesOf(rows);
      for (const [key, { stop }] of followers) {
        if (wanted.has(key)) continue;
        stop.abort();
        followers.delete(key);
      }
      for (const [key, source] of wanted) {
        const follower = followers.get(key);
        if (follower) follower.source = source;
        else begin(source);
      }
    },

    /** Stops, and lets other processes follow. */
    async stop(): Promise<void> {
      stopped = true;
      const all = [...followers.values()];
      for (const { stop } of all) stop.abort();
      await Promise.all(all.map(({ ended }) => ended));
    },
  };
}

/** Another process follows the source by now; what was read here is not taken. */
class Lost extends Error {
  override message = 'Another process follows the channel.';
}

function sourcesOf(rows: readonly WebhookRow[]): Map<string, Source> {
  const sources = new Map<string, Source>();
  for (const row of rows) {
    const hearing = row.format === 'standard' ? undefined : channels[row.format].hearing;
    const to = targetOf(row);
    const name = row.enabled === 1 && row.answer_links === 1 ? hearing?.source(to) : undefined;
    if (!hearing || name === undefined) continue;
    const key = createHash('sha256').update(`${row.format} ${name}`).digest('hex');
    sources.set(key, { key, hearing, to, rows: [...(sources.get(key)?.rows ?? []), row] });
  }
  return sources;
}

/** In whose name a press answers, and in which channel: the person, if the channel names one, and the webhook. */
function byOf({ person }: Press, row: WebhookRow, { hearing: { channel } }: Source) {
  const { name } = toWebhook(row);
  const known = normalName(cutText(person ?? '', 60));
  return { name: isName(known) ? `${known} via ${name}` : name, channel };
}

/** How a question stands, for a person who has pressed a button. */
function endOf(question: Question | undefined): string {
  if (!question) return '';
  const { state, answer, answered_by, default_applied, default_answer } = question;
  if (state === 'answered') return `Answered by ${answered_by?.name}: ${cutText(answer ?? '', 100)}`;
  if (state === 'expired' && default_applied) return `It has expired, and the default stands: ${default_answer}`;
  return state === 'open' ? 'The question has changed: its last message has the buttons.' : `The question is ${state}.`;
}

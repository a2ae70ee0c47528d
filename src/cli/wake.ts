import { setTimeout as pause } from 'node:timers/promises';
import type { InboxItem } from '../client/index.ts';
import type { Station } from '../hooks/hook.ts';
import { firstOf } from '../hooks/signals.ts';
import { type Context, exits } from './command.ts';
import type { Sessions } from './sessions.ts';

/** Claude Code begins a turn when an asynchronous hook ends with it. */
const WAKE = 2;
/** Time in which another hook of the session may claim the news. Milliseconds. */
const SETTLE_MS = 2000;
/** How long to wait for hooks to deliver what has been announced. Milliseconds. */
const AGAIN_MS = 30_000;
const MOST = 50;
/** The most items whose announcement is remembered. */
const RUNG = 100;

/**
 * Waits until there is news that no other hook shows, and rings. The text does not hold the news, since the host hands
 * it to the model as something that no person has said. A hook of the turn that begins delivers.
 * @returns the exit code
 */
export async function wake(context: Context, station: Station, sessions: Sessions, session: string): Promise<number> {
  const { client, withdrawn, ending } = station;
  // Elsewhere the host would wait for this process before it ends.
  if (context.env.CLAUDE_CODE_ENTRYPOINT !== 'cli') return exits.done;
  const signal = firstOf([withdrawn, ending]);
  try {
    sessions.takeWaiter(session);
    for (;;) {
      await client.inbox.list({ wait_seconds: Number.POSITIVE_INFINITY, limit: MOST, signal });
      await pause(SETTLE_MS, undefined, { signal });
      if (!sessions.isWaiter(session)) return exits.done;
      const { items, next_cursor } = await client.inbox.list({ limit: MOST, signal });
      const { rung = [] } = sessions.read(session);
      const news = items.filter(item => isFree(item, station) && !rung.includes(item.item_id));
      if (news.length === 0) {
        // The wait of a list that goes on ends for items that are not shown here.
        const endsAgain = next_cursor !== null || items.some(item => isFree(item, station));
        if (endsAgain) await pause(AGAIN_MS, undefined, { signal });
        continue;
      }
      const announced = [...rung, ...news.map(({ item_id }) => item_id)].slice(-RUNG);
      sessions.write(session, { ...sessions.read(session), rung: announced });
      await new Promise<void>(resolve => context.stderr.write(`${ringText(news)}\n`, () => resolve()));
      return WAKE;
    }
  } catch (error) {
    if (signal.aborted) return exits.done;
    throw error;
  }
}

function isFree({ claimed_until, question }: InboxItem, { awaited }: Station): boolean {
  return claimed_until === null && !(question && awaited.has(question.question_id));
}

function ringText(news: InboxItem[]): string {
  const answers = news.flatMap(({ kind, question }) => (kind === 'answered' && question ? [question.question_id] : []));
  const others = news.length - answers.length;
  const parts = [
    ...(answers.length > 0
      ? [`${answers.length} new ${answers.length > 1 ? 'answers' : 'answer'} (${answers.join(', ')})`]
      : []),
    ...(others > 0 ? [`${others} other ${others > 1 ? 'items' : 'item'} of news`] : []),
  ];
  return `Forumbus: ${parts.join(', ')}.`;
}

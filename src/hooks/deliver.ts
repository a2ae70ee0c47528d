import { randomUUID } from 'node:crypto';
import type { InboxItem } from '../client/index.ts';
import { factOf } from './facts.ts';
import { type HookInput, type Reply, type Station, sessionOf } from './hook.ts';
import { firstOf } from './signals.ts';

/** Longer than it takes to print; then another hook shows what this one could not acknowledge. */
const LEASE_SECONDS = 10;
const MOST = 20;
/** Longer contexts go into a file, which Claude Code and Codex name to the model with a preview. Characters. */
const LENGTH = 9000;

/** News that this hook has claimed. */
interface Delivery {
  text: string;
  /** Ends the items. */
  acknowledge(): Promise<void>;
}

/** Answers with the news of the agent, if there are any. @param shape the host's answer with this text */
export async function deliver(station: Station, shape: (text: string) => object): Promise<Reply> {
  const news = await claimNews(station);
  return news ? { output: shape(news.text), delivered: news.acknowledge } : {};
}

/**
 * As {@link deliver}, at the end of a turn, which thereby goes on.
 * @param most how often in a row it may, so that it stays below the host's own limit
 */
export async function deliverAtEnd(
  input: HookInput,
  station: Station,
  most: number,
  shape: (text: string) => object,
): Promise<Reply> {
  const session = sessionOf(input);
  const { continued: before = 0 } = station.notes.read(session);
  // Not every host says that a turn begins.
  const continued = input.stop_hook_active === false ? 0 : before;
  const reply = continued < most ? await deliver(station, shape) : {};
  // Without an output the turn ends here.
  const after = reply.output ? continued + 1 : 0;
  if (after !== before) station.notes.write(session, { ...station.notes.read(session), continued: after });
  return reply;
}

/** Claims what no other hook shows, as much as fits: what is claimed and not shown would be kept from the next hook. */
async function claimNews(station: Station): Promise<Delivery | undefined> {
  const { client, ending, withdrawn } = station;
  const signal = firstOf([ending, withdrawn]);
  const { items } = await client.inbox.list({ limit: MOST, signal });
  const free = items.filter(({ claimed_until }) => claimed_until === null);
  const limit = fitting(free, station);
  if (limit === 0) return undefined;
  // The claimant is this hook alone: two hooks of one session must not show the same item.
  const claimant = `hook-${randomUUID()}`;
  const claimed = await client.inbox.claim({ claimant, lease_seconds: LEASE_SECONDS, limit }, { signal });
  const shown = claimed.filter(item => isShown(item, station));
  if (shown.length === 0) return undefined;
  const acknowledge = async () => {
    await client.inbox.acknowledge(shown.map(({ item_id }) => item_id));
  };
  return { text: shown.map(factOf).join('\n'), acknowledge };
}

/** How many of the first items fit into one output: at least the first one that is shown, however long it is. */
function fitting(items: InboxItem[], station: Station): number {
  let [count, length] = [0, 0];
  for (const [index, item] of items.entries()) {
    if (!isShown(item, station)) continue;
    length += factOf(item).length + 1;
    if (length > LENGTH && count > 0) break;
    count = index + 1;
  }
  return count;
}

/** What a hook waits for is left to that hook. */
function isShown({ question }: InboxItem, { awaited }: Station): boolean {
  return !question || !awaited.has(question.question_id);
}

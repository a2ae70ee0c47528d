import { randomUUID } from 'node:crypto';
import { cut, factOf } from './facts.ts';
import { type HookInput, type Reply, type Station, sessionOf } from './hook.ts';
import { firstOf } from './signals.ts';

/** Longer than it takes to print; then another hook shows what this one could not acknowledge. */
const LEASE_SECONDS = 10;
const MOST = 20;
/** Claude Code moves longer contexts into a file. Characters. */
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

/** Claims what no other hook shows. What a hook waits for is left to that hook. */
async function claimNews({ client, awaited, ending, withdrawn }: Station): Promise<Delivery | undefined> {
  const signal = firstOf([ending, withdrawn]);
  const { items: waiting } = await client.inbox.list({ limit: MOST, signal });
  if (!waiting.some(({ claimed_until }) => claimed_until === null)) return undefined;
  // The claimant is this hook alone: two hooks of one session must not show the same item.
  const claimant = `hook-${randomUUID()}`;
  const claimed = await client.inbox.claim({ claimant, lease_seconds: LEASE_SECONDS, limit: MOST }, { signal });
  const lines: string[] = [];
  const item_ids: string[] = [];
  let room = LENGTH;
  for (const item of claimed) {
    if (item.question && awaited.has(item.question.question_id)) continue;
    const fact = factOf(item);
    if (fact.length > room && lines.length > 0) break;
    lines.push(fact.length <= room ? fact : shortened(fact, item.question?.question_id));
    item_ids.push(item.item_id);
    room -= fact.length + 1;
  }
  if (lines.length === 0) return undefined;
  const acknowledge = async () => {
    await client.inbox.acknowledge(item_ids);
  };
  return { text: lines.join('\n'), acknowledge };
}

function shortened(fact: string, question_id: string | undefined): string {
  const rest = question_id ? ` (\`forumbus wait ${question_id}\` prints all of it)` : '';
  return `${cut(fact, LENGTH - rest.length)}${rest}`;
}

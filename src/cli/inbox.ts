import { randomUUID } from 'node:crypto';
import type { InboxItem } from '../client/index.ts';
import { type Context, defineCommand, exits } from './command.ts';
import { drain } from './deliver.ts';
import { secondsOf } from './duration.ts';
import { numberQuestions } from './numbers.ts';
import { head, oneLine, outcomeOf, outcomeText, questionLine } from './output.ts';

/** Longer than it takes to print; then another call shows what this one could not acknowledge. */
const LEASE_SECONDS = 30;
const MOST = 20;

export const command = defineCommand({
  name: 'inbox',
  summary: 'Show what waits: for people the open questions, for an agent its news',
  usage: '[--agent AGENT | --questions] [--wait 9m]',
  counts: { least: 0, most: 0 },
  options: { questions: { type: 'boolean' }, wait: { type: 'string', default: '0' } },
  help: `People see the open questions of all runs, numbered for \`forumbus answer\`; --run RUN shows one run.
An agent sees answers, expired and cancelled questions, and messages, once. The agent is that of --agent, of
FORUMBUS_AGENT or of the host; --questions shows the questions all the same.
  --wait TIME    an agent waits so long for news`,
  async run(context, _positionals, values) {
    await drain(context);
    const wait_seconds = secondsOf('wait', values.wait);
    if (context.identity.isAgent && !values.questions) await showNews(context, wait_seconds);
    else await showQuestions(context, values.run);
    return exits.done;
  },
});

async function showQuestions(context: Context, run_id: string | undefined): Promise<void> {
  const { client, print } = context;
  const { items, next_cursor } = await client.questions({ state: 'open', limit: 100, ...(run_id && { run_id }) });
  const names = numberQuestions(context, items);
  const lines = items.map((question, index) => `${names[index]}  ${questionLine(question)}`);
  if (next_cursor !== null) lines.push('There are more; answer some of these first.');
  await print(lines.join('\n') || 'No open questions.', items);
}

/** Claims before it shows and acknowledges after: no other reader shows the same item, and none is lost. */
async function showNews({ client, print }: Context, wait_seconds: number): Promise<void> {
  // The first ones may be claimed by others.
  if (wait_seconds > 0) await client.inbox.list({ wait_seconds });
  const claimant = `cli-${randomUUID()}`;
  const items = await client.inbox.claim({ claimant, lease_seconds: LEASE_SECONDS, limit: MOST });
  await print(items.map(newsLine).join('\n') || 'No news.', items.map(newsValue));
  if (items.length > 0) await client.inbox.acknowledge(items.map(({ item_id }) => item_id));
}

function newsLine({ kind, question, post }: InboxItem): string {
  if (post) return `message from ${oneLine(post.actor.name)}: ${oneLine(post.body)}`;
  if (!question) return kind;
  return `"${head(question.question, 60)}" ${kind === 'answered' ? 'answered: ' : ''}${outcomeText(question)}`;
}

function newsValue({ kind, at, question, post }: InboxItem) {
  const message = post && { actor: post.actor, body: post.body };
  return { kind, at, ...(question && { question: question.question, ...outcomeOf(question) }), ...message };
}

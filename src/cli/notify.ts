import type { Context } from './command.ts';
import { defineCommand, exits, UsageError } from './command.ts';
import { oneLine } from './output.ts';

const words = ['add', 'list', 'test', 'remove'] as const;
const channels = ['slack', 'discord', 'teams', 'ntfy'] as const;
type Channel = (typeof channels)[number];

/** What people are told of. */
const EVENT_TYPES = ['forum.question.*', 'forum.webhook.disabled'];

export const command = defineCommand({
  name: 'notify',
  summary: 'Tell people of questions, in Slack, Discord, Teams or by ntfy',
  usage: 'add CHANNEL TARGET [--name NAME] [--buttons] | list | test NAME | remove NAME',
  words,
  counts: { least: 1, most: 3 },
  options: {
    name: { type: 'string' },
    buttons: { type: 'boolean' },
    server: { type: 'string', default: 'https://ntfy.sh/' },
    reply: { type: 'string' },
    least: { type: 'string' },
  },
  help: `  CHANNEL        ${channels.join(', ')}
  TARGET         the URL of the channel's webhook; for ntfy the topic
  --name NAME    the name of the webhook that is made; the channel's if left out
  --buttons      with links and buttons that answer; needs PUBLIC_URL
  --reply TOPIC  of ntfy: buttons publish there, and work without PUBLIC_URL
  --least HIGH   only questions that are at least so urgent
  --server URL   of ntfy; its access token is taken from NTFY_TOKEN
A test message is sent at once.`,
  async run(context, [word, ...rest], values) {
    const { client, print } = context;
    if (word === 'list' && rest.length === 0) return list(context);
    if (word === 'add' && rest.length === 2) {
      const [channel, target] = rest as [string, string];
      const format = channels.find(known => known === channel);
      if (!format) throw new UsageError(`There is no channel ${channel}: it is one of ${channels.join(', ')}.`);
      const { name } = await client.webhooks.create({
        ...{
          name: values.name ?? format,
          format,
          event_types: EVENT_TYPES,
          ...targetOf(format, target, values, context),
        },
        ...((values.buttons || values.reply) && { answer_links: true }),
        ...(values.least && { filter: { priority_at_least: values.least as 'high' } }),
      });
      return test(context, name);
    }
    const [name] = rest;
    if (word === 'test' && name !== undefined && rest.length === 1) return test(context, name);
    if (word === 'remove' && name !== undefined && rest.length === 1) {
      await client.webhooks.remove(name);
      await print(`Removed ${oneLine(name)}.`, { name, deleted: true });
      return exits.done;
    }
    throw new UsageError('Something is missing, or too much. `forumbus notify --help` has the usage.');
  },
});

function targetOf(
  format: Channel,
  target: string,
  { server, reply }: { server: string; reply?: string },
  { env }: Context,
) {
  if (format !== 'ntfy') return { url: target };
  const { NTFY_TOKEN: token } = env;
  return { url: server, settings: { topic: target, ...(reply && { reply_topic: reply }), ...(token && { token }) } };
}

async function list({ client, print }: Context): Promise<number> {
  const all: Awaited<ReturnType<typeof client.webhooks.list>>['items'] = [];
  for (let cursor: string | undefined; ; ) {
    const { items, next_cursor } = await client.webhooks.list(cursor === undefined ? {} : { cursor });
    all.push(...items);
    if (next_cursor === null) break;
    cursor = next_cursor;
  }
  const lines = all.map(({ name, format, url, enabled, disabled_reason, next_probe_at }) => {
    const state = enabled
      ? next_probe_at === null
        ? 'ok'
        : 'failing'
      : `disabled${disabled_reason ? `: ${disabled_reason}` : ''}`;
    return `${name}  ${format}  ${oneLine(url)}  ${state}`;
  });
  await print(lines.join('\n') || 'There are no webhooks.', { items: all });
  return exits.done;
}

async function test({ client, print, tell }: Context, name: string): Promise<number> {
  const result = await client.webhooks.ping(name);
  if (!result.ok) tell(`The test failed: ${oneLine(result.error ?? `the answer was ${result.status}`)}`);
  await print(result.ok ? `A test was sent to ${oneLine(name)}.` : `${oneLine(name)} is set up.`, { name, ...result });
  return result.ok ? exits.done : exits.refused;
}

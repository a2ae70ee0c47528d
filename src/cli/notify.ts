import type { Context } from './command.ts';
import { defineCommand, exits, UsageError } from './command.ts';
import { oneLine } from './output.ts';

const words = ['add', 'list', 'test', 'remove'] as const;
const channels = ['ntfy', 'telegram', 'slack', 'discord', 'teams', 'email'] as const;
type Channel = (typeof channels)[number];

/** What people are told of: questions that wait and how they end. */
const EVENT_TYPES = [
  ...['opened', 'approved', 'reminded', 'answered', 'expired', 'cancelled', 'superseded'].map(
    end => `forum.question.${end}`,
  ),
  'forum.webhook.disabled',
];

interface Values {
  server?: string;
  reply?: string;
  from?: string;
}

export const command = defineCommand({
  name: 'notify',
  summary: 'Tell people of questions: by ntfy, Telegram, Slack, Discord, Teams or e-mail',
  usage: 'add CHANNEL TARGET [--name NAME] [--buttons] | list | test NAME | remove NAME',
  words,
  counts: { least: 1, most: 3 },
  options: {
    name: { type: 'string' },
    buttons: { type: 'boolean' },
    server: { type: 'string' },
    reply: { type: 'string' },
    from: { type: 'string' },
    least: { type: 'string' },
  },
  help: `  CHANNEL and TARGET, with secrets taken from the environment:
    ntfy TOPIC        NTFY_TOKEN; --reply TOPIC: buttons publish there, and need no PUBLIC_URL
    telegram CHAT_ID  TELEGRAM_BOT_TOKEN
    slack CHANNEL_ID  SLACK_APP_TOKEN and SLACK_BOT_TOKEN, of an app with Socket Mode
    slack URL         of an incoming webhook; likewise discord URL and teams URL
    email ADDRESSES   SMTP_URL, such as smtps://user:password@mail.example.com; --from ADDRESS
  --name NAME    the name of the webhook that is made; the channel's if left out
  --buttons      with a link that answers; needs PUBLIC_URL
  --least HIGH   only questions that are at least so urgent
  --server URL   another server than that of the channel
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
        ...(values.buttons && { answer_links: true }),
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

/** Where the messages go. Channels whose buttons answer by themselves get them. */
function targetOf(format: Channel, target: string, { server, reply, from }: Values, { env }: Context) {
  const url = server === undefined ? {} : { url: server };
  switch (format) {
    case 'ntfy': {
      const { NTFY_TOKEN: token } = env;
      const settings = { topic: target, ...(reply && { reply_topic: reply }), ...(token && { token }) };
      return { ...url, settings, ...(reply && { answer_links: true }) };
    }
    case 'telegram': {
      const settings = { chat_id: target, bot_token: needed(env, 'TELEGRAM_BOT_TOKEN') };
      return { ...url, settings, answer_links: true };
    }
    case 'email': {
      if (!from) throw new UsageError('A mail needs --from ADDRESS.');
      return { url: server ?? needed(env, 'SMTP_URL'), settings: { from, to: target } };
    }
    case 'slack': {
      if (target.includes(':')) return { url: target };
      const tokens = { app_token: needed(env, 'SLACK_APP_TOKEN'), bot_token: needed(env, 'SLACK_BOT_TOKEN') };
      return { ...url, settings: { channel: target, ...tokens }, answer_links: true };
    }
    default:
      return { url: target };
  }
}

function needed(env: Context['env'], name: string): string {
  const value = env[name];
  if (!value) throw new UsageError(`The variable ${name} is not set.`);
  return value;
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

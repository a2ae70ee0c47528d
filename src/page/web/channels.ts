import type { NewWebhook, Webhook } from '../../client/index.ts';

type Format = Webhook['format'];
type Setting = keyof NonNullable<NewWebhook['settings']>;

interface Field {
  name: Setting;
  label: string;
  required?: boolean;
  secret?: boolean;
}

interface Channel {
  /** In lists. */
  label: string;
  /** What the URL is. */
  url: string;
  /** The usual URL. */
  usual?: string;
  /** What it needs besides the URL. */
  fields?: Field[];
}

/** What a webhook of each format needs. */
export const channels: Record<Format, Channel> = {
  standard: { label: 'Program (signed CloudEvents)', url: 'URL of the program' },
  slack: {
    label: 'Slack',
    url: 'URL of the incoming webhook, or https://slack.com/api/ for an app',
    fields: [
      { name: 'channel', label: 'Channel of the app' },
      { name: 'bot_token', label: 'Bot token of the app', secret: true },
      { name: 'app_token', label: 'App-level token', secret: true },
    ],
  },
  discord: { label: 'Discord', url: "URL of the channel's webhook" },
  teams: { label: 'Teams', url: 'URL of the workflow' },
  ntfy: {
    label: 'ntfy',
    url: 'Server',
    usual: 'https://ntfy.sh/',
    fields: [
      { name: 'topic', label: 'Topic', required: true },
      { name: 'reply_topic', label: 'Topic for the buttons' },
      { name: 'token', label: 'Access token', secret: true },
    ],
  },
  telegram: {
    label: 'Telegram',
    url: 'Server',
    usual: 'https://api.telegram.org/',
    fields: [
      { name: 'chat_id', label: 'Chat', required: true },
      { name: 'bot_token', label: 'Bot token', required: true, secret: true },
    ],
  },
  email: {
    label: 'E-mail',
    url: 'Server, such as smtps://user:password@mail.example',
    fields: [
      { name: 'from', label: 'From', required: true },
      { name: 'to', label: 'To', required: true },
    ],
  },
  // A browser adds itself, in its settings.
  webpush: { label: 'Browser', url: 'Endpoint' },
};

/** Those that a person can add. */
export const formats = (Object.keys(channels) as Format[]).filter(format => format !== 'webpush');

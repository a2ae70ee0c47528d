import type { PostAnswer } from '../post.ts';
import {
  type ChannelMessage,
  type Heard,
  type HttpChannel,
  JSON_TYPE,
  type Press,
  type Reading,
  type Target,
  type Wire,
} from './channel.ts';
import { areWhole, cutText } from './notice.ts';

/** Errors of chat.update after which the message cannot be changed, but a new one may be sent. */
const GONE = ['message_not_found', 'cant_update_message', 'edit_window_closed'];
/** Longest text of a section, and of a button. Characters. */
const SECTION = 2900;
const BUTTON = 75;

interface Answer {
  ok?: boolean;
  error?: string;
  /** Of a message. */
  channel?: string;
  ts?: string;
  /** Of apps.connections.open. */
  url?: string;
}

/** What comes through a socket. */
interface Envelope {
  type: string;
  envelope_id?: string;
  payload?: {
    type: string;
    user?: { id: string; username?: string; name?: string };
    channel?: { id: string };
    message?: { ts: string };
    actions?: { value?: string }[];
  };
}

/**
 * Slack: an incoming webhook, whose button opens the page, or an app with Socket Mode. The app's buttons answer, and
 * its messages are changed when the question has ended. All texts are plain, so that nothing in them mentions anybody.
 */
export const slack: HttpChannel = {
  length: SECTION,

  request(message, reference) {
    const { to, notice } = message;
    const text = notice.title.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
    const body = { text, blocks: blocksOf(message) };
    if (!isApp(to)) return { url: to.url, headers: JSON_TYPE, body: JSON.stringify(body) };
    const [channel, ts] = reference?.split(' ') ?? [to.channel];
    const sent = { channel, ...(ts !== undefined && { ts }), ...body, unfurl_links: false, unfurl_media: false };
    return call(to, to.bot_token, ts === undefined ? 'chat.postMessage' : 'chat.update', sent);
  },

  read: (answer, to) => (isApp(to) ? readingOf(answer) : {}),

  hearing: {
    channel: 'slack',
    source: ({ url, app_token }) => (app_token === undefined ? undefined : `${url} ${app_token}`),

    isAt: ({ channel }, place) => place === channel,

    /**
     * Socket Mode. Slack ends a connection every few hours and says so before: then another one is opened first. It keeps
     * nothing: a press while nobody listens fails in front of the person who presses.
     */
    async *hear(to, _position, wire, signal): AsyncIterable<Heard> {
      const news: { text: string; answer: (text: string) => void }[] = [];
      let wake = Promise.withResolvers<void>();
      let open = 0;
      const connect = async () => {
        const url = await socketUrl(to, wire, signal);
        const socket = wire.openSocket(url, signal, text => {
          news.push({ text, answer: socket.send });
          wake.resolve();
        });
        open += 1;
        void socket.closed.finally(() => {
          open -= 1;
          wake.resolve();
        });
        await socket.opened;
      };
      await connect();
      for (;;) {
        for (const { text, answer } of news.splice(0)) {
          const envelope = JSON.parse(text) as Envelope;
          // If that fails, the end of the old connection is the end of all.
          if (envelope.type === 'disconnect') void connect().catch(() => {});
          else if (envelope.envelope_id !== undefined) yield { press: pressOf(envelope, answer, to, wire, signal) };
        }
        if (news.length > 0) continue;
        if (open === 0) return;
        wake = Promise.withResolvers();
        await wake.promise;
      }
    },
  },
};

/** Whether the settings are those of an app. */
function isApp({ bot_token }: Target): boolean {
  return bot_token !== undefined;
}

function blocksOf({ notice: { title, text, options, list, takesPress }, link, to }: ChannelMessage): object[] {
  const plain = (text: string) => ({ type: 'plain_text', text, emoji: false });
  const section = (text: string) => ({ type: 'section', text: plain(text) });
  const pressed =
    link && isApp(to) && takesPress
      ? options.map((label, option) => ({
          ...{ type: 'button', action_id: `answer:${option}`, text: plain(cutText(label, BUTTON)) },
          value: link.handles[option],
        }))
      : [];
  const opens =
    link?.url === undefined ? [] : [{ type: 'button', action_id: 'open', text: plain('Answer'), url: link.url }];
  const buttons = [...pressed, ...opens];
  const isShown = pressed.length > 0 && areWhole(options, BUTTON);
  return [
    { type: 'header', text: plain(cutText(title, 150)) },
    ...(text === '' ? [] : [section(text)]),
    ...(options.length === 0 || isShown ? [] : [section(list)]),
    ...(buttons.length === 0 ? [] : [{ type: 'actions', elements: buttons }]),
  ];
}

/** What an answer of the Web API means: it says `ok` in its body. */
function readingOf({ text }: PostAnswer): Reading {
  const { ok, error, channel, ts } = parse(text);
  if (ok) return channel === undefined || ts === undefined ? {} : { reference: referenceOf(channel, ts) };
  return { error: `Slack: ${error ?? 'no answer that can be read'}`, isGone: GONE.includes(error ?? '') };
}

/** Names a message: `chat.update` wants both. */
const referenceOf = (channel: string, ts: string) => `${channel} ${ts}`;

async function socketUrl(to: Target, wire: Wire, signal: AbortSignal): Promise<URL> {
  const { status, text, error } = await wire.post(call(to, to.app_token, 'apps.connections.open', {}), signal);
  const { ok, url = '', error: refused } = parse(text);
  if (!ok || !URL.canParse(url)) throw new Error(error ?? `Slack: ${refused ?? `status ${status}`}`);
  return new URL(url);
}

function pressOf(
  { envelope_id, payload }: Envelope,
  answer: (text: string) => void,
  to: Target,
  wire: Wire,
  signal: AbortSignal,
): Press {
  const { user, channel, message, actions } = payload ?? {};
  return {
    // The button that opens the page has none, and comes all the same.
    handle: actions?.[0]?.value ?? '',
    ...(channel && { place: channel.id }),
    ...(channel && message && { reference: referenceOf(channel.id, message.ts) }),
    ...(user && { person: user.username ?? user.name ?? user.id }),
    async settle({ text, isAnswer }) {
      answer(JSON.stringify({ envelope_id }));
      if (isAnswer || !user || !channel || text === '') return;
      const told = { channel: channel.id, user: user.id, text: cutText(text, SECTION) };
      await wire.post(call(to, to.bot_token, 'chat.postEphemeral', told), signal);
    },
  };
}

/** A call of the Web API. */
function call({ url }: Target, token: string | undefined, method: string, body: object) {
  const headers = { ...JSON_TYPE, authorization: `Bearer ${token}` };
  return { url: new URL(method, `${url.replace(/\/$/, '')}/`).href, headers, body: JSON.stringify(body) };
}

function parse(text: string | null): Answer {
  try {
    return JSON.parse(text ?? '') ?? {};
  } catch {
    return {};
  }
}

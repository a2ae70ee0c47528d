import { type Heard, type HttpChannel, JSON_TYPE, type Press, type Target, type Wire } from './channel.ts';
import { areWhole, cutText, withOptions } from './notice.ts';

/** How long one request waits for presses. Seconds. */
const POLL_SECONDS = 25;
/** Presses of one request. Each brings its message along. */
const UPDATES = 20;
const POLL_LIMITS = { timeoutMs: (POLL_SECONDS + 10) * 1000, mostBytes: 4_194_304 };
/** Characters of a button. */
const BUTTON = 60;
/** Characters of the text that a press shows to the person who pressed. */
const NOTICE = 200;

interface Answer<T> {
  ok: boolean;
  result?: T;
  description?: string;
  parameters?: { retry_after?: number };
}

interface Update {
  update_id: number;
  callback_query?: {
    id: string;
    from: { id: number; username?: string; first_name?: string };
    message?: { message_id: number; chat: { id: number; username?: string } };
    data?: string;
  };
}

/**
 * Telegram, by a bot: a button for each option. Texts are sent without a parse mode, so nothing in them is markup. A message
 * of the bot is changed when its question has ended.
 */
export const telegram: HttpChannel = {
  length: 3500,

  request({ notice, link, to }, reference) {
    const { title, options, takesPress } = notice;
    const rows = link && takesPress ? options.map((label, option) => [button(label, link.handles[option])]) : [];
    // Telegram refuses the message if a button opens anything but https.
    const isPublic = link?.url?.startsWith('https:') === true;
    const keyboard = isPublic
      ? [...rows, [{ text: rows.length > 0 ? 'Other answer' : 'Answer', url: link.url }]]
      : rows;
    const isShown = rows.length > 0 && areWhole(options, BUTTON);
    const text = isShown ? notice.text : withOptions(notice);
    const lines = text === '' ? title : `${title}\n\n${text}`;
    const body = {
      chat_id: to.chat_id,
      text: link?.url && !isPublic ? `${cutText(lines, 3700)}\n${link.url}` : cutText(lines, 4000),
      link_preview_options: { is_disabled: true },
      reply_markup: { inline_keyboard: keyboard },
      ...(reference !== undefined && { message_id: Number(reference) }),
    };
    return call(to, reference === undefined ? 'sendMessage' : 'editMessageText', body);
  },

  read({ status, text }, to) {
    const answer = parse<{ message_id?: number }>(text);
    const { description = '', parameters, result } = answer ?? {};
    if (answer?.ok) return result?.message_id === undefined ? {} : { reference: String(result.message_id) };
    if (/message is not modified/i.test(description)) return { isDone: true };
    return {
      // Its texts name neither the bot nor its token; what stands between may be anything.
      ...(description !== '' && { error: `Telegram: ${description.replaceAll(to.bot_token ?? ' ', '…')}` }),
      ...(parameters?.retry_after !== undefined && { retryAfterMs: parameters.retry_after * 1000 }),
      isGone: status === 400,
    };
  },

  hearing: {
    channel: 'telegram',
    source: ({ url, bot_token }) => `${url} ${bot_token}`,

    // Telegram takes names in any case.
    isAt: ({ chat_id }, place) => (place ?? '').toLowerCase().split(' ').includes(String(chat_id).toLowerCase()),

    /** What was pressed meanwhile waits at Telegram for a day, until the next request names a later one. */
    async *hear(to, position, wire, signal): AsyncIterable<Heard> {
      let last = position === null ? undefined : Number(position);
      while (!signal.aborted) {
        const wanted = {
          ...{ timeout: POLL_SECONDS, limit: UPDATES, allowed_updates: ['callback_query'] },
          ...(last !== undefined && { offset: last + 1 }),
        };
        const { status, text, error } = await wire.post(call(to, 'getUpdates', wanted), signal, POLL_LIMITS);
        const answer = parse<Update[]>(text);
        if (!answer?.ok || !answer.result) {
          throw new Error(error ?? answer?.description ?? `Telegram answered ${status}.`);
        }
        for (const update of answer.result) {
          last = update.update_id;
          const press = pressOf(update, to, wire, signal);
          yield { ...(press && { press }), position: String(last) };
        }
      }
    },
  },
};

function button(label: string, handle: string | undefined): object {
  return { text: cutText(label, BUTTON), callback_data: handle };
}

function pressOf({ callback_query: query }: Update, to: Target, wire: Wire, signal: AbortSignal): Press | undefined {
  if (!query?.data) return undefined;
  const { id, from, message, data } = query;
  const { chat } = message ?? {};
  return {
    handle: data,
    ...(chat && { place: [chat.id, ...(chat.username ? [`@${chat.username}`] : [])].join(' ') }),
    ...(message && { reference: String(message.message_id) }),
    person: from.username ?? from.first_name ?? String(from.id),
    async settle({ text, isAnswer }) {
      const shown = { callback_query_id: id, text: cutText(text, NOTICE), show_alert: !isAnswer };
      // Too late after a restart: then nobody waits for it any more.
      await wire.post(call(to, 'answerCallbackQuery', shown), signal);
    },
  };
}

/** A call of the Bot API. Its URL holds the token. */
function call({ url, bot_token }: Target, method: string, body: object) {
  return { url: `${url.replace(/\/$/, '')}/bot${bot_token}/${method}`, headers: JSON_TYPE, body: JSON.stringify(body) };
}

function parse<T>(text: string | null): Answer<T> | undefined {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return undefined;
  }
}

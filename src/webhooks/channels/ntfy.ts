import type { AnswerLink } from '../../links/service.ts';
import { type HttpChannel, JSON_TYPE, type Target } from './channel.ts';
import { areWhole, cutText, withOptions } from './notice.ts';

/** Buttons that a notification has at most, and characters of one. */
const BUTTONS = 3;
const BUTTON = 40;
/** Characters of a message, which has at most 4,096 bytes: one may take three. */
const MESSAGE = 1300;

/** A line of a subscription to a topic. */
interface Line {
  id: string;
  event: string;
  message?: string;
}

/**
 * ntfy: the options as buttons that answer at once, if they are few; else one that opens the page. Messages of one
 * question share a sequence, so that apps replace an earlier one. Older servers and apps show each of them.
 */
export const ntfy: HttpChannel = {
  length: MESSAGE,

  request({ notice, link, to }) {
    const { title, options, takesPress, isUrgent, isOpen, question_id } = notice;
    const fits = options.length > 0 && options.length <= BUTTONS && takesPress;
    const open = link?.url === undefined ? [] : [{ action: 'view', label: 'Answer', url: link.url }];
    const buttons = link && fits ? options.flatMap((label, option) => buttonOf(label, option, link, to)) : [];
    const isShown = buttons.length > 0 && areWhole(options, BUTTON);
    const text = isShown ? notice.text : withOptions(notice);
    // What has ended makes no sound.
    const priority = isUrgent ? 5 : question_id === undefined || isOpen ? 3 : 2;
    const body = {
      ...{ topic: to.topic, title, message: text === '' ? title : text, priority },
      ...(question_id !== undefined && { sequence_id: question_id }),
      ...(link?.url !== undefined && { click: link.url }),
      actions: buttons.length > 0 ? buttons : open,
    };
    return { url: to.url, headers: { ...JSON_TYPE, ...authorization(to) }, body: JSON.stringify(body) };
  },

  hearing: {
    channel: 'ntfy',
    source: ({ url, reply_topic, token = '' }) =>
      reply_topic === undefined ? undefined : `${url} ${reply_topic} ${token}`,

    /** A press publishes the handle of its button to the reply topic, which the server keeps for some hours. */
    async *hear(to, position, { follow }, signal) {
      const url = new URL(`${to.reply_topic}/json?since=${encodeURIComponent(position ?? 'all')}`, to.url);
      for await (const line of follow(url, authorization(to), signal)) {
        const { id, event, message = '' } = JSON.parse(line) as Line;
        // Nobody can be told: the message that replaces this one says how it has ended.
        if (event === 'message') yield { press: { handle: message, settle: async () => {} }, position: id };
      }
    },
  },
};

/** A button that answers: by the reply topic, or by the page of the link. */
function buttonOf(label: string, option: number, link: AnswerLink, { url, reply_topic }: Target): object[] {
  const press = { action: 'http', label: cutText(label, BUTTON), method: 'POST', clear: true };
  if (reply_topic !== undefined) return [{ ...press, url: new URL(reply_topic, url).href, body: link.handles[option] }];
  if (link.url === undefined) return [];
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return [{ ...press, url: link.url, headers, body: new URLSearchParams({ selected: label }).toString() }];
}

function authorization({ token }: Target): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

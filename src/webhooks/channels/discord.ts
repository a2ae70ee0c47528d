import { type HttpChannel, JSON_TYPE } from './channel.ts';
import { cutText } from './notice.ts';

/** Characters of the content that are left for the text, beside a link. A message has 2,000. */
const CONTENT = 1700;
/** Characters of the options among them at most. */
const OPTIONS = 1000;

/** Discord, by the webhook of a channel. It mentions nobody, and its messages are changed when the question has ended. */
export const discord: HttpChannel = {
  length: 1400,

  request({ notice: { title, text, list }, link, to }, reference) {
    const url = new URL(to.url);
    // Escaping may double a text.
    const [head, options] = [`**${escaped(title)}**`, fitted(list, OPTIONS)];
    const room = CONTENT - head.length - options.length - 2;
    const content = [head, fitted(text, room), options].filter(line => line !== '').join('\n');
    const body = {
      content: link?.url ? `${content}\n${link.url}` : content,
      allowed_mentions: { parse: [] },
      // No preview: a preview would read the page of the link.
      flags: SUPPRESS_EMBEDS,
    };
    if (reference === undefined) url.searchParams.set('wait', 'true');
    else url.pathname = `${url.pathname.replace(/\/$/, '')}/messages/${encodeURIComponent(reference)}`;
    const method = reference === undefined ? 'POST' : 'PATCH';
    return { method, url: url.href, headers: JSON_TYPE, body: JSON.stringify(body) };
  },

  read({ status, text }) {
    if (status === 404) return { isGone: true };
    const id = idOf(text ?? '');
    return id === undefined ? {} : { reference: id };
  },
};

const SUPPRESS_EMBEDS = 4;

/** A text that Discord shows as it is. */
function escaped(text: string): string {
  return text.replaceAll(/[\\*_~`|<>[\]()#@]/g, character => `\\${character}`);
}

/** A text that Discord shows as it is, cut to a length, and not in the middle of what is escaped. */
function fitted(text: string, length: number): string {
  return cutText(escaped(text), length).replace(/\\+(…?)$/, '$1');
}

/** The id of a message that Discord answers with. */
function idOf(text: string): string | undefined {
  try {
    const { id } = JSON.parse(text);
    return typeof id === 'string' ? id : undefined;
  } catch {
    return undefined;
  }
}

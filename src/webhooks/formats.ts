import type { Event } from '../events/schemas.ts';
import type { AnswerLink } from '../links/service.ts';
import { printable } from '../printable.ts';
import type { Format, Settings } from './schemas.ts';

/** The body of a request, and headers that go with it. */
export interface Rendered {
  body: string;
  headers: Record<string, string>;
}

/** What a message is about: an event, or a test. */
type Told = Pick<Event, 'event_type' | 'agent_name' | 'run_id' | 'payload'>;

/** Where messages go. */
export type Channel = Settings & { url: string };

/** What people are told of an event. */
interface Notice {
  title: string;
  /** Lines. */
  text: string;
  options: string[];
  multiSelect: boolean;
  isUrgent: boolean;
}

const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' };
/** The longest text of each channel, with room for what stands around it. Characters. */
const LENGTHS: Record<Exclude<Format, 'standard' | 'webpush'>, number> = {
  slack: 2900,
  discord: 1800,
  teams: 8000,
  ntfy: 1000,
};
/** Buttons that a notification of ntfy has at most. */
const BUTTONS = 3;

/** The message of a channel about an event. @param link to its question */
export function render(
  format: Exclude<Format, 'standard' | 'webpush'>,
  event: Told,
  channel: Channel,
  link: AnswerLink | undefined,
): Rendered {
  const notice = noticeOf(event, LENGTHS[format]);
  const render = { slack, discord, teams, ntfy }[format];
  return render(notice, link, channel);
}

export function noticeOf({ event_type, agent_name, run_id, payload }: Told, length: number): Notice {
  const { question = '', options = [], ...rest } = payload as QuestionPayload;
  const who = agent_name === null ? 'Forumbus' : `${agent_name} in ${run_id}`;
  const titles: Record<string, string> = {
    'forum.question.opened': `${who} asks`,
    'forum.question.reminded': `${who} still waits`,
    'forum.question.answered': `${who} has an answer`,
    'forum.question.expired': `The question of ${who} expired`,
    'forum.question.cancelled': `The question of ${who} is cancelled`,
    'forum.question.superseded': `${who} replaced a question`,
    'forum.webhook.ping': `A test of the webhook ${payload.name}`,
    'forum.webhook.disabled': `The webhook ${payload.name} is disabled (${payload.reason})`,
    'forum.webhook.recovered': `The webhook ${payload.name} works again`,
  };
  const lines = [
    ...(question === '' ? [] : [question]),
    ...(rest.answer === undefined ? [] : [`Answer: ${rest.answer}`]),
    ...(rest.expires_at ? [`Open until ${rest.expires_at}`] : []),
    ...(rest.run_title ? [`Run: ${rest.run_title}`] : []),
  ];
  return {
    title: cut(titles[event_type] ?? `${event_type.replace('forum.', '')}: ${who}`, 200),
    text: cut(lines.join('\n'), length),
    options: options.map(({ label }) => label),
    multiSelect: rest.multi_select === true,
    isUrgent: rest.priority === 'urgent' || rest.priority === 'high',
  };
}

interface QuestionPayload {
  question?: string;
  options?: { label: string }[];
  multi_select?: boolean;
  answer?: string;
  expires_at?: string | null;
  run_title?: string | null;
  priority?: string;
}

/** Slack, incoming webhook: plain text, so that nothing in a question mentions anybody. */
function slack({ title, text, options }: Notice, link: AnswerLink | undefined): Rendered {
  const plain = (text: string) => ({ type: 'plain_text', text, emoji: false });
  const section = (text: string) => ({ type: 'section', text: plain(text) });
  const blocks = [
    { type: 'header', text: plain(cut(title, 150)) },
    ...(text === '' ? [] : [section(text)]),
    ...(options.length === 0 ? [] : [section(cut(listOf(options), 2900))]),
    ...(link?.url === undefined
      ? []
      : [{ type: 'actions', elements: [{ type: 'button', text: plain('Answer'), url: link.url }] }]),
  ];
  const escaped = title.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  return { body: JSON.stringify({ text: escaped, blocks }), headers: JSON_TYPE };
}

/** Discord: no mentions. */
function discord({ title, text, options }: Notice, link: AnswerLink | undefined): Rendered {
  const content = cut([title, text, listOf(options)].filter(line => line !== '').join('\n'), LENGTHS.discord);
  const body = { content: link?.url ? `${content}\n${link.url}` : content, allowed_mentions: { parse: [] } };
  return { body: JSON.stringify(body), headers: JSON_TYPE };
}

/** Teams, Workflows: an adaptive card. */
function teams({ title, text, options }: Notice, link: AnswerLink | undefined): Rendered {
  const block = (text: string, more: object = {}) => ({ type: 'TextBlock', text, wrap: true, ...more });
  const content = {
    $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
    type: 'AdaptiveCard',
    version: '1.4',
    body: [
      block(title, { weight: 'Bolder' }),
      ...[text, listOf(options)].filter(line => line !== '').map(line => block(line)),
    ],
    ...(link?.url !== undefined && { actions: [{ type: 'Action.OpenUrl', title: 'Answer', url: link.url }] }),
  };
  const attachment = { contentType: 'application/vnd.microsoft.card.adaptive', content };
  return { body: JSON.stringify({ type: 'message', attachments: [attachment] }), headers: JSON_TYPE };
}

/** ntfy: the options as buttons that answer at once, if they are few; else one that opens the page. */
function ntfy(notice: Notice, link: AnswerLink | undefined, channel: Channel): Rendered {
  const { title, text, options, multiSelect, isUrgent } = notice;
  const { topic, token } = channel;
  const fits = options.length > 0 && options.length <= BUTTONS && !multiSelect;
  const open = link?.url === undefined ? [] : [{ action: 'view', label: 'Answer', url: link.url }];
  const buttons = link && fits ? options.flatMap(label => buttonOf(label, link, channel)) : [];
  const body = {
    ...{ topic, title, message: text === '' ? title : text, priority: isUrgent ? 5 : 3 },
    ...(link?.url !== undefined && { click: link.url }),
    actions: buttons.length > 0 ? buttons : open,
  };
  const headers = token === undefined ? JSON_TYPE : { ...JSON_TYPE, authorization: `Bearer ${token}` };
  return { body: JSON.stringify(body), headers };
}

/** A button that answers: by the reply topic, or by the page of the link. */
function buttonOf(label: string, link: AnswerLink, { url, reply_topic }: Channel): object[] {
  const press = { action: 'http', label: cut(label, 40), method: 'POST', clear: true };
  if (reply_topic !== undefined) {
    return [{ ...press, url: new URL(reply_topic, url).href, body: `${link.token} ${label}` }];
  }
  if (link.url === undefined) return [];
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return [{ ...press, url: link.url, headers, body: new URLSearchParams({ selected: label }).toString() }];
}

function listOf(options: string[]): string {
  return options.map(label => `- ${label}`).join('\n');
}

/** A text without what steers a display, cut to a length. */
function cut(text: string, length: number): string {
  const shown = text.split(/\r?\n/).map(printable).join('\n');
  return shown.length <= length ? shown : `${shown.slice(0, length - 1).toWellFormed()}…`;
}

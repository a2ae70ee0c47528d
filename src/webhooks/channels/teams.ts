import { type HttpChannel, JSON_TYPE } from './channel.ts';

/** Lines of a card at most. Each takes 70 bytes beside its text. */
const LINES = 100;

/** Teams, by a workflow that posts adaptive cards. Its text runs know no Markdown. */
export const teams: HttpChannel = {
  // A message has at most 28 KB, options and all, and a character up to three bytes.
  length: 4000,

  request({ notice: { title, text, list }, link, to }) {
    const run = (text: string, more: object = {}) => ({
      type: 'RichTextBlock',
      inlines: [{ type: 'TextRun', text, ...more }],
    });
    const [lines, options] = [linesOf(text), linesOf(list)];
    const content = {
      $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
      type: 'AdaptiveCard',
      version: '1.4',
      body: [
        run(title, { weight: 'Bolder' }),
        ...[...lines.slice(0, LINES - options.length), ...options].map(line => run(line)),
      ],
      ...(link?.url !== undefined && { actions: [{ type: 'Action.OpenUrl', title: 'Answer', url: link.url }] }),
    };
    const attachment = { contentType: 'application/vnd.microsoft.card.adaptive', content };
    const body = JSON.stringify({ type: 'message', attachments: [attachment] });
    return { url: to.url, headers: JSON_TYPE, body };
  },
};

function linesOf(text: string): string[] {
  return text.split('\n').filter(line => line !== '');
}

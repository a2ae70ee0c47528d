import { type HttpChannel, JSON_TYPE } from './channel.ts';
import { listOf } from './notice.ts';

/** Lines of a card at most. */
const LINES = 100;

/** Teams, by a workflow that posts adaptive cards. Its text runs know no Markdown. */
export const teams: HttpChannel = {
  length: 8000,

  request({ notice: { title, text, options }, link, to }) {
    const run = (text: string, more: object = {}) => ({
      type: 'RichTextBlock',
      inlines: [{ type: 'TextRun', text, ...more }],
    });
    const lines = [text, listOf(options)].filter(part => part !== '').flatMap(part => part.split('\n'));
    const content = {
      $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
      type: 'AdaptiveCard',
      version: '1.4',
      body: [
        run(title, { weight: 'Bolder' }),
        ...lines
          .filter(line => line !== '')
          .slice(0, LINES)
          .map(line => run(line)),
      ],
      ...(link?.url !== undefined && { actions: [{ type: 'Action.OpenUrl', title: 'Answer', url: link.url }] }),
    };
    const attachment = { contentType: 'application/vnd.microsoft.card.adaptive', content };
    const body = JSON.stringify({ type: 'message', attachments: [attachment] });
    return { url: to.url, headers: JSON_TYPE, body };
  },
};

import { escaped } from '../../html.ts';
import type { MailChannel } from './channel.ts';

/**
 * Mail: plain text, and the same as simple HTML. All mails about a question are one thread. Each names the first one,
 * whose id follows from the question. So a repeat has the id of the mail that it repeats.
 */
export const email: MailChannel = {
  length: 20_000,

  mail({ notice, link, to }) {
    const { event_id, event_type, question_id, subject, title, text, options, list, isOpen, isUrgent } = notice;
    const { from = '', to: recipients = '' } = to;
    const domain = from.slice(from.lastIndexOf('@') + 1).replaceAll(/[^\w.-]/g, '');
    const idOf = (name: string) => `<${name}@${domain}>`;
    const first = question_id === undefined ? undefined : idOf(question_id);
    const isFirst = first !== undefined && event_type === 'forum.question.opened';
    const lines = [title, text, list, ...(link?.url ? [`Answer: ${link.url}`] : [])].filter(part => part !== '');
    const html = [
      `<p><strong>${escaped(title)}</strong></p>`,
      ...(text === '' ? [] : [`<p>${escaped(text).replaceAll('\n', '<br>')}</p>`]),
      ...(options.length === 0 ? [] : [`<ul>${options.map(label => `<li>${escaped(label)}</li>`).join('')}</ul>`]),
      ...(link?.url ? [`<p><a href="${escaped(link.url)}">Answer</a></p>`] : []),
    ];
    return {
      from,
      to: recipients.split(',').map(address => address.trim()),
      // A mail program keeps a thread together by its subject, too.
      subject: isFirst || first === undefined ? subject : `Re: ${subject}`,
      text: lines.join('\n\n'),
      html: html.join('\n'),
      messageId: isFirst ? first : idOf(event_id),
      ...(first !== undefined && !isFirst && { references: first }),
      isUrgent: isUrgent && isOpen,
    };
  },
};

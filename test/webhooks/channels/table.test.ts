import { describe, expect, it } from 'vitest';
import { sampleEvent } from '../../../src/events/event-types.ts';
import type { HttpChannel } from '../../../src/webhooks/channels/channel.ts';
import { noticeOf, type Told } from '../../../src/webhooks/channels/notice.ts';
import { channels } from '../../../src/webhooks/channels/table.ts';
import { formatFields } from '../../../src/webhooks/schemas.ts';

const LINK = 'https://forum.example/a/token';
const HANDLES = ['handle-0', 'handle-1', 'handle-2', 'handle-3'];
const settings = {
  ...{ topic: 'alerts', chat_id: '-1001', bot_token: '42:secret', channel: 'C01', app_token: 'xapp-1' },
  ...{ from: 'forumbus@forum.example', to: 'ana@forum.example, ben@forum.example' },
};
type Name = keyof typeof channels;
// Those of Web Push are encrypted: see push.test.ts.
const names = (Object.keys(channels) as Name[]).filter(name => name !== 'webpush');
const vapid = { publicKey: '', privateKey: '', subject: '' };
const byHttp = names.filter(name => 'request' in channels[name]);
const opened: Told = sampleEvent('forum.question.opened');
const answered: Told = sampleEvent('forum.question.answered');
const asking = (payload: object): Told => ({ ...opened, payload: { ...opened.payload, ...payload } });

interface Options {
  url?: string | undefined;
  withLink?: boolean;
  reference?: string;
  more?: object;
}

/** The message of a channel about an event, with only those settings that its format takes. */
function messageOf(name: Name, told: Told, { url = LINK, withLink = true, more = {} }: Options = {}) {
  const { needs, takes } = formatFields[name];
  const own = Object.entries(settings).filter(([key]) => [...needs, ...takes].includes(key as keyof typeof settings));
  const to = { ...Object.fromEntries(own), url: `https://${name}.example/`, ...more };
  const link = withLink ? { url, handles: HANDLES } : undefined;
  return { notice: noticeOf(told, channels[name].length), link, to, vapid };
}

function requestOf(name: Name, told: Told = opened, options: Options = {}) {
  const { request } = channels[name] as HttpChannel;
  const { body, ...rest } = request(messageOf(name, told, options), options.reference);
  return { ...rest, body: JSON.parse(body.toString()) };
}

function mailOf(told: Told = opened, options: Options = {}) {
  const { email } = channels;
  if (!('mail' in email)) throw new Error('E-mail sends no mails.');
  return email.mail(messageOf('email', told, options));
}

/** All that a channel sends, as text. */
const textOf = (name: Name, told: Told, options: Options = {}) =>
  JSON.stringify(name === 'email' ? mailOf(told, options) : requestOf(name, told, options).body);

describe('the message of', () => {
  it.each(names)('%s says how a question ended and who answered, and steers no display', name => {
    const text = textOf(name, answered, { withLink: false });
    expect(text).toContain('builder in run-7 has an answer');
    expect(text).toContain('Answer: Europe.');
    expect(text).toContain('Answered by ana');
    expect(text).not.toContain(LINK);
    expect(text).not.toContain('handle-');
    const steered = textOf(name, asking({ question: 'a\u202eb\u0007' }));
    expect([steered.includes('\u202e'), steered.includes('\u0007'), steered.includes('\\u0007')]).toEqual([
      false,
      false,
      false,
    ]);
  });

  it.each(names)('%s is cut, however long its texts are', name => {
    const long = { question: 'q'.repeat(16_000), context: 'c\n'.repeat(8000), run_title: 'r'.repeat(500) };
    const text = textOf(name, asking({ ...long, options: Array(10).fill({ label: 'o'.repeat(200) }) }));
    expect(text).toContain('qqq');
    expect(text).toContain('r'.repeat(100));
    expect(text.length).toBeLessThan(60_000);
  });

  /** What each service takes at most, and what of the message counts. */
  // biome-ignore lint/suspicious/noExplicitAny: as each channel has it
  const limits: Partial<Record<Name, [most: number, of: (body: any) => number]>> = {
    slack: [
      3000,
      ({ blocks }) => Math.max(...blocks.map((block: { text?: { text: string } }) => block.text?.text.length ?? 0)),
    ],
    discord: [2000, ({ content }) => content.length],
    teams: [28 * 1024, body => Buffer.byteLength(JSON.stringify(body))],
    ntfy: [4096, ({ message }) => Buffer.byteLength(message)],
    telegram: [4096, ({ text }) => text.length],
  };

  it.each(Object.entries(limits))(
    '%s fits its limit and shows its options, however long its text is',
    (name, limit) => {
      const [most, of] = limit;
      for (const letter of ['q', '漢', '😀', '"', '\u0007', '漢\n']) {
        const label = (option: number) => `${option} ${'漢'.repeat(20)}`;
        const options = Array.from({ length: 10 }, (_, option) => ({ label: label(option) }));
        const long = {
          question: letter.repeat(8000),
          context: letter.repeat(30_000),
          run_title: '漢'.repeat(500),
          options,
        };
        const told = { ...asking(long), agent_name: '漢'.repeat(200) };
        const { body } = requestOf(name as Name, told, { url: `https://forum.example/a/${'t'.repeat(250)}` });
        expect(of(body), letter).toBeLessThanOrEqual(most);
        for (const { label } of options) expect(JSON.stringify(body), letter).toContain(label);
      }
    },
  );

  it.each(byHttp)('%s shows options in full that its buttons must cut', name => {
    const labels = ['Europe', 'America'].map(end => `${'Deploy the new version to all regions of '.repeat(2)}${end}`);
    const { body } = requestOf(name, asking({ options: labels.map(label => ({ label })) }));
    for (const label of labels) expect(JSON.stringify(body)).toContain(label);
  });

  it('an incoming webhook of Slack has plain text and a link', () => {
    const { url, body } = requestOf('slack', asking({ question: '<!channel> & <@U1>?' }), {
      more: { app_token: undefined, bot_token: undefined, channel: undefined },
    });
    expect(url).toBe('https://slack.example/');
    expect(body.text).toBe('builder in run-7 asks');
    expect(body.blocks).toMatchObject([
      { type: 'header', text: { type: 'plain_text', text: 'builder in run-7 asks' } },
      { type: 'section', text: { type: 'plain_text', text: '<!channel> & <@U1>?\nRun: Move to Europe' } },
      { type: 'section', text: { type: 'plain_text', text: '- eu-west-1\n- us-east-1' } },
      { type: 'actions', elements: [{ type: 'button', text: { text: 'Answer' }, url: LINK }] },
    ]);
  });

  it('an app of Slack has a button for each option, and can be changed', () => {
    const sent = requestOf('slack');
    expect(sent).toMatchObject({
      url: 'https://slack.example/chat.postMessage',
      headers: { authorization: 'Bearer 42:secret' },
      body: { channel: 'C01', unfurl_links: false },
    });
    expect(sent.body.blocks.at(-1).elements).toMatchObject([
      { action_id: 'answer:0', text: { text: 'eu-west-1' }, value: 'handle-0' },
      { action_id: 'answer:1', text: { text: 'us-east-1' }, value: 'handle-1' },
      { action_id: 'open', url: LINK },
    ]);
    const changed = requestOf('slack', answered, { withLink: false, reference: 'C77 1700.1' });
    expect(changed).toMatchObject({ url: 'https://slack.example/chat.update', body: { channel: 'C77', ts: '1700.1' } });
    expect(changed.body.blocks.map(({ type }: { type: string }) => type)).toEqual(['header', 'section']);
  });

  it('Discord mentions nobody, shows markup as it is, and keeps its link however long the question is', () => {
    const { url, method, body } = requestOf(
      'discord',
      asking({ question: '@everyone [x](https://evil.example) '.repeat(99) }),
    );
    expect([method, url]).toEqual(['POST', 'https://discord.example/?wait=true']);
    expect(body.allowed_mentions).toEqual({ parse: [] });
    expect(body.content).toContain('\\@everyone \\[x\\]\\(https://evil.example\\)');
    expect(body.content.length).toBeLessThanOrEqual(2000);
    expect(body.content.endsWith(`\n${LINK}`)).toBe(true);
    const options = { more: { url: 'https://discord.example/api/webhooks/1/secret?thread_id=5' }, reference: '99' };
    expect(requestOf('discord', answered, options)).toMatchObject({
      method: 'PATCH',
      url: 'https://discord.example/api/webhooks/1/secret/messages/99?thread_id=5',
    });
  });

  it('Teams is an adaptive card without markup', () => {
    const { type, attachments } = requestOf('teams', asking({ question: '**a**\n[x](https://evil.example)' })).body;
    expect(type).toBe('message');
    expect(attachments).toMatchObject([
      {
        contentType: 'application/vnd.microsoft.card.adaptive',
        content: { type: 'AdaptiveCard', actions: [{ type: 'Action.OpenUrl', title: 'Answer', url: LINK }] },
      },
    ]);
    const [{ content }] = attachments;
    expect(new Set(content.body.map((block: { type: string }) => block.type))).toEqual(new Set(['RichTextBlock']));
    const lines = content.body.map(({ inlines }: { inlines: { text: string }[] }) => inlines[0]?.text);
    expect(lines.slice(0, 3)).toEqual(['builder in run-7 asks', '**a**', '[x](https://evil.example)']);
  });

  it('ntfy has a button for each option if they are three at most, is loud if it is urgent, and replaces itself', () => {
    const { actions, ...rest } = requestOf('ntfy', asking({ priority: 'urgent' })).body;
    const { question_id } = opened.payload;
    expect(rest).toMatchObject({
      topic: 'alerts',
      title: 'builder in run-7 asks',
      priority: 5,
      click: LINK,
      sequence_id: question_id,
    });
    expect(actions).toMatchObject([
      { action: 'http', label: 'eu-west-1', method: 'POST', url: LINK, body: 'selected=eu-west-1', clear: true },
      { action: 'http', label: 'us-east-1' },
    ]);
    const four = ['a', 'b', 'c', 'd'].map(label => ({ label }));
    for (const payload of [{ options: four }, { options: [] }, { multi_select: true }]) {
      expect(requestOf('ntfy', asking(payload)).body.actions).toEqual([{ action: 'view', label: 'Answer', url: LINK }]);
    }
    expect(requestOf('ntfy', opened, { more: { token: 'tk_1' } }).headers).toMatchObject({
      authorization: 'Bearer tk_1',
    });
    expect(requestOf('ntfy', answered, { withLink: false }).body).toMatchObject({
      priority: 2,
      sequence_id: question_id,
      actions: [],
    });
  });

  it('Telegram has a button for each option, no markup, and its link where Telegram takes it', () => {
    const { url, body } = requestOf('telegram', asking({ question: '<b>*x*</b>' }));
    expect(url).toBe('https://telegram.example/bot42:secret/sendMessage');
    expect(body).toMatchObject({
      chat_id: '-1001',
      text: 'builder in run-7 asks\n\n<b>*x*</b>\nRun: Move to Europe',
      link_preview_options: { is_disabled: true },
    });
    expect(body).not.toHaveProperty('parse_mode');
    expect(body.reply_markup.inline_keyboard).toEqual([
      [{ text: 'eu-west-1', callback_data: 'handle-0' }],
      [{ text: 'us-east-1', callback_data: 'handle-1' }],
      [{ text: 'Other answer', url: LINK }],
    ]);
    const local = requestOf('telegram', opened, { url: 'http://localhost:4010/a/token' }).body;
    expect(local.text.endsWith('\nhttp://localhost:4010/a/token')).toBe(true);
    expect(local.reply_markup.inline_keyboard).toHaveLength(2);
    const several = requestOf('telegram', asking({ multi_select: true })).body;
    expect(several.text).toContain('- eu-west-1\n- us-east-1');
    expect(several.reply_markup.inline_keyboard).toEqual([[{ text: 'Answer', url: LINK }]]);
    const changed = requestOf('telegram', answered, { withLink: false, reference: '77' });
    expect(changed.url).toMatch(/editMessageText$/);
    expect(changed.body).toMatchObject({ chat_id: '-1001', message_id: 77, reply_markup: { inline_keyboard: [] } });
  });

  it('a mail is text and the same as HTML, and all mails of a question are one thread', () => {
    const first = mailOf(asking({ question: 'Is <b>this</b> & "that"\nright?' }));
    const id = `<${opened.payload.question_id}@forum.example>`;
    expect(first).toMatchObject({
      ...{ from: 'forumbus@forum.example', to: ['ana@forum.example', 'ben@forum.example'], messageId: id },
      subject: 'builder in run-7 asks: Is <b>this</b> & "that"',
      isUrgent: false,
    });
    expect(first).not.toHaveProperty('references');
    expect(first.text).toContain(`- eu-west-1\n- us-east-1\n\nAnswer: ${LINK}`);
    expect(first.html).toContain('Is &lt;b&gt;this&lt;/b&gt; &amp; &quot;that&quot;<br>right?');
    expect(first.html).toContain(`<a href="${LINK}">Answer</a>`);
    const next = mailOf(answered, { withLink: false });
    expect(next).toMatchObject({ references: id, subject: 'Re: builder in run-7 asks: Which region?' });
    expect(next.messageId).not.toBe(id);
  });

  it.each(byHttp)('%s names no secret in its body', name => {
    expect(JSON.stringify(requestOf(name).body)).not.toMatch(/42:secret|xapp-1/);
  });
});

import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { sampleEvent } from '../../src/events/event-types.ts';
import { render } from '../../src/webhooks/formats.ts';
import { startApp } from '../helpers/app.ts';
import { startReceiver, toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';
import { withTokens } from '../helpers/tokens.ts';

const LINK = 'https://forum.example/a/token';
const link = { token: 'token', url: LINK };
const channel = { url: 'https://ntfy.example/', topic: 'alerts' };
const opened = sampleEvent('forum.question.opened');
const bodyOf = (
  format: Parameters<typeof render>[0],
  event: Parameters<typeof render>[1] = opened,
  to: typeof link | undefined = link,
) => JSON.parse(render(format, event, channel, to).body);
const asking = (payload: object) => ({ ...opened, payload: { ...opened.payload, ...payload } });

describe('the message of', () => {
  it('Slack has plain text and a link', () => {
    const { text, blocks } = bodyOf('slack', asking({ question: '<!channel> & <@U1>?' }));
    expect(text).toBe('builder in run-7 asks');
    expect(blocks).toMatchObject([
      { type: 'header', text: { type: 'plain_text', text: 'builder in run-7 asks' } },
      { type: 'section', text: { type: 'plain_text', text: '<!channel> & <@U1>?\nRun: Move to Europe' } },
      { type: 'section', text: { type: 'plain_text', text: '- eu-west-1\n- us-east-1' } },
      { type: 'actions', elements: [{ type: 'button', text: { text: 'Answer' }, url: LINK }] },
    ]);
  });

  it('Discord mentions nobody, and keeps its link however long the question is', () => {
    const { content, ...rest } = bodyOf('discord', asking({ question: '@everyone '.repeat(500) }));
    expect(rest).toEqual({ allowed_mentions: { parse: [] } });
    expect(content.length).toBeLessThanOrEqual(2000);
    expect(content.endsWith(`\n${LINK}`)).toBe(true);
  });

  it('Teams is an adaptive card', () => {
    const { type, attachments } = bodyOf('teams');
    expect(type).toBe('message');
    expect(attachments).toMatchObject([
      {
        contentType: 'application/vnd.microsoft.card.adaptive',
        content: { type: 'AdaptiveCard', actions: [{ type: 'Action.OpenUrl', title: 'Answer', url: LINK }] },
      },
    ]);
  });

  it('ntfy has a button for each option if they are three at most, and is loud if it is urgent', () => {
    const { actions, ...rest } = bodyOf('ntfy', asking({ priority: 'urgent' }));
    expect(rest).toMatchObject({ topic: 'alerts', title: 'builder in run-7 asks', priority: 5, click: LINK });
    expect(actions).toMatchObject([
      { action: 'http', label: 'eu-west-1', method: 'POST', url: LINK, body: 'selected=eu-west-1', clear: true },
      { action: 'http', label: 'us-east-1' },
    ]);
    const four = ['a', 'b', 'c', 'd'].map(label => ({ label }));
    for (const payload of [{ options: four }, { options: [] }, { multi_select: true }]) {
      expect(bodyOf('ntfy', asking(payload)).actions).toEqual([{ action: 'view', label: 'Answer', url: LINK }]);
    }
    expect(render('ntfy', opened, { ...channel, token: 'tk_1' }, link).headers.authorization).toBe('Bearer tk_1');
  });

  it.each(['slack', 'discord', 'teams', 'ntfy'] as const)(
    '%s says how a question ended, and steers no display',
    format => {
      const answered = sampleEvent('forum.question.answered');
      const text = JSON.stringify(JSON.parse(render(format, answered, channel, undefined).body));
      expect(text).toContain('builder in run-7 has an answer');
      expect(text).toContain('Answer: Europe.');
      expect(text).not.toContain(LINK);
      expect(JSON.stringify(bodyOf(format, asking({ question: 'a\u202eb\u0007' })))).toContain('a\\\\u{202e}b\\\\u{7}');
    },
  );
});

it('a press on a button of ntfy answers the question once; others and later presses change nothing', async () => {
  const config = { ...toLoopback, PUBLIC_URL: 'http://forum.example' };
  const service = await startApp('sqlite', { config });
  onTestFinished(() => service.close());
  const { admin } = await withTokens(service);
  const server = await startReceiver();
  const wanted = { name: 'phone', url: server.url, format: 'ntfy', settings: { topic: 'alerts', token: 'tk_secret' } };
  const created = await admin('POST', '/webhooks', {
    ...wanted,
    event_types: ['forum.question.*'],
    answer_links: true,
  });
  expect(created.status).toBe(201);
  expect(created.body.url).toBe(`${new URL(server.url).origin}/…`);
  expect(JSON.stringify(created.body)).not.toContain('tk_secret');
  expect((await admin('POST', '/webhooks/phone/ping')).body).toMatchObject({ ok: true });
  const asked = await admin('POST', '/control-signals', signal('guidance_request', { options: ['Yes', 'No'] }));
  await vi.waitFor(() => expect(server.received).toHaveLength(2), { timeout: 10_000 });
  expect(server.received[1]?.headers.authorization).toBe('Bearer tk_secret');
  const [yes, no] = JSON.parse(server.received[1]?.body ?? '').actions;
  const press = ({ url, headers, body }: { url: string; headers: Record<string, string>; body: string }) =>
    service.app.inject({ method: 'POST', url: new URL(url).pathname, headers, payload: body });
  expect((await Promise.all([press(no), press(yes), press(yes)])).map(({ statusCode }) => statusCode).sort()).toEqual([
    200, 412, 412,
  ]);
  expect((await press(yes)).statusCode).toBe(412);
  const { body } = await admin('GET', `/questions/${asked.body.question.question_id}`);
  expect(body).toMatchObject({ state: 'answered', answered_in: 'link', answered_by: { type: 'human', name: 'phone' } });
});

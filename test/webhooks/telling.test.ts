import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { startDouble } from '../helpers/channels.ts';
import { ManualClock } from '../helpers/clock.ts';
import { engines } from '../helpers/engines.ts';
import { startReceiver, toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

const soon = { timeout: 120_000, interval: 50 };
const event_types = ['forum.question.*'];

async function ask(service: TestApp, fields: object = {}): Promise<string> {
  const given = signal('guidance_request', { options: ['Yes', 'No'], question: 'Which *region*?', ...fields });
  const { status, body } = await service.send('POST', '/control-signals', given);
  expect(status, JSON.stringify(body)).toBe(201);
  return body.question.question_id;
}

async function answer(service: TestApp, id: string): Promise<void> {
  const given = { answer: 'Yes.', actor: { type: 'operator', name: 'ana' } };
  expect((await service.send('PUT', `/questions/${id}/answer`, given)).status).toBe(200);
}

describe.each(engines)('a message on %s', engine => {
  it('of Discord is changed when its question has ended; where it is gone, another one says so', async () => {
    const double = await startDouble('discord');
    const service = await startApp(engine, { config: toLoopback });
    onTestFinished(() => service.close());
    const wanted = { name: 'room', format: 'discord', url: `${double.url}api/webhooks/1/secret`, event_types };
    expect((await service.send('POST', '/webhooks', wanted)).status).toBe(201);
    const shown = (...texts: string[]) =>
      vi.waitFor(async () => {
        const { messages } = await double.seen();
        expect(messages.map(({ content }: { content: string }) => content)).toEqual(
          texts.map(text => expect.stringContaining(text)),
        );
      }, soon);
    const first = await ask(service);
    await shown('Which \\*region\\*?');
    await answer(service, first);
    await shown('Answered by ana');
    const second = await ask(service);
    await shown('Answered by ana', 'Which \\*region\\*?');
    await double.act('delete');
    await answer(service, second);
    await shown('Answered by ana');
    // A reminder is another message; both are changed.
    const third = await ask(service, { remind_after_seconds: 1 });
    await shown('Answered by ana', 'asks', 'still waits');
    await answer(service, third);
    await shown('Answered by ana', 'Answered by ana', 'Answered by ana');
    expect((await service.send('GET', '/webhooks/room')).body).toMatchObject({ failures: 0 });
  });

  it('cannot be changed after a month: another one says how the question has ended', async () => {
    const clock = new ManualClock();
    const double = await startDouble('discord');
    const service = await startApp(engine, { config: toLoopback, overrides: { clock } });
    onTestFinished(() => service.close());
    const wanted = { name: 'room', format: 'discord', url: `${double.url}api/webhooks/1/secret`, event_types };
    expect((await service.send('POST', '/webhooks', wanted)).status).toBe(201);
    const id = await ask(service, { priority: 'low' });
    const count = (number: number) =>
      vi.waitFor(async () => expect((await double.seen()).messages).toHaveLength(number), soon);
    await count(1);
    // Its lease must not run out by the leap.
    await vi.waitFor(async () => {
      expect((await service.send('GET', '/webhooks/room/deliveries')).body.items).toMatchObject([{ status: 'sent' }]);
    }, soon);
    expect(await sqlBeside(service.url, 'select * from webhook_messages')).toHaveLength(1);
    clock.advance(31 * 24 * 3_600_000);
    await vi.waitFor(async () => {
      expect(await sqlBeside(service.url, 'select * from webhook_messages')).toEqual([]);
    }, soon);
    await answer(service, id);
    await count(2);
  });
});

it('a channel that asks for a pause gets it, and nothing is told twice', async () => {
  const double = await startDouble('telegram', ['42:secret', '-1001']);
  const service = await startApp('sqlite', { config: toLoopback });
  onTestFinished(() => service.close());
  const settings = { chat_id: '-1001', bot_token: '42:secret' };
  const wanted = { name: 'phone', format: 'telegram', url: double.url, settings, event_types, answer_links: true };
  expect((await service.send('POST', '/webhooks', wanted)).status).toBe(201);
  const description = 'Too Many Requests: retry after 3600';
  const parameters = { retry_after: 3600 };
  await double.act('fail', { status: 429, body: { ok: false, error_code: 429, description, parameters } });
  await ask(service);
  await vi.waitFor(async () => {
    const [{ attempts, next_at }] = (await service.send('GET', '/webhooks/phone/deliveries')).body.items;
    expect(attempts).toMatchObject([{ status: 429, error: `Telegram: ${description}` }]);
    expect(Date.parse(next_at) - Date.now()).toBeGreaterThan(3_500_000);
  }, soon);
});

it('a reminder has the buttons of the question', async () => {
  const double = await startDouble('telegram', ['42:secret', '-1001']);
  const service = await startApp('sqlite', { config: toLoopback });
  onTestFinished(() => service.close());
  const settings = { chat_id: '-1001', bot_token: '42:secret' };
  const wanted = { name: 'phone', format: 'telegram', url: double.url, settings, event_types, answer_links: true };
  expect((await service.send('POST', '/webhooks', wanted)).status).toBe(201);
  await ask(service, { remind_after_seconds: 1, context: 'More of it.' });
  await vi.waitFor(async () => {
    const { messages } = await double.seen();
    expect(messages).toMatchObject([{}, { text: expect.stringContaining('More of it.') }]);
    const [first, second] = messages.map(({ reply_markup }: { reply_markup: object }) => JSON.stringify(reply_markup));
    expect(second).toBe(first);
  }, soon);
});

it('people hear that an agent has its answer only if they want that by name', async () => {
  const double = await startDouble('discord');
  const service = await startApp('sqlite', { config: toLoopback });
  onTestFinished(() => service.close());
  const wanted = { format: 'discord', url: `${double.url}api/webhooks/1/secret` };
  const create = (name: string, types: string[]) =>
    service.send('POST', '/webhooks', { ...wanted, name, event_types: types });
  await create('room', event_types);
  await create('other', ['forum.question.acknowledged']);
  const id = await ask(service);
  await answer(service, id);
  expect((await service.send('POST', `/questions/${id}/acknowledge`)).status).toBe(200);
  const event_type = 'forum.question.acknowledged';
  for (const [name, status] of Object.entries({ room: 'discarded', other: 'sent' })) {
    await vi.waitFor(async () => {
      const [latest] = (await service.send('GET', `/webhooks/${name}/deliveries`)).body.items;
      expect(latest).toMatchObject({ event_type, status });
    }, soon);
  }
});

it('a question for two has no button that answers: its link leads to the page, and the message says who is missing', async () => {
  const double = await startDouble('telegram', ['42:secret', '-1001']);
  const reached = await startReceiver();
  const service = await startApp('sqlite', { config: { ...toLoopback, PUBLIC_URL: 'https://forum.example' } });
  onTestFinished(() => service.close());
  const settings = { chat_id: '-1001', bot_token: '42:secret' };
  const wanted = { name: 'phone', format: 'telegram', url: double.url, settings, event_types, answer_links: true };
  expect((await service.send('POST', '/webhooks', wanted)).status).toBe(201);
  const program = { name: 'program', url: reached.url, event_types, answer_links: true };
  expect((await service.send('POST', '/webhooks', program)).status).toBe(201);
  const id = await ask(service, { approvals: 2 });
  const url = `https://forum.example/q/${id}`;
  const say = async (name: string) => {
    const given = { selected: ['Yes'], actor: { type: 'operator', name } };
    expect((await service.send('PUT', `/questions/${id}/answer`, given)).status).toBe(200);
  };
  const shown = (...texts: string[][]) =>
    vi.waitFor(async () => {
      const { messages } = await double.seen();
      expect(messages).toHaveLength(texts.length);
      texts.forEach((parts, index) => {
        for (const part of parts) expect(messages[index].text).toContain(part);
      });
      return messages;
    }, soon);
  const first = ['asks', 'Two people must give the same answer.', '- Yes\n- No'];
  const [message] = await shown(first);
  expect(message.reply_markup.inline_keyboard).toEqual([[{ text: 'Answer', url }]]);
  await say('ana');
  const [, second] = await shown(first, ['needs the same answer of another person', 'ana answered: Yes']);
  expect(second.reply_markup.inline_keyboard).toEqual([[{ text: 'Answer', url }]]);
  await say('ben');
  await shown(['Answer: Yes', 'Answered by ana and ben'], ['Answer: Yes', 'Answered by ana and ben']);
  await vi.waitFor(() => {
    const bodies = reached.received.map(({ body }) => JSON.parse(body));
    expect(bodies.map(({ type, answerurl }) => [type, answerurl])).toEqual([
      ['forum.question.opened', url],
      ['forum.question.approved', url],
      ['forum.question.answered', undefined],
    ]);
  }, soon);
});

import { pino } from 'pino';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { type Double, startDouble } from '../helpers/channels.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { forThisTest } from '../helpers/process.ts';
import { toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';

const soon = { timeout: 120_000, interval: 50 };

interface TelegramMessage {
  message_id: number;
  chat: { id: number };
  text: string;
  reply_markup: { inline_keyboard: { text: string; callback_data: string }[][] };
}

const press = (double: Double, { message_id, reply_markup }: TelegramMessage, option: number, person = 'ana') =>
  double.act('press', { message_id, data: reply_markup.inline_keyboard[option]?.[0]?.callback_data, person });

async function create(service: TestApp, { url }: Double, name: string, chat_id: string): Promise<void> {
  const settings = { chat_id, bot_token: '42:secret' };
  const wanted = { name, format: 'telegram', url, settings, answer_links: true };
  const created = await service.send('POST', '/webhooks', { ...wanted, event_types: ['forum.question.*'] });
  expect(created.status, JSON.stringify(created.body)).toBe(201);
}

async function ask(service: TestApp, question: string): Promise<string> {
  const body = signal('guidance_request', { agent_name: question, question, options: ['Yes', 'No'] });
  const answer = await service.send('POST', '/control-signals', body);
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  return answer.body.question.question_id;
}

/** The messages about a question, once there are so many. */
const messagesOf = (double: Double, question: string, count: number) =>
  vi.waitFor(async () => {
    const found: TelegramMessage[] = (await double.seen()).messages.filter(({ text }: TelegramMessage) =>
      text.includes(question),
    );
    expect(found).toHaveLength(count);
    return found as [TelegramMessage, ...TelegramMessage[]];
  }, soon);

const answered = (service: TestApp, id: string, fields: object) =>
  vi.waitFor(async () => {
    expect((await service.send('GET', `/questions/${id}`)).body).toMatchObject({ state: 'answered', ...fields });
  }, soon);

describe.each(engines)('presses on %s', engine => {
  it('come by one request at a time, though two webhooks have one bot and, where they can, two processes run', async () => {
    const double = await startDouble('telegram', ['42:secret', '-1001', '-1002']);
    const database = await forThisTest(scratchDatabase(engine));
    const start = async () => {
      const service = await startApp(engine, { database, config: toLoopback });
      onTestFinished(() => service.close());
      return service;
    };
    const first = await start();
    const second = engine === 'sqlite' ? first : await start();
    await create(first, double, 'team', '-1001');
    await create(first, double, 'boss', '-1002');
    const id = await ask(first, 'Alpha?');
    const [one, other] = await messagesOf(double, 'Alpha?', 2);
    const team = one.chat.id === -1001 ? one : (other as TelegramMessage);
    // Of the other chat, with a button of this one.
    await double.act('press', {
      message_id: team.message_id,
      data: team.reply_markup.inline_keyboard[0]?.[0]?.callback_data,
      person: 'eve',
      chat: -1002,
    });
    await press(double, team, 1);
    await answered(first, id, { answer: 'No', answered_by: { type: 'human', name: 'ana via team' } });
    // Both messages have changed, in both chats.
    await vi.waitFor(async () => {
      const texts = (await double.seen()).messages.map(({ text }: TelegramMessage) => text);
      expect(texts.map((text: string) => text.includes('Answered by ana via team'))).toEqual([true, true]);
    }, soon);
    // The one that follows goes; the other one takes over, where that has come to.
    if (second === first) await first.restart();
    else await first.close();
    const next = await ask(second, 'Beta?');
    const [message] = await messagesOf(double, 'Beta?', 2);
    await press(double, message, 0, 'ben');
    await answered(second, next, { answer: 'Yes' });
    // Whoever has pressed is told after the answer is stored.
    await vi.waitFor(async () => {
      const { calls, waiting } = await double.seen();
      expect(waiting).toBeLessThanOrEqual(1);
      expect(calls.filter((call: string) => call === 'answerCallbackQuery')).toHaveLength(3);
    }, soon);
  });

  it('are heard of a channel whose name has another case than its webhook says', async () => {
    const double = await startDouble('telegram', ['42:secret', '@MyChannel']);
    const service = await startApp(engine, { config: toLoopback });
    onTestFinished(() => service.close());
    await create(service, double, 'team', '@mychannel');
    const id = await ask(service, 'Alpha?');
    const [message] = await messagesOf(double, 'Alpha?', 1);
    await press(double, message, 0);
    await vi.waitFor(async () => expect((await double.seen()).told).toHaveLength(1), soon);
    expect((await service.send('GET', `/questions/${id}`)).body).toMatchObject({ state: 'answered', answer: 'Yes' });
  });

  it('are heard of a webhook that changes its bot, and of none that is disabled', async () => {
    const [double, next] = [
      await startDouble('telegram', ['42:secret', '-1001']),
      await startDouble('telegram', ['43:other', '-1001']),
    ];
    const service = await startApp(engine, { config: toLoopback });
    onTestFinished(() => service.close());
    await create(service, double, 'team', '-1001');
    const id = await ask(service, 'Alpha?');
    const [message] = await messagesOf(double, 'Alpha?', 1);
    const change = { url: next.url, settings: { chat_id: '-1001', bot_token: '43:other' } };
    expect((await service.send('PATCH', '/webhooks/team', change)).status).toBe(200);
    await vi.waitFor(async () => expect((await next.seen()).calls).toContain('getUpdates'), soon);
    // A button stays what it was, whichever bot passes it on.
    await next.act('press', {
      data: message.reply_markup.inline_keyboard[1]?.[0]?.callback_data,
      person: 'ana',
      chat: -1001,
    });
    await answered(service, id, { answer: 'No' });
    const isAsked = (wanted: boolean) =>
      vi.waitFor(async () => {
        const { told, isAsked } = await next.seen();
        expect({ told: told.length, isAsked }).toEqual({ told: 1, isAsked: wanted });
      }, soon);
    await isAsked(true);
    expect((await service.send('PATCH', '/webhooks/team', { enabled: false })).status).toBe(200);
    await isAsked(false);
    const polls = async () => (await next.seen()).calls.filter((call: string) => call === 'getUpdates').length;
    const before = await polls();
    for (const bot of [double, next]) await press(bot, message, 0);
    expect(await polls()).toBe(before);
  });
});

it('a bot that refuses is asked again later, and its token is in no log', async () => {
  const double = await startDouble('telegram', ['42:right', '-1001']);
  const texts: string[] = [];
  const log = pino({}, { write: (text: string) => void texts.push(text) });
  const service = await startApp('sqlite', { config: toLoopback, log });
  onTestFinished(() => service.close());
  await create(service, double, 'team', '-1001');
  await vi.waitFor(() => expect(texts.join()).toContain('the presses of a channel cannot be read'), soon);
  expect((await service.send('POST', '/webhooks/team/ping')).body).toMatchObject({
    ...{ ok: false, status: 401, error: 'Telegram: Unauthorized' },
  });
  expect(texts.join()).not.toContain('42:secret');
  expect(JSON.stringify((await service.send('GET', '/webhooks')).body)).not.toContain('42:secret');
});

it('a topic whose connection is lost is followed again from where it was', async () => {
  const double = await startDouble('ntfy', ['tk_secret']);
  const service = await startApp('sqlite', { config: toLoopback });
  onTestFinished(() => service.close());
  const settings = { topic: 'alerts', reply_topic: 'replies', token: 'tk_secret' };
  const wanted = { name: 'phone', url: double.url, format: 'ntfy', settings, answer_links: true };
  expect((await service.send('POST', '/webhooks', { ...wanted, event_types: ['forum.question.*'] })).status).toBe(201);
  const followed = () => vi.waitFor(async () => expect((await double.seen()).followers).toBe(1), soon);
  await followed();
  for (const question of ['Alpha?', 'Beta?']) {
    const id = await ask(service, question);
    const [yes] = await vi.waitFor(async () => {
      const { messages } = await double.seen();
      const found = messages.find(({ message }: { message: string }) => message.includes(question));
      expect(found?.actions).toHaveLength(2);
      return found.actions;
    }, soon);
    await double.act('hangUp');
    await fetch(yes.url, { method: 'POST', body: yes.body });
    await followed();
    await answered(service, id, { answer: 'Yes', answered_by: { type: 'human', name: 'phone' } });
  }
  await service.restart();
  await followed();
  const { since, messages } = await double.seen();
  const replies = messages.filter(({ topic }: { topic: string }) => topic === 'replies');
  expect(since).toEqual(['all', 'all', replies[0].id, replies[1].id]);
});

it('presses are heard once each when Telegram begins to number anew, below what it had', async () => {
  const double = await startDouble('telegram', ['42:secret', '-1001']);
  const service = await startApp('sqlite', { config: toLoopback });
  onTestFinished(() => service.close());
  await create(service, double, 'team', '-1001');
  for (const question of ['Alpha?', 'Beta?', 'Gamma?']) {
    const id = await ask(service, question);
    const [message] = await messagesOf(double, question, 1);
    await press(double, message, 0);
    await answered(service, id, { answer: 'Yes', version: 2 });
    if (question === 'Alpha?') await double.act('renumber');
    else await service.restart();
  }
  // All were taken, and the next one is waited for.
  await vi.waitFor(async () => expect(await double.seen()).toMatchObject({ waiting: 0, isAsked: true }), soon);
  expect((await double.seen()).told).toHaveLength(3);
});

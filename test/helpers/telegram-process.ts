import type { ServerResponse } from 'node:http';
import { reply, serve } from './double.ts';

/*
 * What of the Bot API of Telegram is needed, for the bot with the token of the first argument: messages with inline keyboards
 * in the chats of the others, by id or as `@Channel`, and updates that wait until a later one is asked for. One request for
 * updates at a time.
 */

const [token, ...chats] = process.argv.slice(2);

interface Chat {
  id: number | string;
  username?: string;
}

interface Message {
  message_id: number;
  chat: Chat;
  text: string;
  reply_markup?: { inline_keyboard: { text: string; callback_data?: string; url?: string }[][] };
}

const messages: Message[] = [];
/** What people were shown after a press. */
const told: { person: string; text: string; show_alert: boolean }[] = [];
const calls: string[] = [];
let updates: { update_id: number; callback_query: object }[] = [];
let next = 7001;
/** After a week without updates the next one may have any id, also a lower one. */
const FEWER = 6000;
const waiting = new Map<string, string>();
/** Answers to come in place of what is right, the next first. */
const failures: { status: number; body: object }[] = [];
/** The next message arrives, and nobody hears that it did. */
let isLost = false;
let poll: { response: ServerResponse; timer: NodeJS.Timeout; offset: number } | undefined;

const refuse = (response: ServerResponse, error_code: number, description: string, more: object = {}) =>
  reply(response, error_code, { ok: false, error_code, description, ...more });
const ok = (response: ServerResponse, result: unknown) => reply(response, 200, { ok: true, result });

/** The chat of an id, or of a name in any case. */
function chatOf(chat_id: unknown): Chat | undefined {
  const name = chats.find(chat => chat.toLowerCase() === String(chat_id).toLowerCase());
  if (name === undefined) return undefined;
  return name.startsWith('@')
    ? { id: -1_000_000 - chats.indexOf(name), username: name.slice(1) }
    : { id: Number(name) };
}

/** Why Telegram would refuse a message. */
function faultOf({ text, reply_markup }: Message): string | undefined {
  if (!text) return 'Bad Request: message text is empty';
  if (text.length > 4096) return 'Bad Request: message is too long';
  for (const { text: label, callback_data, url } of reply_markup?.inline_keyboard.flat() ?? []) {
    const bytes = Buffer.byteLength(callback_data ?? '');
    if (!label) return 'Bad Request: text buttons are not allowed in the inline keyboard';
    if (callback_data === undefined ? !url?.startsWith('https://') : bytes < 1 || bytes > 64) {
      return 'Bad Request: BUTTON_DATA_INVALID';
    }
  }
  return undefined;
}

/** The updates from one on. An offset far beyond the last one counts for nothing. */
function from(offset: number) {
  const isBeyond = offset > (updates.at(-1)?.update_id ?? offset) + 10;
  return isBeyond ? updates : updates.filter(({ update_id }) => update_id >= offset);
}

function give(): void {
  if (!poll) return;
  const { response, timer, offset } = poll;
  const found = from(offset);
  if (found.length === 0) return;
  clearTimeout(timer);
  poll = undefined;
  ok(response, found);
}

await serve((request, response) => {
  if (request.path === '/control') {
    return reply(response, 200, { messages, told, calls, waiting: updates.length, isAsked: poll !== undefined });
  }
  if (request.path === '/control/press') {
    const { message_id, data, person, chat } = request.json();
    const message = messages.find(one => one.message_id === message_id);
    const id = `query-${next}`;
    waiting.set(id, person);
    const from = { id: 42, is_bot: false, first_name: person, username: person };
    const shown = chat === undefined ? message : { ...message, chat: { id: chat } };
    updates.push({ update_id: next, callback_query: { id, from, message: shown, chat_instance: '1', data } });
    next += 1;
    give();
    return reply(response, 200, { id });
  }
  if (request.path === '/control/renumber') {
    next -= FEWER;
    return reply(response, 200, {});
  }
  if (request.path === '/control/fail') {
    failures.push(request.json());
    return reply(response, 200, {});
  }
  if (request.path === '/control/lose') {
    isLost = true;
    return reply(response, 200, {});
  }
  if (request.path === '/control/delete') {
    messages.length = 0;
    return reply(response, 200, {});
  }
  const [, given, method = ''] = /^\/bot([^/]+)\/(\w+)$/.exec(request.path) ?? [];
  if (given !== token) return refuse(response, 401, 'Unauthorized');
  const body = request.json();
  calls.push(method);
  const failure = method === 'getUpdates' ? undefined : failures.shift();
  if (failure) return reply(response, failure.status, failure.body);
  const { chat_id, message_id } = body;
  switch (method) {
    case 'sendMessage': {
      const chat = chatOf(chat_id);
      if (!chat) return refuse(response, 400, 'Bad Request: chat not found');
      const fault = faultOf(body);
      if (fault) return refuse(response, 400, fault);
      const { text, reply_markup } = body;
      const message = { message_id: next++, chat, date: 1, text, reply_markup };
      messages.push(message);
      if (isLost) {
        isLost = false;
        return response.destroy();
      }
      return ok(response, message);
    }
    case 'editMessageText': {
      const message = messages.find(one => one.message_id === message_id && one.chat.id === chatOf(chat_id)?.id);
      if (!message) return refuse(response, 400, 'Bad Request: message to edit not found');
      const fault = faultOf(body);
      if (fault) return refuse(response, 400, fault);
      const { text, reply_markup } = body;
      if (message.text === text && JSON.stringify(message.reply_markup) === JSON.stringify(reply_markup)) {
        return refuse(response, 400, 'Bad Request: message is not modified: specified new message content is the same');
      }
      Object.assign(message, { text, reply_markup });
      return ok(response, message);
    }
    case 'answerCallbackQuery': {
      const person = waiting.get(body.callback_query_id);
      if (person === undefined) return refuse(response, 400, 'Bad Request: query is too old or query ID is invalid');
      if ((body.text ?? '').length > 200) return refuse(response, 400, 'Bad Request: MESSAGE_TOO_LONG');
      waiting.delete(body.callback_query_id);
      told.push({ person, text: body.text, show_alert: body.show_alert === true });
      return ok(response, true);
    }
    case 'getUpdates': {
      if (poll) {
        clearTimeout(poll.timer);
        refuse(poll.response, 409, 'Conflict: terminated by other getUpdates request');
      }
      const { offset = 0, timeout = 0 } = body;
      updates = from(offset);
      const timer = setTimeout(() => {
        poll = undefined;
        ok(response, []);
      }, timeout * 1000);
      poll = { response, timer, offset };
      response.on('close', () => {
        if (poll?.response !== response) return;
        clearTimeout(timer);
        poll = undefined;
      });
      return give();
    }
  }
  refuse(response, 404, 'Not Found: method not found');
});

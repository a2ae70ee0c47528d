import { reply, serve } from './double.ts';

/* What of the webhooks of Discord is needed: messages that can be changed, with the limits of Discord. */

interface Message {
  id: string;
  content: string;
}

let messages: Message[] = [];
let next = 10_000_000_000_000_001n;

await serve(({ method, path, query, headers, json }, response) => {
  if (path === '/control') return reply(response, 200, { messages });
  if (path === '/control/delete') {
    messages = [];
    return reply(response, 200, {});
  }
  const [, id] = /^\/api\/webhooks\/1\/secret(?:\/messages\/(\d+))?$/.exec(path) ?? ['', 'unknown'];
  if (id === 'unknown') return reply(response, 404, { message: 'Unknown Webhook', code: 10_015 });
  // As its firewall does.
  if (!headers['user-agent']) return reply(response, 403, { message: 'internal network error', code: 40_333 });
  const body = json();
  if (body.content === '' || body.content.length > 2000)
    return reply(response, 400, { content: ['BASE_TYPE_BAD_LENGTH'] });
  if (method === 'PATCH') {
    const message = messages.find(one => one.id === id);
    if (!message) return reply(response, 404, { message: 'Unknown Message', code: 10_008 });
    return reply(response, 200, Object.assign(message, body));
  }
  const message = { type: 0, content: body.content, mentions: [], id: String(next++), channel_id: '2', ...body };
  messages.push(message);
  if (query.get('wait') !== 'true') return response.writeHead(204).end();
  reply(response, 200, message);
});

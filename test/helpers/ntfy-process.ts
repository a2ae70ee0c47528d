import type { ServerResponse } from 'node:http';
import { reply, serve } from './double.ts';

/*
 * What of a server of ntfy is needed: it takes messages as JSON at its root and as text at a topic, and sends them as lines
 * of JSON to those who follow a topic (`/<topic>/json?since=<id>`), what it has kept first. The argument is the access token
 * of those who read.
 */

const [token] = process.argv.slice(2);

interface Message {
  id: string;
  topic: string;
  event: 'message';
  message: string;
  [field: string]: unknown;
}

const messages: Message[] = [];
const followers = new Set<{ topic: string; response: ServerResponse }>();
/** From where on messages were asked for. */
const since: string[] = [];
const line = (value: object) => `${JSON.stringify(value)}\n`;

function publish(topic: string, fields: object): Message {
  const message = { message: '', ...fields, id: `m${messages.length + 1}`, topic, event: 'message' as const };
  messages.push(message);
  for (const follower of followers) if (follower.topic === topic) follower.response.write(line(message));
  return message;
}

await serve(({ method, path, query, headers, body }, response) => {
  const [topic = '', form] = path.slice(1).split('/');
  if (path === '/control') return reply(response, 200, { messages, since, followers: followers.size });
  if (path === '/control/hangUp') {
    for (const follower of followers) follower.response.destroy();
    return reply(response, 200, {});
  }
  if (method === 'GET' && form === 'json') {
    if (headers.authorization !== `Bearer ${token}`) return response.writeHead(403).end();
    since.push(query.get('since') ?? '');
    const place = messages.findIndex(({ id }) => id === query.get('since'));
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.write(line({ id: 'open', event: 'open', topic }));
    for (const message of messages.slice(place + 1)) if (message.topic === topic) response.write(line(message));
    const follower = { topic, response };
    followers.add(follower);
    return response.on('close', () => followers.delete(follower));
  }
  const { topic: own, ...fields } = topic === '' ? JSON.parse(body) : { topic, message: body };
  // Three buttons at most, and 4,096 bytes.
  if ((fields.actions ?? []).length > 3 || Buffer.byteLength(fields.message) > 4096)
    return response.writeHead(400).end();
  reply(response, 200, publish(own, fields));
});

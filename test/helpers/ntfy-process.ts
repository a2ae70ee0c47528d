import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

interface Message {
  id: string;
  topic: string;
  event: 'message';
  message: string;
  [field: string]: unknown;
}

/**
 * What of a server of ntfy is needed: it takes messages as JSON at its root and as text at a topic, and sends them as lines
 * of JSON to those who follow a topic (`/<topic>/json?since=<id>`), what it has kept first.
 */
export async function startNtfy(token: string) {
  const messages: Message[] = [];
  const followers = new Set<{ topic: string; response: ServerResponse }>();
  const line = (value: object) => `${JSON.stringify(value)}\n`;

  function publish(topic: string, fields: object): Message {
    const message = { message: '', ...fields, id: `m${messages.length + 1}`, topic, event: 'message' as const };
    messages.push(message);
    for (const follower of followers) if (follower.topic === topic) follower.response.write(line(message));
    return message;
  }

  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://ntfy');
    const [topic = '', form] = pathname.slice(1).split('/');
    if (request.method === 'GET' && form === 'json') {
      if (request.headers.authorization !== `Bearer ${token}`) return void response.writeHead(403).end();
      const since = messages.findIndex(({ id }) => id === searchParams.get('since'));
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write(line({ id: 'open', event: 'open', topic }));
      for (const message of messages.slice(since + 1)) if (message.topic === topic) response.write(line(message));
      const follower = { topic, response };
      followers.add(follower);
      return void response.on('close', () => followers.delete(follower));
    }
    const chunks: Buffer[] = [];
    request.on('data', chunk => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString();
      const { topic: own, ...fields } = topic === '' ? JSON.parse(body) : { topic, message: body };
      response.writeHead(200, { 'content-type': 'application/json' }).end(line(publish(own, fields)));
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    of: (topic: string) => messages.filter(message => message.topic === topic),
    /** Cuts those who follow off. */
    hangUp: () => followers.forEach(({ response }) => void response.destroy()),
  };
}

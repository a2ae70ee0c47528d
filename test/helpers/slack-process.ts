import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { reply, serve } from './double.ts';

/*
 * What of Slack is needed: incoming webhooks below /services, the Web API below /api for the app with the tokens of the first two
 * arguments, and its Socket Mode: every interaction goes to one connection, and fails in front of the person if that does not
 * acknowledge its envelope within three seconds. The other arguments are the channels that the app is in.
 */

const [appToken, botToken, ...channels] = process.argv.slice(2);

interface Message {
  channel: string;
  ts: string;
  text: string;
  blocks: { type: string; text?: { text: string }; elements?: { text: { text: string }; value?: string }[] }[];
}

const incoming: object[] = [];
const messages: Message[] = [];
/** What only one person sees. */
const told: { user: string; text: string }[] = [];
const connections = new Set<WebSocket>();
const acknowledged = new Map<string, () => void>();
/** The next message arrives, and nobody hears that it did. */
let isLost = false;
let tickets = 0;
let opened = 0;
let next = 1;

/** Why Slack would refuse a message. */
function faultOf({ text, blocks = [] }: Message): string | undefined {
  const limits: Record<string, number> = { header: 150, section: 3000 };
  if (!text && blocks.length === 0) return 'no_text';
  const isRight = blocks.every(({ type, text, elements = [] }) => {
    if (elements.length > 25) return false;
    if (type in limits && (!text?.text || text.text.length > (limits[type] ?? 0))) return false;
    return elements.every(one => one.text.text.length <= 75 && (one.value ?? '').length <= 2000);
  });
  return isRight ? undefined : 'invalid_blocks';
}

function api(method: string, token: string, body: Message & { user: string }, response: ServerResponse): unknown {
  const answer = (more: object) => reply(response, 200, { ok: !('error' in more), ...more });
  if (token !== (method === 'apps.connections.open' ? appToken : botToken)) return answer({ error: 'invalid_auth' });
  if (method === 'apps.connections.open') {
    tickets += 1;
    const { port } = server.address() as AddressInfo;
    return answer({ url: `ws://127.0.0.1:${port}/link/?ticket=${tickets}&app_id=A1` });
  }
  if (!channels.includes(body.channel)) return answer({ error: 'channel_not_found' });
  switch (method) {
    case 'chat.postMessage': {
      const fault = faultOf(body);
      if (fault) return answer({ error: fault });
      const message = { ...body, ts: `1700000000.${String(next++).padStart(6, '0')}` };
      messages.push(message);
      if (isLost) {
        isLost = false;
        return response.destroy();
      }
      return answer({ channel: message.channel, ts: message.ts, message });
    }
    case 'chat.update': {
      const message = messages.find(({ ts, channel }) => ts === body.ts && channel === body.channel);
      if (!message) return answer({ error: 'message_not_found' });
      const fault = faultOf(body);
      if (fault) return answer({ error: fault });
      Object.assign(message, body);
      return answer({ channel: message.channel, ts: message.ts, text: message.text });
    }
    case 'chat.postEphemeral':
      told.push({ user: body.user, text: body.text });
      return answer({ message_ts: '1' });
  }
  return answer({ error: 'unknown_method' });
}

/** A press: the person sees an error unless it is acknowledged in time. */
async function press({ ts, value, person, channel }: Record<string, string>): Promise<boolean> {
  const [connection] = [...connections].slice(-1);
  if (!connection) return false;
  const envelope_id = `envelope-${next++}`;
  const done = Promise.withResolvers<boolean>();
  acknowledged.set(envelope_id, () => done.resolve(true));
  const timer = setTimeout(() => done.resolve(false), 3000);
  const message = messages.find(one => one.ts === ts);
  const payload = {
    type: 'block_actions',
    user: { id: `U-${person}`, username: person, name: person, team_id: 'T1' },
    channel: { id: channel ?? message?.channel, name: 'directmessage' },
    message,
    actions: [{ type: 'button', action_id: 'answer:0', block_id: 'b', value, action_ts: '1' }],
  };
  connection.send(JSON.stringify({ envelope_id, type: 'interactive', accepts_response_payload: false, payload }));
  return done.promise.finally(() => clearTimeout(timer));
}

const server = await serve(async (request, response) => {
  const { path } = request;
  if (path === '/control') {
    return reply(response, 200, { incoming, messages, told, connections: connections.size, opened });
  }
  if (path === '/control/press') return reply(response, 200, { acknowledged: await press(request.json()) });
  if (path === '/control/refresh') {
    for (const connection of [...connections]) {
      connection.send(
        JSON.stringify({ type: 'disconnect', reason: 'refresh_requested', debug_info: { host: 'double' } }),
      );
      setTimeout(() => connection.close(), 1000);
    }
    return reply(response, 200, {});
  }
  if (path === '/control/drop') {
    for (const connection of connections) connection.terminate();
    return reply(response, 200, {});
  }
  if (path === '/control/lose') {
    isLost = true;
    return reply(response, 200, {});
  }
  if (path === '/control/delete') {
    messages.length = 0;
    return reply(response, 200, {});
  }
  if (path.startsWith('/services/')) {
    const fault = faultOf(request.json());
    if (fault) return response.writeHead(400).end(fault);
    incoming.push(request.json());
    return response.end('ok');
  }
  const token = request.headers.authorization?.replace('Bearer ', '') ?? '';
  return api(path.replace('/api/', ''), token, request.json(), response);
});

new WebSocketServer({ server }).on('connection', (socket, { url = '' }) => {
  if (!url.includes(`ticket=${tickets}&`)) return socket.close();
  connections.add(socket);
  opened += 1;
  socket.on('close', () => connections.delete(socket));
  socket.on('message', data => {
    const { envelope_id } = JSON.parse(String(data));
    acknowledged.get(envelope_id)?.();
  });
  const debug_info = { host: 'double', build_number: 1, approximate_connection_time: 18_060 };
  socket.send(
    JSON.stringify({ type: 'hello', num_connections: connections.size, debug_info, connection_info: { app_id: 'A1' } }),
  );
});

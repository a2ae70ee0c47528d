import { createInterface } from 'node:readline';

/*
 * Stands in for the program that the Claude Agent SDK starts. A prompt is JSON, a tool call {tool_name, input, tool_use_id}.
 * It asks the SDK whether it may, and its result is the SDK's reply. An interrupt withdraws the call.
 */

const session = { session_id: '00000000-0000-4000-8000-000000000000', uuid: '00000000-0000-4000-8000-000000000001' };
const write = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);
const reply = (request_id: string, response: object) =>
  write({ type: 'control_response', response: { subtype: 'success', request_id, response } });
const end = (result: unknown) =>
  write({ type: 'result', subtype: 'success', is_error: false, result: JSON.stringify(result), ...session });

for await (const line of createInterface(process.stdin)) {
  const { type, request_id, request, message, response } = JSON.parse(line);
  if (type === 'user') {
    const call = JSON.parse(typeof message.content === 'string' ? message.content : message.content[0].text);
    write({ type: 'control_request', request_id: 'may-i', request: { subtype: 'can_use_tool', ...call } });
  }
  if (type === 'control_request' && request.subtype === 'interrupt') {
    write({ type: 'control_cancel_request', request_id: 'may-i' });
    reply(request_id, {});
    end('interrupted');
  } else if (type === 'control_request') reply(request_id, { commands: [], models: [], agents: [], account: {} });
  if (type === 'control_response') end(response.response ?? response);
}

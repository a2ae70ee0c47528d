import { type Dialect, type Step, stream, textsOf } from './model.ts';

/* The Messages API, as far as Claude Code uses it. */

interface Message {
  role: string;
  content: unknown;
}

let serial = 0;

export const anthropic: Dialect = {
  path: /^\/v1\/messages(\?|$)/,

  turnOf({ tools, messages }) {
    const offered = (tools ?? []) as { name: string }[];
    // Titles and summaries are asked for without tools.
    if (offered.length === 0) return undefined;
    const told = (messages as Message[]).filter(({ role }) => role !== 'assistant');
    return { tools: offered.map(({ name }) => name), told: told.flatMap(({ content }) => textsOf(content)) };
  },

  answer(response, { model, stream: isStreamed }, step) {
    serial += 1;
    const block = blockOf(step);
    const stop_reason = 'tool' in step ? 'tool_use' : 'end_turn';
    const usage = { input_tokens: 10, output_tokens: 5 };
    const message = { id: `msg_${serial}`, type: 'message', role: 'assistant', model, usage, stop_sequence: null };
    if (!isStreamed) {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ ...message, content: [block], stop_reason }));
      return;
    }
    const [empty, delta] =
      block.type === 'text'
        ? [
            { ...block, text: '' },
            { type: 'text_delta', text: block.text },
          ]
        : [
            { ...block, input: {} },
            { type: 'input_json_delta', partial_json: JSON.stringify(block.input) },
          ];
    stream(response, [
      { type: 'message_start', message: { ...message, content: [], stop_reason: null } },
      { type: 'content_block_start', index: 0, content_block: empty },
      { type: 'content_block_delta', index: 0, delta },
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage },
      { type: 'message_stop' },
    ]);
  },
};

function blockOf(step: Step) {
  if ('text' in step) return { type: 'text' as const, text: step.text };
  return { type: 'tool_use' as const, id: `toolu_live${serial}`, name: step.tool, input: step.input };
}

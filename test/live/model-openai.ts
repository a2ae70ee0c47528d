import { type Dialect, type Step, stream, textsOf } from './model.ts';

/* The Responses API, as far as Codex uses it. */

interface Item {
  type?: string;
  role?: string;
}

let serial = 0;

export const openai: Dialect = {
  path: /\/responses(\?|$)/,

  turnOf({ tools, input }) {
    const offered = (tools ?? []) as { name?: string; type: string }[];
    if (offered.length === 0) return undefined;
    const items = (Array.isArray(input) ? input : [input]) as Item[];
    const told = items.filter(({ type, role }) => role !== 'assistant' && !/_call$|^reasoning$/.test(type ?? ''));
    return { tools: offered.map(({ name, type }) => name ?? type), told: told.flatMap(textsOf) };
  },

  answer(response, { model }, step) {
    serial += 1;
    const item = itemOf(step);
    const details = { input_tokens_details: { cached_tokens: 0 }, output_tokens_details: { reasoning_tokens: 0 } };
    const usage = { input_tokens: 10, output_tokens: 5, total_tokens: 15, ...details };
    const answer = { id: `resp_${serial}`, object: 'response', model };
    const place = { output_index: 0, item_id: item.id, content_index: 0 };
    stream(response, [
      { type: 'response.created', response: { ...answer, status: 'in_progress', output: [] } },
      { type: 'response.output_item.added', output_index: 0, item },
      ...('text' in step ? [{ type: 'response.output_text.delta', ...place, delta: step.text }] : []),
      { type: 'response.output_item.done', output_index: 0, item },
      { type: 'response.completed', response: { ...answer, status: 'completed', output: [item], usage } },
    ]);
  },
};

function itemOf(step: Step) {
  const status = 'completed';
  if ('text' in step) {
    const content = [{ type: 'output_text', text: step.text, annotations: [] }];
    return { type: 'message', id: `msg_${serial}`, role: 'assistant', status, content };
  }
  const { tool: name, namespace, input } = step;
  const call = { name, ...(namespace && { namespace }), arguments: JSON.stringify(input), status };
  return { type: 'function_call', id: `fc_${serial}`, call_id: `call_live${serial}`, ...call };
}

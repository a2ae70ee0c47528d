import type { Forumbus } from '../client/index.ts';
import { type Asking, askOnce, cut, unanswered } from './question.ts';

export interface ToolCall {
  /** Such as `ai-sdk`. */
  host: string;
  /** Names the call within the run. */
  id: string;
  tool: string;
  input: unknown;
  title?: string | undefined;
}

/** `reason` is what the person wrote, or why nobody has approved. */
export type Verdict = { approved: true; reason?: string } | { approved: false; reason: string };

/** Characters of the input that a person is shown. The limit of a context is 65,536. */
const SHOWN = 60_000;

/** Asks whether a tool may be called. Only the option Allow approves. @returns undefined while the question is open */
export async function askApproval(client: Forumbus, call: ToolCall, asking?: Asking): Promise<Verdict | undefined> {
  const { host, id, tool, input, title = `Allow ${tool}?` } = call;
  const text = typeof input === 'string' ? input : jsonOf(input);
  const more = text.length > SHOWN ? `\n… ${text.length - SHOWN} more characters are not shown.` : '';
  const context = `${tool}\n${cut(text, SHOWN)}${more}`;
  const source = { host, tool_use_id: cut(id, 500) };
  const request = { question: cut(title, 16_000), context, options: ['Allow', 'Deny'], source };
  const question = await askOnce(client, `${host} ${id} ${tool} ${text}`, request, asking);
  const { state, selected, answer, answered_by } = question;
  if (state === 'open') return undefined;
  if (state !== 'answered') return { approved: false, reason: unanswered(question) };
  const said = answer !== null && !['Allow', 'Deny'].includes(answer) ? answer : undefined;
  if ((selected[0] ?? answer) === 'Allow') return { approved: true, ...(said !== undefined && { reason: said }) };
  return { approved: false, reason: said ?? `${answered_by?.name ?? 'A person'} denied it.` };
}

/** Stores keep no order of keys; the same value has the same text. */
export function jsonOf(value: unknown): string {
  const isPlain = (given: unknown) => typeof given === 'object' && given !== null && !Array.isArray(given);
  const sorted = (_: string, given: object) =>
    isPlain(given) ? Object.fromEntries(Object.entries(given).sort(([one], [other]) => (one < other ? -1 : 1))) : given;
  return JSON.stringify(value, sorted, 2) ?? 'nothing';
}

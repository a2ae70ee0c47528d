import { maskTokens } from '../logging.ts';
import { isName } from '../text.ts';

/** What may name a resource, in the order in which they are looked for. Each value is a name or an id of ours. */
const NAMES = [
  ...['run_id', 'agent_name', 'thread_id', 'question_id', 'signal_id', 'message_id', 'token_id', 'post_id'],
  ...['name', 'topic', 'subscription'],
] as const;

/** The parts of answers that hold the ids of what was made. */
const PARTS = ['signal', 'question', 'thread', 'post'] as const;

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What a request says about what it concerns. */
export interface Sources {
  params: unknown;
  query: unknown;
  body: unknown;
  /** The answer; undefined if it was refused. */
  answer: unknown;
}

/**
 * The names and ids of what a request concerns: as its path names them, else its answer, else its body. Texts are never among
 * them, nor what a token or a link is made of.
 */
export function resourcesOf({ params, query, body, answer }: Sources): Record<string, string> {
  const parts = isObject(answer) ? PARTS.map(part => answer[part]) : [];
  const call = isObject(body) && isObject(body.params) ? body.params : {};
  const { run, agent } = isObject(query) ? query : {};
  const named = { run_id: run, agent_name: agent };
  const sources = [params, answer, ...parts, body, call.arguments, named].filter(isObject);
  const found: Record<string, string> = {};
  for (const name of NAMES) {
    const value = sources.find(source => isText(source[name]))?.[name];
    if (value !== undefined) found[name] = maskTokens(String(value));
  }
  if (isText(call.name)) found.tool = maskTokens(call.name);
  return found;
}

/** What is refused may say anything. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && isName(value);
}

import type { ForumbusError } from '../client/index.ts';

/** What to do about a refusal, where its own sentence does not say it. */
const remedies: Record<string, string> = {
  UNAUTHORIZED: 'Set FORUMBUS_TOKEN or FORUMBUS_TOKEN_FILE to a valid token.',
  FORBIDDEN: 'Use a token that allows it, or another --run and --agent.',
  ACTOR_MISMATCH: 'Set --agent to the agent of the token.',
  NOT_FOUND: 'Check FORUMBUS_URL.',
  QUESTION_NOT_FOUND: 'See `forumbus inbox` for the open ones.',
  RUN_NOT_FOUND: 'Check the name, or set --run.',
  THREAD_CLOSED: 'The agent has been withdrawn, or its thread closed: stop, or work in another --run.',
  RUN_CLOSED: 'Work in another --run.',
  RUN_OPEN: '`forumbus run close` does so.',
  RUN_ERASED: 'Work in another --run.',
  PAYLOAD_TOO_LARGE: 'Shorten the texts.',
};

/** Fields of requests, as the command line names them. */
const fields: Record<string, string> = {
  run_id: '--run',
  agent_name: '--agent',
  question: 'The question',
  context: 'The context',
  options: '--option',
  expires_in_seconds: '--expires, in seconds,',
  default_answer: '--default',
  default_selected: '--default',
  supersedes: '--supersedes',
  answer: 'The answer',
  selected: 'The answer',
  body: 'The text',
  summary: 'The summary',
  done_criteria: '--criteria',
  evidence: '--evidence',
};

/** Says in one sentence what the service refuses, in the words of the command line, and what to do about it. */
export function refusalText({ code, message, problem }: ForumbusError): string {
  const [fault] = problem?.errors ?? [];
  const field = fields[fault?.pointer.split('/')[1] ?? ''];
  if (fault && field) return `${field} ${fault.detail.replace(/\.$/, '')}.`;
  return `${message} ${remedies[code] ?? ''}`.trim();
}

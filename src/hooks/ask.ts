import { createHash } from 'node:crypto';
import { findQuestion } from '../client/find-question.ts';
import { type AskRequest, ForumbusError, type Question, type Source } from '../client/index.ts';
import { type HookInput, type Station, sessionOf, textOf } from './hook.ts';
import { firstOf } from './signals.ts';

/** A host gives a process that it ends little more. Milliseconds. */
const WITHDRAW_MS = 1000;
/** The most notes about tool calls of one session. */
const CALLS = 50;

/** A call of a tool that asks: its questions, and where it comes from. */
interface ToolCall {
  source: Source;
  /** The same for the same call, also after the session has been resumed. */
  key: string;
}

/** Remembers the id of a tool call for the hooks whose input does not have it. */
export function noteCall(input: HookInput, { notes }: Station): void {
  const id = textOf(input.tool_use_id);
  if (id === undefined) return;
  const session = sessionOf(input);
  const { calls, ...rest } = notes.read(session);
  const kept = Object.entries(calls ?? {}).slice(1 - CALLS);
  notes.write(session, { ...rest, calls: { ...Object.fromEntries(kept), [fingerprint(input)]: id } });
}

/** The call that an event is about. */
export function toolCallOf(input: HookInput, station: Station): ToolCall {
  const { host, notes } = station;
  const session = sessionOf(input);
  const print = fingerprint(input);
  const id = textOf(input.tool_use_id) ?? notes.read(session).calls?.[print];
  const prompt = textOf(input.prompt_id) ?? textOf(input.turn_id);
  const cwd = textOf(input.cwd);
  const source: Source = {
    host,
    session_id: short(session),
    ...(id !== undefined ? { tool_use_id: short(id) } : prompt !== undefined && { prompt_id: short(prompt) }),
    ...(cwd !== undefined && { cwd: short(cwd) }),
  };
  // A resumed session has another prompt, but the same call.
  const { run_id, agent_name } = agentOf(station);
  return { source, key: digest([run_id, agent_name, session, id ?? [prompt, print]]) };
}

/**
 * Files the questions of a tool call, once, and waits until all are answered. When the host wants no answer any more, it
 * withdraws them.
 * @param wait_seconds how long; for ever if left out
 * @returns undefined if one is still open after that time, or ended without an answer
 */
export async function askPeople(
  requests: AskRequest[],
  { source, key }: ToolCall,
  station: Station,
  wait_seconds?: number,
): Promise<Question[] | undefined> {
  const { client, awaited, withdrawn, ending, switches } = station;
  const { expires_in_seconds } = switches;
  const open: Question[] = [];
  const done = new AbortController();
  const signal = firstOf([withdrawn, ending, done.signal]);
  try {
    await withdraw(await earlierCalls(requests, source, station), station);
    for (const [index, request] of requests.entries()) {
      withdrawn.throwIfAborted();
      ending.throwIfAborted();
      const sent = { ...request, source, ...(expires_in_seconds !== undefined && { expires_in_seconds }) };
      // Without the signal: a question that the service has, and this process does not know, could not be withdrawn.
      open.push(await fileOnce(sent, `hook-${key}-${index}`, station));
      awaited.add(open.at(-1)?.question_id ?? '');
    }
    const ended = await Promise.all(
      open.map(async ({ question_id }) => {
        const question = await client.wait(question_id, { wait_seconds, signal });
        if (question.state !== 'answered') done.abort(new NotAnswered());
        done.signal.throwIfAborted();
        return question;
      }),
    );
    return ended;
  } catch (error) {
    if (withdrawn.aborted) await withdraw(open, station);
    else if (!(error instanceof NotAnswered) && !ending.aborted) throw error;
    return undefined;
  } finally {
    done.abort();
    for (const { question_id } of open) awaited.remove(question_id);
  }
}

class NotAnswered extends Error {}

/** Files a question, or finds it: the same call may come with another text around its question. */
async function fileOnce(request: AskRequest & { source: Source }, key: string, station: Station): Promise<Question> {
  const { client } = station;
  const { tool_use_id } = request.source;
  const isSame = (one: Question) =>
    one.question === request.question && isOf(one, request.source) && one.source?.tool_use_id === tool_use_id;
  // Without the id of a call, the same text of another prompt is another question.
  const is_same = tool_use_id === undefined ? undefined : isSame;
  try {
    return await client.ask(request, { idempotency_key: key, is_same, wait_seconds: 0, acknowledge: false });
  } catch (error) {
    if (!(error instanceof ForumbusError) || error.code !== 'IDEMPOTENCY_KEY_REUSED') throw error;
    const found = await findQuestion(
      filter => client.questions(filter),
      { ...agentOf(station), order: 'newest' },
      isSame,
    );
    if (!found) throw error;
    return found;
  }
}

/** Open questions of the session with the same texts, from calls that have ended: nobody waits for them any more. */
async function earlierCalls(requests: AskRequest[], source: Source, station: Station): Promise<Question[]> {
  if (source.tool_use_id === undefined) return [];
  const texts = requests.map(({ question }) => question);
  const open = await questionsOfSession(source, station);
  return open.filter(one => texts.includes(one.question) && one.source?.tool_use_id !== source.tool_use_id);
}

/** The open questions that hooks of a session have filed. */
export async function questionsOfSession(source: Source, station: Station): Promise<Question[]> {
  const { items } = await station.client.questions({ ...agentOf(station), state: 'open', limit: 100 });
  // A command of the session names no call.
  return items.filter(one => isOf(one, source) && (one.source?.tool_use_id ?? one.source?.prompt_id) !== undefined);
}

function isOf({ source }: Question, { host, session_id }: Source): boolean {
  return source?.host === host && source.session_id === session_id;
}

function agentOf({ client: { run_id = '', agent_name = '' } }: Station) {
  return { run_id, agent_name };
}

/** Cancels questions; the agent knows of it. Gives up after a second. */
async function withdraw(questions: Question[], { client }: Station): Promise<void> {
  if (questions.length === 0) return;
  const signal = AbortSignal.timeout(WITHDRAW_MS);
  await Promise.allSettled(
    questions.map(async ({ question_id }) => {
      await client.cancel(question_id, { signal });
      await client.acknowledge(question_id, { signal });
    }),
  );
}

/** Tells the service that the agent has these answers. */
export async function acknowledgeAll(questions: Question[], { client }: Station): Promise<void> {
  await Promise.all(questions.map(({ question_id }) => client.acknowledge(question_id)));
}

/** The tool and its questions: the input may come back with answers in it. */
function fingerprint({ tool_name, tool_input }: HookInput): string {
  const { questions, plan, command } = (tool_input ?? {}) as Record<string, unknown>;
  return digest([tool_name, questions, plan, command]);
}

function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 40);
}

function short(text: string): string {
  return text.slice(0, 500).toWellFormed();
}

import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

/*
 * A bridge for hosts that speak MCP over stdio only. Each line of the input is posted to the MCP server of the service.
 * Its answer is written line by line. It keeps no state that a host would miss, so it may be restarted at any time. It
 * runs on Node.js 20 and imports nothing of the service.
 */

interface Bridge {
  /** The MCP server for a message with this `_meta`, such as `http://127.0.0.1:4010/mcp?run=run-7&agent=builder`. */
  urlFor(meta: Meta): string;
  token?: string | undefined;
  input: Readable;
  output: Writable;
}

export type Meta = Record<string, unknown>;

interface Message {
  id?: string | number;
  method?: string;
  params?: { name?: unknown; uri?: unknown; requestId?: unknown; _meta?: Meta };
}

/** In `_meta` of each request since revision 2026-07-28. */
const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion';
/** JSON-RPC: the line is no JSON; the line is no message; the service did not answer. */
const [PARSE_ERROR, INVALID_REQUEST, NO_ANSWER] = [-32700, -32600, -32000];

/** Carries messages until the input ends; then it gives up the requests that still wait. */
export async function bridge({ urlFor, token, input, output }: Bridge): Promise<void> {
  const running = new Map<string | number, AbortController>();
  /** Of the handshake before revision 2026-07-28. */
  let negotiated: string | undefined;

  const write = (message: unknown) => void output.write(`${JSON.stringify(message)}\n`);
  const fail = (id: string | number | null, code: number, message: string, data?: object) =>
    write({ jsonrpc: '2.0', id, error: { code, message, ...(data && { data }) } });

  function headersOf({ method = '', params }: Message): Record<string, string> {
    const version = params?._meta?.[VERSION_KEY];
    const name = params?.name ?? params?.uri;
    return {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(token && { authorization: `Bearer ${token}` }),
      ...(typeof version === 'string'
        ? {
            'mcp-protocol-version': version,
            'mcp-method': method,
            ...(typeof name === 'string' && { 'mcp-name': headerText(name) }),
          }
        : negotiated && { 'mcp-protocol-version': negotiated }),
    };
  }

  /** Writes the messages of an answer. @returns whether the response to the request was among them */
  async function forward(answer: Response, id: string | number): Promise<boolean> {
    let responded = false;
    for await (const message of messagesOf(answer)) {
      const { id: of, result } = message as { id?: unknown; result?: { protocolVersion?: string } };
      if (of === id) {
        responded = true;
        negotiated = result?.protocolVersion ?? negotiated;
      }
      write(message);
    }
    return responded;
  }

  async function request(message: Message, id: string | number): Promise<void> {
    const cancellation = new AbortController();
    running.set(id, cancellation);
    const url = urlFor(message.params?._meta ?? {});
    try {
      const { signal } = cancellation;
      const answer = await fetch(url, {
        method: 'POST',
        headers: headersOf(message),
        body: JSON.stringify(message),
        signal,
      });
      const problem = await problemOf(answer);
      if (problem)
        fail(id, NO_ANSWER, `${problem.detail.replace(/\.$/, '')} (${problem.code}).`, { code: problem.code });
      else if (!(await forward(answer, id))) fail(id, NO_ANSWER, 'Forumbus ended its answer early; call again.');
    } catch (error) {
      // The host does not expect a response to what it has cancelled.
      if (!cancellation.signal.aborted) fail(id, NO_ANSWER, unreachable(url, error));
    } finally {
      running.delete(id);
    }
  }

  async function notify(message: Message): Promise<void> {
    // The service has no sessions: to close the connection is to cancel.
    if (message.method === 'notifications/cancelled') {
      running.get(message.params?.requestId as string)?.abort();
      return;
    }
    const body = JSON.stringify(message);
    // Nobody waits for an answer, so there is nobody to tell.
    await fetch(urlFor(message.params?._meta ?? {}), { method: 'POST', headers: headersOf(message), body }).then(
      answer => answer.body?.cancel(),
      () => {},
    );
  }

  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (line.trim() === '') continue;
    let message: Message;
    try {
      message = JSON.parse(line);
    } catch {
      fail(null, PARSE_ERROR, 'The line is not JSON.');
      continue;
    }
    if (typeof message?.method !== 'string') fail(null, INVALID_REQUEST, 'The line is no request and no notification.');
    else if (message.id === undefined || message.id === null) void notify(message);
    else void request(message, message.id);
  }
  for (const cancellation of running.values()) cancellation.abort();
}

/** The messages of a JSON answer or of an event stream. */
async function* messagesOf(answer: Response): AsyncGenerator<unknown> {
  if (!answer.headers.get('content-type')?.startsWith('text/event-stream')) {
    yield await answer.json();
    return;
  }
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of answer.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    const events = text.split(/\r?\n\r?\n/);
    text = events.pop() ?? '';
    for (const event of events) {
      const data = event.split(/\r?\n/).filter(field => field.startsWith('data:'));
      if (data.length > 0) yield JSON.parse(data.map(field => field.slice(5)).join('\n'));
    }
  }
}

/** The problem document of the service, before a message could be read. */
async function problemOf(answer: Response): Promise<{ detail: string; code: string } | undefined> {
  if (!answer.headers.get('content-type')?.startsWith('application/problem+json')) return undefined;
  return (await answer.json()) as { detail: string; code: string };
}

/** A header takes visible ASCII; anything else travels in Base64 (MCP 2026-07-28, transports). */
function headerText(text: string): string {
  if (/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text)) return text;
  return `=?base64?${Buffer.from(text).toString('base64')}?=`;
}

function unreachable(url: string, error: unknown): string {
  const { origin } = new URL(url);
  const { cause, message } = error as { cause?: { code?: string; message?: string }; message: string };
  return `Forumbus does not answer at ${origin} (${cause?.code ?? cause?.message ?? message}); start it, or correct FORUMBUS_URL.`;
}

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';

/** What a scripted model answers to one request: a call of a tool, or a text that ends the turn. */
export type Step = { text: string } | { tool: string; input: object; namespace?: string };

/** A request that goes on with the conversation. */
export interface Turn {
  /** The names of the tools that the host offers. */
  tools: string[];
  /** The texts that the model gets and has not written itself, oldest first. */
  told: string[];
}

/** The wire format of a model. */
export interface Dialect {
  /** The path of the requests that are answered by the script. */
  path: RegExp;
  /** @returns undefined for a request beside the conversation, such as one for a title */
  turnOf(body: Record<string, unknown>): Turn | undefined;
  answer(response: ServerResponse, body: Record<string, unknown>, step: Step): void;
}

/** A model on loopback that goes by a script, and remembers what it was told. */
export class Model {
  readonly turns: Turn[] = [];
  readonly #steps: Step[] = [];
  readonly #server;

  /** @param dialect none for a host that asks no model */
  constructor(dialect?: Dialect) {
    this.#server = createServer((request, response) => {
      void this.#respond(dialect, request, response);
    });
  }

  /** @returns its address */
  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Adds to the script. */
  play(...steps: Step[]): void {
    this.#steps.push(...steps);
  }

  /** The number of steps that have not been played. */
  get left(): number {
    return this.#steps.length;
  }

  /** How often a text stands in what the model has been told so far. */
  count(text: string): number {
    const told = this.turns.at(-1)?.told.join('\n') ?? '';
    return told.split(text).length - 1;
  }

  async #respond(dialect: Dialect | undefined, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = parsed(await decoded(request));
    if (!dialect || request.method !== 'POST' || !dialect.path.test(request.url ?? '')) {
      response.writeHead(404, { 'content-type': 'application/json' }).end('{}');
      return;
    }
    const turn = dialect.turnOf(body);
    if (turn) this.turns.push(turn);
    const step = (turn && this.#steps.shift()) ?? { text: 'There is nothing left to do.' };
    dialect.answer(response, body, step);
  }
}

interface StreamEvent {
  type: string;
  [field: string]: unknown;
}

/** Writes an answer as server-sent events. */
export function stream(response: ServerResponse, events: readonly StreamEvent[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const event of events) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  response.end();
}

/** The texts of a content, which is one, or has some in its parts. */
export function textsOf(content: unknown): string[] {
  if (typeof content === 'string') return [content];
  if (Array.isArray(content)) return content.flatMap(textsOf);
  if (typeof content !== 'object' || content === null) return [];
  const { text, content: inner, output } = content as Record<string, unknown>;
  return [text, inner, output].flatMap(textsOf);
}

async function decoded(request: IncomingMessage): Promise<string> {
  const bytes = await buffer(request);
  const encoding = request.headers['content-encoding'];
  if (encoding === 'gzip') return gunzipSync(bytes).toString();
  return (encoding === 'zstd' ? zstdDecompressSync(bytes) : bytes).toString();
}

function parsed(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

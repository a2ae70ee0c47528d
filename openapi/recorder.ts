import { randomUUID } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { buildApp } from '../src/app.ts';
import type { Clock } from '../src/clock.ts';
import { readConfig } from '../src/config.ts';
import type { ProblemCode } from '../src/errors.ts';
import type { Overrides } from '../src/services.ts';
import type { Examples } from './complete.ts';

/** A request for an operation. */
export interface Call {
  path?: Record<string, string>;
  query?: Record<string, string | number>;
  /** Sent as JSON; a string is sent as it is. */
  body?: unknown;
  headers?: Record<string, string>;
  /** Its token. */
  as?: string;
  /** A stream: its answer is what comes first. */
  stream?: boolean;
}

interface Answer {
  status: number;
  mediaType: string;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: the story takes ids out of it
  body: any;
}

/** The token of `ADMIN_TOKEN_FILE` in every service of the story. It opens nothing else. */
export const ADMIN_TOKEN = `fbt_${'0f1e2d3c4b5a6978'}_${'0123456789abcdef'.repeat(4)}`;

interface Documented {
  operationId: string;
  responses: Record<string, { $ref?: string; content?: Record<string, { schema: object }> }>;
}

/** Runs services and records what they answer. */
export class Recorder {
  readonly examples: Examples = { operations: {}, problems: {}, webhook: undefined };
  readonly clock = new StoryClock();
  #folder: string | undefined;

  /** A service with this configuration; `database` names its file, which a later one may take over. */
  async start(config: Record<string, string>, overrides: Overrides = {}, database = `${randomUUID()}.db`) {
    this.#folder ??= await mkdtemp(join(tmpdir(), 'forumbus-examples-'));
    const tokenFile = join(this.#folder, 'token');
    await writeFile(tokenFile, ADMIN_TOKEN, { mode: 0o600 });
    const { OPEN: open, ...settings } = config;
    const url = `sqlite:${join(this.#folder, database)}`;
    const access: Record<string, string> = open ? {} : { ADMIN_TOKEN_FILE: tokenFile };
    const service = { ROLE: 'http', MAX_EVENT_LOOP_DELAY_MS: '0', DATABASE_URL: url, ...access, ...settings };
    const { clock } = this;
    const app = await buildApp(readConfig(service), pino({ level: 'silent' }), { clock, ...overrides });
    await app.ready();
    return new Scene(app, this);
  }

  async moveAway(database: string): Promise<void> {
    const path = join(this.#folder as string, database);
    await rename(path, `${path}.away`);
  }

  async end(): Promise<void> {
    if (this.#folder) await rm(this.#folder, { recursive: true });
  }
}

/** Stands still within a request, and moves on by a second before each. */
class StoryClock implements Clock {
  #time = Date.parse('2026-11-22T09:00:00.000Z');

  now(): number {
    return this.#time;
  }

  advance(milliseconds: number): void {
    this.#time += milliseconds;
  }
}

/** A running service. */
export class Scene {
  readonly app: FastifyInstance;
  readonly #recorder: Recorder;

  constructor(app: FastifyInstance, recorder: Recorder) {
    this.app = app;
    this.#recorder = recorder;
  }

  /** Asks for what must succeed, and records the answer. @returns its body */
  // biome-ignore lint/suspicious/noExplicitAny: the story takes ids out of it
  async call(operationId: string, call: Call = {}): Promise<any> {
    const answer = await this.#send(operationId, call);
    if (answer.status >= 400) throw new Error(`${operationId} was refused: ${answer.text}`);
    this.record(operationId, answer, call.body);
    return answer.body;
  }

  /** Asks for what must be refused, and records the problem. */
  async refused(code: ProblemCode, operationId: string, call: Call = {}): Promise<void> {
    const answer = await this.#send(operationId, call);
    if (answer.body?.code !== code) {
      throw new Error(`${operationId} should be refused with ${code}: ${answer.status} ${answer.text}`);
    }
    this.#recorder.examples.problems[code] ??= answer.body;
  }

  /** Records an answer that is neither a success nor a problem document. */
  async other(operationId: string, call: Call = {}): Promise<void> {
    this.record(operationId, await this.#send(operationId, call));
  }

  /** Records the answer to a request that is sent otherwise. */
  record(operationId: string, { status, mediaType, text, body }: Answer, request?: unknown): void {
    const { operations } = this.#recorder.examples;
    operations[operationId] ??= { responses: {} };
    const operation = operations[operationId];
    if (status < 300 && request !== undefined) operation.request ??= request;
    operation.responses[status] ??= {};
    if (text !== '') operation.responses[status][mediaType] ??= body;
  }

  /** Records the problem document of a request that no operation gets. */
  problem(code: ProblemCode, body: unknown): void {
    if ((body as { code?: string }).code !== code)
      throw new Error(`The answer should be ${code}: ${JSON.stringify(body)}`);
    this.#recorder.examples.problems[code] ??= body;
  }

  async #send(operationId: string, { path = {}, query = {}, body, headers = {}, as, stream }: Call): Promise<Answer> {
    this.#recorder.clock.advance(1000);
    const { method, template } = this.#find(operationId);
    const filled = template.replaceAll(/\{(\w+)\}/g, (_all, name) => encodeURIComponent(path[name] as string));
    const search = new URLSearchParams(
      Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
    );
    const response = await this.app.inject({
      method: method as 'GET',
      url: `${filled}${search.size > 0 ? `?${search}` : ''}`,
      headers: {
        ...(as !== undefined && { authorization: `Bearer ${as}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
      ...(stream && { payloadAsStream: true }),
    });
    const mediaType = String(response.headers['content-type'] ?? '').split(';')[0] as string;
    const text = stream ? await head(response.stream()) : response.body;
    const isJson = /[/+]json$/.test(mediaType) && text !== '';
    return { status: response.statusCode, mediaType, text, body: isJson ? JSON.parse(text) : text };
  }

  #find(operationId: string): { method: string; template: string } {
    for (const [template, item] of Object.entries(this.app.swagger().paths ?? {})) {
      for (const [method, operation] of Object.entries(item as Record<string, Documented>)) {
        if (operation.operationId === operationId) return { method: method.toUpperCase(), template };
      }
    }
    throw new Error(`There is no operation ${operationId}.`);
  }
}

/** What a stream sends first, up to the end of its first message with data. */
async function head(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const chunk of stream) {
    text += chunk;
    const [first] = /^[\s\S]*?^data: .*\n\n/m.exec(text) ?? [];
    if (first) return first;
  }
  return text;
}

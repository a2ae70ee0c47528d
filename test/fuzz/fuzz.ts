import * as fc from 'fast-check';
import type { FastifyInstance, InjectOptions } from 'fastify';
import { longestTurn } from '../helpers/turns.ts';
import { faultOf } from './document.ts';
import { anyRequest, Known, type Request } from './requests.ts';

/** What is asked of a service under test. */
export interface Target {
  app: FastifyInstance;
  /** By the names of callers; an empty one sends no token. */
  tokens: Record<string, string>;
  /** Everything that a write could have changed, in short. */
  fingerprint: () => Promise<string>;
}

/** What a series of requests has shown. */
export interface Outcome {
  /** Requests by caller. */
  sent: Record<string, number>;
  /** Answers by status. */
  statuses: Record<string, number>;
  /** What must not happen, each with the request. */
  faults: string[];
  /** Milliseconds. */
  longestTurn: number;
}

const IDS = ['thread_id', 'question_id', 'signal_id', 'message_id', 'token_id', 'next_cursor'];
const KEPT_IDS = 200;
const FAULTS_KEPT = 20;
/** The longest turn of the event loop, beside what the turn of an ordinary request takes. Milliseconds. */
const TURN_MS = 100;
/** The first requests compile what the service needs. */
const WARM_UP = 300;

/** Sends `count` requests made of the OpenAPI document, each as one of the callers in turn, and judges the answers. */
export async function fuzz(target: Target, count: number, seed: number): Promise<Outcome> {
  // Those who may write make what the others are refused.
  const callers = Object.keys(target.tokens).flatMap(name => (/admin|operator/.test(name) ? [name, name, name] : name));
  const outcome: Outcome = { sent: {}, statuses: {}, faults: [], longestTurn: 0 };
  const ids = new Map<string, string[]>();
  let before = await target.fingerprint();
  const ordinary = await ordinaryTurn(target.app);
  for (const [index, request] of fc.sample(anyRequest, { numRuns: count, seed }).entries()) {
    const caller = callers[index % callers.length] as string;
    // Who has no token is limited by his address.
    const remoteAddress = `127.1.${Math.floor(index / 250)}.${index % 250}`;
    const options = { ...filledIn(request, ids, target.tokens[caller] ?? ''), remoteAddress };
    // The first token would end the freedom of those who have none.
    if (!('admin' in target.tokens) && request.operation.id === 'createToken') continue;
    const isStream = request.operation.id === 'streamEvents';
    const { value, took } = await longestTurn(() => send(target.app, options, isStream));
    const { status, mediaType, body } = value;
    const turn = index < WARM_UP ? 0 : took;
    outcome.longestTurn = Math.max(outcome.longestTurn, turn);
    outcome.sent[caller] = (outcome.sent[caller] ?? 0) + 1;
    outcome.statuses[status] = (outcome.statuses[status] ?? 0) + 1;
    const after = request.method === 'GET' && status < 400 ? before : await target.fingerprint();
    const isSlow = turn > TURN_MS + ordinary;
    const fault = isSlow
      ? `held the event loop for ${Math.round(took)} ms`
      : judge(request, caller, status, mediaType, body, after !== before);
    if (fault)
      outcome.faults.push(
        `${fault}: ${caller} ${JSON.stringify(options)} -> ${status} ${JSON.stringify(body)?.slice(0, 300)}`,
      );
    if (outcome.faults.length >= FAULTS_KEPT) break;
    before = after;
    if (status < 300) learn(body, ids, target.tokens);
  }
  return outcome;
}

/** The longest turn of requests that do nothing. */
async function ordinaryTurn(app: FastifyInstance): Promise<number> {
  let longest = 0;
  for (let count = 0; count < 20; count += 1) {
    longest = Math.max(longest, (await longestTurn(() => app.inject('/livez'))).took);
  }
  return longest;
}

function judge(
  request: Request,
  caller: string,
  status: number,
  mediaType: string,
  body: unknown,
  changed: boolean,
): string | undefined {
  if (status >= 500) return 'the service failed';
  if (status >= 400 && changed) return 'a refused request has changed something';
  if (request.method === 'GET' && changed) return 'a read has changed something';
  if (request.broken && status < 400) return `accepted in spite of ${request.broken}`;
  if (caller === 'nobody' && status < 400 && !PUBLIC.includes(request.operation.id)) return 'let in without a token';
  if (request.operation.id === 'streamEvents' && status === 200) return undefined;
  // A path that is no path of the operation's any more belongs to none.
  if (status === 404 && (body as { code?: string }).code === 'NOT_FOUND') return undefined;
  return faultOf(request.operation, status, mediaType, body);
}

const PUBLIC = ['getHealth', 'getLiveness', 'getReadiness', 'getVersion', 'getLlms'];

/** The request as it is sent, with ids that the service has given out. */
function filledIn(request: Request, ids: Map<string, string[]>, token: string): InjectOptions {
  const fill = (value: unknown): unknown => {
    if (value instanceof Known) {
      const known = ids.get(value.name) ?? [];
      return known[value.pick % (known.length || 1)] ?? 'unknown-1';
    }
    if (Array.isArray(value)) return value.map(fill);
    if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, fill(part)]));
  };
  const text = (value: unknown) => encodeURIComponent(String(fill(value)).toWellFormed());
  const path = request.operation.path.replaceAll(/\{(\w+)\}/g, (_all, name) => text(request.path[name]));
  const query = Object.entries(request.query).map(([name, value]) => `${name}=${text(value)}`);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) headers[name] = String(value);
  if (token !== '') headers.authorization = `Bearer ${token}`;
  if (request.contentType) headers['content-type'] = request.contentType;
  const { body } = request;
  const payload =
    body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(fill(body));
  return {
    method: request.method as 'GET',
    url: query.length > 0 ? `${path}?${query.join('&')}` : path,
    headers,
    ...(payload !== undefined && { payload }),
  };
}

async function send(app: FastifyInstance, options: InjectOptions, isStream: boolean) {
  const response = await app.inject({ ...options, payloadAsStream: isStream });
  const mediaType = String(response.headers['content-type'] ?? '').split(';')[0] as string;
  const status = response.statusCode;
  if (isStream && mediaType === 'text/event-stream') {
    response.stream().destroy();
    return { status, mediaType, body: undefined };
  }
  const text = isStream ? await read(response.stream()) : response.body;
  return { status, mediaType, body: /[/+]json$/.test(mediaType) ? JSON.parse(text) : text };
}

async function read(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

/** Keeps the ids in an answer, but for those of the tokens that are used here: they must not be revoked. */
function learn(body: unknown, ids: Map<string, string[]>, tokens: Record<string, string>): void {
  if (typeof body !== 'object' || body === null) return;
  for (const [name, value] of Object.entries(body)) {
    if (typeof value === 'object') learn(value, ids, tokens);
    else if (
      IDS.includes(name) &&
      typeof value === 'string' &&
      !Object.values(tokens).some(token => token.includes(value))
    ) {
      const known = ids.get(name) ?? [];
      ids.set(name, [...known, value].slice(-KEPT_IDS));
    }
  }
}

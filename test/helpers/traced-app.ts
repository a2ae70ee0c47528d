import { trace } from '@opentelemetry/api';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { newUid } from '../../src/clock.ts';
import type { HandlerContext } from '../../src/worker/handler.ts';
import { startApp, type TestApp } from './app.ts';
import { handler } from './handling.ts';
import { type EndedSpan, type Recording, registerSdk, unregisterSdk } from './otel.ts';

export const CHAT = 'forum.integration.chat';

/** The id of the span that is active where this is called. */
export const activeSpan = (): string | undefined => trace.getActiveSpan()?.spanContext().spanId;

/** A service that listens, in a process with an SDK, for the tests of one file. */
export class TracedApp {
  /** Those that have ended in this test. */
  spans: EndedSpan[] = [];
  recording: Recording = 'all';
  /** Whether the service has no more ids to give. */
  failing = false;
  /** Which span was active in handlers, and what they were given, by message id. */
  readonly handled = new Map<string, { active: (string | undefined)[]; traceparent: string | undefined }>();
  /** Which span was active when an id was made. */
  readonly made = new Map<string, string | undefined>();
  #service: TestApp | undefined;
  address = '';

  /** Starts it, and ends it, with the tests around. */
  constructor() {
    beforeAll(() => this.#start());
    afterAll(async () => {
      await this.#service?.close();
      unregisterSdk();
    });
    beforeEach(() => {
      this.spans = [];
      this.recording = 'all';
    });
    afterEach(() => this.#idle());
  }

  get service(): TestApp {
    if (!this.#service) throw new Error('It has not started.');
    return this.#service;
  }

  /** Publishes over a socket, and answers the id of the message. */
  async publish(body: object, headers: Record<string, string> = {}): Promise<string> {
    const json = { 'content-type': 'application/json', ...headers };
    const answer = await fetch(`${this.address}/outbox`, { method: 'POST', body: JSON.stringify(body), headers: json });
    expect(answer.status).toBe(201);
    return ((await answer.json()) as { message_id: string }).message_id;
  }

  /** The traceparent that a message is stored with. */
  async stored(id: string): Promise<string> {
    return (await this.service.send('GET', `/outbox/${id}`)).body.traceparent;
  }

  /** Waits for as many spans of a name as there will be. */
  async ended(name: string, count = 1): Promise<EndedSpan[]> {
    const found = () => this.spans.filter(span => span.name === name);
    await expect.poll(() => found().length, { interval: 5, timeout: 10_000 }).toBe(count);
    return found();
  }

  async single(name: string): Promise<EndedSpan> {
    return (await this.ended(name))[0] as EndedSpan;
  }

  async #start(): Promise<void> {
    registerSdk(
      span => this.spans.push(span),
      () => this.recording,
    );
    const uid = () => {
      if (this.failing) throw new Error('out of ids');
      const id = newUid();
      this.made.set(id, activeSpan());
      return id;
    };
    const retries = { MAX_ATTEMPTS: '2', BACKOFF_BASE_MS: '1', BACKOFF_CAP_MS: '1', POLL_INTERVAL_MS: '10' };
    const overrides = { handlers: this.#handlers(), newUid: uid, random: () => 0 };
    this.#service = await startApp('sqlite', { config: { ROLE: 'all', ...retries }, overrides });
    this.address = await this.service.app.listen({ host: '127.0.0.1', port: 0 });
  }

  #handlers() {
    const noting = ({ message_id }: { message_id: string }, { traceparent }: HandlerContext) => {
      const noted = this.handled.get(message_id) ?? { active: [], traceparent };
      noted.active.push(activeSpan());
      this.handled.set(message_id, noted);
    };
    const publishing = async (message: { message_id: string }, context: HandlerContext) => {
      noting(message, context);
      await new Promise(resolve => setImmediate(resolve));
      noting(message, context);
      const { traceparent } = context;
      if (traceparent) await this.publish({ topic: CHAT, payload: null }, { traceparent });
    };
    const now = () => {
      throw new TypeError('not now');
    };
    return [
      handler('forum.events.control.signal', publishing, { name: 'publishing' }),
      handler(CHAT, noting, { name: 'chat' }),
      handler('forum.events.thread.opened', noting, { name: 'threads' }),
      handler('forum.integration.now', now, { name: 'now' }),
      handler('forum.integration.later', () => Promise.reject('not later'), { name: 'later' }),
    ];
  }

  /** What is still being handled would leave its spans to the next test. */
  async #idle(): Promise<void> {
    expect(activeSpan()).toBeUndefined();
    const open = async () => {
      const { pending, processing, failed } = (await this.service.send('GET', '/outbox/stats')).body.by_status;
      return pending + processing + failed;
    };
    await expect.poll(open, { interval: 5, timeout: 10_000 }).toBe(0);
  }
}

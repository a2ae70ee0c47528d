import { askKey, digest, normal } from './ask-key.ts';
import { ForumbusError, isPassing } from './error.ts';
import { type EventFilter, followEvents } from './events.ts';
import { type ExportLine, exportedLines } from './export.ts';
import { findQuestion, findUnread, isAlike } from './find-question.ts';
import { ifMatch, operationsOf, runPath, type VersionedOptions } from './operations.ts';
import { delayMs, sleep } from './retry.ts';
import { type Call, type Limits, Transport } from './transport.ts';
import type {
  Actor,
  AnswerRequest,
  AskRequest,
  CallOptions,
  CompletionRequest,
  ControlState,
  Event,
  EventQuery,
  Gate,
  GuidanceAnswerRequest,
  InboxClaim,
  InboxItem,
  InboxPage,
  Me,
  Option,
  Question,
  QuestionFilter,
  QuestionPage,
  Run,
  SignalResult,
  ValidationRequest,
  WaitOptions,
  WriteOptions,
} from './types.ts';

export interface ForumbusOptions {
  /** Such as `http://127.0.0.1:4010`; a path is kept. */
  url: string;
  token?: string | undefined;
  run_id?: string | undefined;
  agent_name?: string | undefined;
  fetch?: typeof fetch | undefined;
  /** Seconds during which a request is repeated while the service cannot answer. 30 if left out. */
  retry_seconds?: number | undefined;
}

export interface AskOptions extends WaitOptions, WriteOptions {
  /** Acknowledges the outcome, so that the inbox does not show it again. True if left out. */
  acknowledge?: boolean | undefined;
  /**
   * Tells the question of an `idempotency_key` from others that are open or unread. The service forgets keys after a day, and a
   * person may take longer.
   */
  is_same?: ((question: Question) => boolean) | undefined;
}

/** The longest wait of one request. Seconds. */
const WAIT_PIECE = 50;
const RETRY_SECONDS = 30;

/**
 * A client of Forumbus for Node and browsers, for one agent or one person.
 *
 * Every method throws a ForumbusError for a refusal or a lost service, and the reason of `signal` if that aborts. Requests
 * that are safe to repeat are repeated for `retry_seconds`; waits go on through an outage until `wait_seconds` are over.
 */
export class Forumbus {
  readonly run_id: string | undefined;
  readonly agent_name: string | undefined;
  readonly runs: Operations['runs'];
  readonly agents: Operations['agents'];
  readonly threads: Operations['threads'];
  /** The event log in pages; `events` follows it. */
  readonly log: Operations['log'];
  readonly outbox: Operations['outbox'];
  readonly bus: Operations['bus'];
  readonly tokens: Operations['tokens'];
  readonly webhooks: Operations['webhooks'];
  readonly logins: Operations['logins'];
  readonly stats: Operations['stats'];
  readonly #transport: Transport;

  constructor({ url, token, run_id, agent_name, fetch: own, retry_seconds = RETRY_SECONDS }: ForumbusOptions) {
    this.run_id = run_id;
    this.agent_name = agent_name;
    // The fetch of a browser needs its window.
    this.#transport = new Transport({ url, token, retry_seconds, fetch: own ?? ((...args) => fetch(...args)) });
    const operations = operationsOf((call, options) => this.#send(call, options));
    this.runs = operations.runs;
    this.agents = operations.agents;
    this.threads = operations.threads;
    this.log = operations.log;
    this.outbox = operations.outbox;
    this.bus = operations.bus;
    this.tokens = operations.tokens;
    this.webhooks = operations.webhooks;
    this.logins = operations.logins;
    this.stats = operations.stats;
  }

  /**
   * Asks a question and waits for its end. The same text and options of an agent in its attempt are the same question: a
   * repeat goes on waiting. The outcome of a superseded or cancelled question is a result, not an error.
   * @returns the question, still open if `wait_seconds` are over
   */
  async ask(request: AskRequest, options: AskOptions = {}): Promise<Question> {
    const { acknowledge = true, ...rest } = options;
    const end = endOf(rest.wait_seconds);
    const asked = await this.#asked(request, rest);
    const question = await this.#untilEnded(asked.question_id, end, rest.signal, asked);
    if (acknowledge && question.state !== 'open') await this.#acknowledgeQuietly(question, rest);
    return question;
  }

  /** Waits for the end of a question. @returns the question, still open if `wait_seconds` are over */
  wait(question_id: string, { wait_seconds, signal }: WaitOptions = {}): Promise<Question> {
    return this.#untilEnded(question_id, endOf(wait_seconds), signal);
  }

  /**
   * Answers a question, by text, by labels of its options or by both. The first answer wins; a question that two people must
   * answer stays open until both have given the same one. With `version`, only if the
   * question has not changed since.
   */
  answer(
    question_id: string,
    request: AnswerRequest,
    { version, ...options }: VersionedOptions = {},
  ): Promise<Question> {
    const path = `${questionPath(question_id)}/answer`;
    return this.#send({ method: 'PUT', path, body: request, headers: ifMatch(version) }, options);
  }

  /** Cancels an open question, such as one whose asker has gone; a cancelled one stays as it is. */
  cancel(question_id: string, options: CallOptions = {}): Promise<Question> {
    const idempotency_key = `cancel-${question_id}`;
    return this.#send(
      { method: 'POST', path: `${questionPath(question_id)}/cancel`, body: {}, idempotency_key },
      options,
    );
  }

  question(question_id: string, options: CallOptions = {}): Promise<Question> {
    return this.#send({ method: 'GET', path: questionPath(question_id) }, options);
  }

  /** A page of questions: most urgent first, then oldest first, unless `order` says otherwise. */
  questions(filter: QuestionFilter = {}, options: CallOptions = {}): Promise<QuestionPage> {
    return this.#send({ method: 'GET', path: '/questions', query: { ...filter } }, options);
  }

  /** Tells the service that the agent has the outcome of its question. */
  acknowledge(question_id: string, options: CallOptions = {}): Promise<Question> {
    const idempotency_key = `ack-${question_id}`;
    const path = `${questionPath(question_id)}/acknowledge`;
    return this.#send({ method: 'POST', path, body: {}, idempotency_key }, options);
  }

  /** Control signals, each stored once; `idempotency_key` is a random one if left out. */
  readonly signal = {
    completion: (request: CompletionRequest = {}, options: WriteOptions = {}) =>
      this.#signal('completion', request, options),
    validation: (request: ValidationRequest, options: WriteOptions = {}) =>
      this.#signal('validation', request, options),
    guidance_request: (request: AskRequest, options: WriteOptions = {}) =>
      this.#signal('guidance_request', request, options),
    guidance_answer: (request: GuidanceAnswerRequest, options: WriteOptions = {}) =>
      this.#signal('guidance_answer', request, options),
  };

  /** News for the agent that it has not acknowledged, oldest first. */
  readonly inbox = {
    /**
     * With `wait_seconds`, returns as soon as there is an item that nobody has claimed; where there is more than a page of items,
     * perhaps without one.
     */
    list: ({ wait_seconds = 0, limit, signal }: WaitOptions & { limit?: number } = {}): Promise<InboxPage> =>
      this.#poll<InboxPage>({
        call: wait => ({ method: 'GET', path: this.#inboxPath(), query: { limit }, wait }),
        // The service knows the further pages: a wait that it ends has found a free item there.
        isDone: ({ items, next_cursor }) => next_cursor !== null || items.some(item => item.claimed_until === null),
        end: endOf(wait_seconds),
        signal,
      }),

    /** Leases items to `claimant`, oldest first: free ones, and those that it holds. */
    claim: async (request: InboxClaim, options: CallOptions = {}): Promise<InboxItem[]> => {
      const call: Call = { method: 'POST', path: `${this.#inboxPath()}/claim`, body: request };
      return (await this.#send<{ items: InboxItem[] }>(call, options)).items;
    },

    /** Ends items. Unknown ids, and those that have ended, change nothing. @returns the number of items that ended */
    acknowledge: async (item_ids: readonly string[], options: CallOptions = {}): Promise<number> => {
      const call: Call = { method: 'POST', path: `${this.#inboxPath()}/acknowledge`, body: { item_ids } };
      return (await this.#send<{ acknowledged: number }>(call, options)).acknowledged;
    },
  };

  /**
   * Posts a text in the agent's control thread, such as progress. An agent that has sent no signal has no control
   * thread. Its notes go into a discussion of their own in the run.
   */
  async note(text: string, options: WriteOptions = {}): Promise<{ thread_id: string }> {
    const { run_id, agent_name } = this.#agent();
    const { idempotency_key = crypto.randomUUID() } = options;
    const post = { body: text, actor: { type: 'agent', name: agent_name } };
    const add = async (thread_id: string, key = idempotency_key) => {
      const path = `/threads/${encodeURIComponent(thread_id)}/posts`;
      await this.#send({ method: 'POST', path, body: post, idempotency_key: key }, options);
      return { thread_id };
    };
    const control = await this.status(options);
    if (control) return add(control.thread_id);
    const thread_id = await digest('notes', [normal(run_id), normal(agent_name)]);
    try {
      return await add(thread_id);
    } catch (error) {
      // The thread is not there, or a repeated note has opened it.
      if (!isRefusal(error, 'THREAD_NOT_FOUND') && !isRefusal(error, 'IDEMPOTENCY_KEY_REUSED')) throw error;
    }
    const body = { ...post, thread_id, title: `Notes: ${agent_name} in ${run_id}`, run_id, agent_name };
    try {
      const { status } = await this.#transport.answer(
        { method: 'POST', path: '/threads', body, idempotency_key },
        { signal: options.signal },
      );
      if (status === 201) return { thread_id };
      // Another note with this text has opened it, and the key belongs to this request now.
      return await add(thread_id, await digest('note', [idempotency_key]));
    } catch (error) {
      if (isRefusal(error, 'THREAD_EXISTS')) return add(thread_id);
      throw error;
    }
  }

  /** Whether a run may be closed, and what blocks it. With `wait_seconds`, returns as soon as it may. */
  async gate(run_id: string, { wait_seconds = 0, signal }: WaitOptions = {}): Promise<Gate> {
    const { gate, status, version } = await this.#poll<Run>({
      call: wait => ({ method: 'GET', path: runPath(run_id), wait }),
      isDone: run => run.gate.ready || run.status === 'closed',
      end: endOf(wait_seconds),
      signal,
    });
    return { ...gate, run_id, status, version };
  }

  /** Closes a run whose gate is open. With `version`, only if the run has not changed since. */
  close(run_id: string, options: VersionedOptions & { actor?: Actor } = {}): Promise<Run> {
    const { version, actor, idempotency_key = crypto.randomUUID() } = options;
    const headers = ifMatch(version);
    const path = `${runPath(run_id)}/close`;
    return this.#send({ method: 'POST', path, body: { ...(actor && { actor }) }, headers, idempotency_key }, options);
  }

  /** The control state of the agent; null if it has sent no signal. */
  async status(options: CallOptions & { run_id?: string; agent_name?: string } = {}): Promise<ControlState | null> {
    try {
      return await this.#send<ControlState>({ method: 'GET', path: this.#agentPath(options) }, options);
    } catch (error) {
      if (isRefusal(error, 'CONTROL_THREAD_NOT_FOUND')) return null;
      throw error;
    }
  }

  /** What the token stands for. */
  me(options: CallOptions = {}): Promise<Me> {
    return this.#send({ method: 'GET', path: '/me' }, options);
  }

  /**
   * Follows the log from a sequence on: every event once, in order, also across lost connections. Ends when `signal` aborts.
   * @throws ForumbusError for a refusal that a retry does not change
   */
  events(filter: EventFilter & CallOptions = {}): AsyncGenerator<Event, void, undefined> {
    const { signal, ...rest } = filter;
    return followEvents(this.#transport, rest, signal);
  }

  /**
   * All of a run: the run, its agents, threads, posts, questions and events, and an `end`.
   * @throws ForumbusError for a refusal, and if the export was cut
   */
  exportRun(run_id: string, { signal }: CallOptions = {}): AsyncGenerator<ExportLine, void, undefined> {
    return exportedLines(this.#transport, run_id, signal);
  }

  #send<T>(call: Call, { signal }: CallOptions): Promise<T> {
    return this.#transport.send<T>(call, { signal });
  }

  #signal(control_type: string, request: object, options: WriteOptions): Promise<SignalResult> {
    const { idempotency_key = crypto.randomUUID() } = options;
    const body = { schema_version: 1, control_type, ...this.#agent(request), ...request };
    return this.#send({ method: 'POST', path: '/control-signals', body, idempotency_key }, options);
  }

  /** The question of a request, asked now or before. */
  async #asked(request: AskRequest, { idempotency_key, is_same, signal }: AskOptions): Promise<Question> {
    const agent = this.#agent(request);
    const isSame = is_same ?? (idempotency_key === undefined ? isAlike(request) : undefined);
    const questions = (filter: QuestionFilter) => this.questions(filter, { signal });
    const events = (query: EventQuery) => this.log.list(query, { signal });
    const { options } = request;
    // Both forms of an option are the same request.
    const given = options ? { ...request, options: options.map(toOption) } : request;
    for (let retried = false; ; retried = true) {
      const attempt = request.attempt ?? (await this.status({ ...agent, signal }))?.attempt ?? 1;
      const known = isSame && (await findUnread({ questions, events }, { ...agent, attempt }, isSame));
      if (known) return known;
      const key = idempotency_key ?? (await askKey({ ...request, ...agent, attempt }));
      try {
        const { question } = await this.#signal(
          'guidance_request',
          { ...given, ...agent, attempt },
          { idempotency_key: key, signal },
        );
        return question as Question;
      } catch (error) {
        // A new attempt began meanwhile.
        if (isRefusal(error, 'STALE_ATTEMPT') && request.attempt === undefined && !retried) continue;
        if (!isRefusal(error, 'IDEMPOTENCY_KEY_REUSED') || idempotency_key !== undefined) throw error;
        // The same question with another context or expiry, and the agent has got its outcome.
        const found = await findQuestion(questions, { ...agent, order: 'newest' }, isAlike(request));
        if (found) return found;
        throw error;
      }
    }
  }

  #untilEnded(question_id: string, end: number, signal: AbortSignal | undefined, known?: Question): Promise<Question> {
    return this.#poll<Question>({
      call: wait => ({ method: 'GET', path: questionPath(question_id), wait }),
      isDone: ({ state }) => state !== 'open',
      end,
      signal,
      known,
    });
  }

  /**
   * Repeats a waiting request until `isDone` or `end`, and goes on through outages.
   * @returns the last state; `known` is one that the caller has
   */
  async #poll<T>({ call, isDone, end, signal, known }: Poll<T>): Promise<T> {
    let last = known;
    // The answer to a repeated request is the one to the first: `known` may have ended since.
    let looked = false;
    // A proxy may hold a request for a shorter time than the service.
    let piece = WAIT_PIECE;
    for (let quick = 0; ; ) {
      const left = (end - performance.now()) / 1000;
      if (last !== undefined && ((looked && left <= 0) || isDone(last))) return last;
      const wait = Math.max(0, Math.min(piece, Math.ceil(left)));
      // A wait is repeated here, for as long as is left then; so is the look at its end, after which nothing is left.
      const limits: Limits = wait === 0 && quick === 0 ? { signal } : { signal, retry_seconds: 0 };
      const began = performance.now();
      const lasted = () => (performance.now() - began) / 1000;
      let isEarly = true;
      let retry_after: number | undefined;
      try {
        last = await this.#transport.send<T>(call(wait), limits);
        looked = true;
        // A service that stops answers its waits early.
        isEarly = lasted() < wait / 2;
        if (!isEarly) piece = Math.min(WAIT_PIECE, piece * 2);
      } catch (error) {
        if (!isPassing(error)) throw error;
        if (wait === 0) {
          if (last === undefined) throw error;
          return last;
        }
        piece = Math.max(1, Math.floor(lasted() / 2));
        ({ retry_after } = error as ForumbusError);
      }
      quick = isEarly ? quick + 1 : 0;
      if (!isEarly || (last !== undefined && isDone(last))) continue;
      await sleep(Math.min(delayMs(quick, retry_after), Math.max(0, end - performance.now())), signal);
    }
  }

  /** A lost acknowledgement only repeats the news. */
  async #acknowledgeQuietly({ question_id, acknowledged_at, state }: Question, options: CallOptions): Promise<void> {
    if (acknowledged_at !== null || state === 'superseded') return;
    try {
      await this.acknowledge(question_id, options);
    } catch (error) {
      if (!(error instanceof ForumbusError)) throw error;
    }
  }

  /** @throws TypeError if neither the call nor the client names the agent */
  #agent({ run_id = this.run_id, agent_name = this.agent_name }: Partial<Agent> = {}): Agent {
    if (run_id === undefined || agent_name === undefined) {
      throw new TypeError('run_id and agent_name are missing: give them to the client or to the call.');
    }
    return { run_id, agent_name };
  }

  #agentPath(agent: Partial<Agent> = {}): string {
    const { run_id, agent_name } = this.#agent(agent);
    return `/control-threads/${encodeURIComponent(run_id)}/${encodeURIComponent(agent_name)}`;
  }

  #inboxPath(): string {
    return `${this.#agentPath()}/inbox`;
  }
}

type Operations = ReturnType<typeof operationsOf>;

interface Agent {
  run_id: string;
  agent_name: string;
}

interface Poll<T> {
  /** @param wait seconds */
  call: (wait: number) => Call;
  isDone: (state: T) => boolean;
  /** As performance.now(). */
  end: number;
  signal: AbortSignal | undefined;
  known?: T | undefined;
}

function endOf(seconds = Number.POSITIVE_INFINITY): number {
  return performance.now() + seconds * 1000;
}

function isRefusal(error: unknown, code: string): boolean {
  return error instanceof ForumbusError && error.code === code;
}

function toOption(option: string | Option): Option {
  return typeof option === 'string' ? { label: option } : option;
}

const questionPath = (question_id: string) => `/questions/${encodeURIComponent(question_id)}`;

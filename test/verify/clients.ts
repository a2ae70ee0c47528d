import { setTimeout as delay } from 'node:timers/promises';
import type { Fleet } from './fleet.ts';
import type { Options } from './options.ts';
import type { Random } from './random.ts';
import { STRAY_TOPIC } from './subscriptions.ts';

/** A signal that was answered with 201. */
export interface Acknowledged {
  signal_id: string;
  sequence: number;
  thread_id: string;
  correlation_id: string;
}

/** A thread as an answer showed it. */
export interface Sighting {
  thread_id: string;
  version: number;
  last_sequence: number;
}

/** A mark that a viewer has seen a thread up to its latest event. */
export interface Mark {
  viewer: string;
  thread_id: string;
  /** Null if no answer came, so that nobody knows. */
  last_sequence: number | null;
}

/** An item of an inbox in the answer to a claim, with the times of request and answer on one clock. Milliseconds. */
export interface ClaimedItem {
  item_id: string;
  claimant: string;
  sent_at: number;
  answered_at: number;
  lease_ms: number;
}

/** A request hangs while its process is stopped; much longer than that, and it is given up. Milliseconds. */
const PATIENCE_MS = 30_000;
/** Before a client sends again that got no answer: a server that is down must not be flooded. Milliseconds. */
const PAUSE_MS = 20;
/** Before each act of a client when all intended acts are done. Milliseconds. */
const OVERTIME_PAUSE_MS = 2000;
/** Refusals that acts of others bring about; any other refusal is a fault. */
const LOST_RACES = [
  'ALREADY_ANSWERED',
  'GATE_BLOCKED',
  'QUESTION_CLOSED',
  'QUESTION_OPEN',
  'RUN_CLOSED',
  'THREAD_CLOSED',
  'TOO_MANY_OPEN_QUESTIONS',
  'TRANSITION_NOT_ALLOWED',
];
const VIEWERS = ['operator:ana', 'human:ben'];
const PRIORITIES = ['urgent', 'high', 'normal', 'low'];
const operator = { type: 'operator', name: 'ana' };

interface Answer {
  status: number;
  body: Record<string, unknown> & { code?: string };
}

/** An agent that sends one signal after the other. Others may close its thread or run; then it begins another life. */
interface Lane {
  number: number;
  life: number;
  open: string[];
  ended: string[];
  /** The control thread, once it is known. */
  thread?: string | undefined;
  /** Discussions that this lane has opened. */
  discussions: string[];
}

/** Clients that act at random until the time is over, and what they were told. */
export class Clients {
  /** In the order of the answers; within a lane that is the order in which they were sent. */
  readonly acknowledged: Acknowledged[] = [];
  /** The items that were acknowledged, also those of requests without an answer. */
  readonly received = new Set<string>();
  readonly claimed: ClaimedItem[] = [];
  readonly sightings: Sighting[] = [];
  readonly marks: Mark[] = [];
  /** Bodies of posts that were answered with 201, and their threads. */
  readonly posted = new Map<string, string>();
  /** Ids of messages that were answered with 201. */
  readonly published: string[] = [];
  readonly latencies: number[] = [];
  /** The correlation id of every signal that was sent; each is sent once. */
  readonly sent = new Set<string>();
  /** Sent, and not known whether stored: no answer, or a 503. */
  readonly unknown = new Set<string>();
  /** Answers that no valid request should get. */
  readonly wrong: string[] = [];
  acts = 0;
  /** Refusals because another act was first. */
  lostRaces = 0;
  readonly #options: Options;
  readonly #fleet: Fleet;
  readonly #random: Random;
  #numbers = 0;
  #stopped = false;

  constructor(options: Options, fleet: Fleet, random: Random) {
    this.#options = options;
    this.#fleet = fleet;
    this.#random = random;
  }

  /** Acts until `stop`. */
  async run(): Promise<void> {
    const { clients, lanes, rate, seconds } = this.#options;
    const all = Array.from(
      { length: lanes },
      (_, number): Lane => ({ number, life: 0, open: [], ended: [], discussions: [] }),
    );
    const begun = performance.now();
    await Promise.all(
      Array.from({ length: clients }, async (_, client) => {
        const own = all.filter(lane => lane.number % clients === client);
        while (!this.#stopped) {
          const early = this.acts / rate - (performance.now() - begun) / 1000;
          // A run that takes longer, on a slow machine, goes on with less: its handlers have to catch up.
          await delay(this.acts < rate * seconds ? Math.max(0, early * 1000) : OVERTIME_PAUSE_MS);
          this.acts += 1;
          await this.#act(this.#random.pick(own));
        }
      }),
    );
  }

  stop(): void {
    this.#stopped = true;
  }

  async #act(lane: Lane): Promise<void> {
    const drawn = this.#random.next() * 100;
    if (drawn < 26) return this.#signal(lane, { control_type: 'completion', summary: `Done: ${this.#word()}.` });
    if (drawn < 44) return this.#ask(lane);
    if (drawn < 54) return this.#answer(lane);
    if (drawn < 60) return this.#validate(lane);
    if (drawn < 78) return this.#publish(lane);
    if (drawn < 85) return this.#post(lane);
    if (drawn < 89) return this.#change(lane);
    if (drawn < 91) return this.#markSeen(lane);
    if (drawn < 94) return this.#acknowledge(lane);
    if (drawn < 96) return this.#cancel(lane);
    if (drawn < 97) return this.#brief(lane);
    if (drawn < 98) return this.#nextAttempt(lane);
    return drawn < 99 ? this.#closeRunInRace() : this.#closeThreadInRace();
  }

  #next(): number {
    this.#numbers += 1;
    return this.#numbers;
  }

  /** A word that no other text has, so that a search for it has one hit. */
  #word(): string {
    return `w${this.#next()}x${this.#options.seed.toString(36)}`;
  }

  #names({ number, life }: Lane): { run_id: string; agent_name: string } {
    return { run_id: `verify-run-${number % 7}`, agent_name: `agent-${number}-${life}` };
  }

  async #ask(lane: Lane): Promise<void> {
    const supersedes = lane.open.length > 0 && this.#random.next() < 0.2 ? this.#random.pick(lane.open) : undefined;
    const expires = this.#random.next() < 0.25;
    await this.#signal(lane, {
      control_type: 'guidance_request',
      question: `Which region for ${this.#word()}?`,
      priority: this.#random.pick(PRIORITIES),
      ...(expires && { expires_in_seconds: 1 + this.#random.below(2) }),
      ...(supersedes && { supersedes }),
    });
    if (supersedes) end(lane, supersedes);
  }

  async #answer(lane: Lane): Promise<void> {
    const [question] = lane.open;
    if (!question) return;
    end(lane, question);
    const answer = { control_type: 'guidance_answer', in_reply_to: question, answer: `Europe ${this.#word()}.` };
    await this.#signal(lane, { ...answer, ...(this.#random.next() < 0.5 && { actor: operator }) });
  }

  #validate(lane: Lane): Promise<void> {
    const status = this.#random.next() < 0.8 ? 'passed' : 'failed';
    const done_criteria = this.#random.pick(['Tests are green.', 'Tests  are\ngreen.', 'It compiles.']);
    return this.#signal(lane, { control_type: 'validation', status, done_criteria });
  }

  /** Sends one new signal, again and again as another one until it is answered. */
  async #signal(lane: Lane, fields: Record<string, unknown>): Promise<void> {
    for (;;) {
      const ticket = lane.number % 3 === 0 ? { ticket: `TCK-${lane.number % 5}` } : {};
      const answer = await this.#send({ ...this.#names(lane), ...ticket, ...fields });
      if (answer?.status === 201) {
        const { question, thread } = answer.body as { question?: { question_id: string }; thread: Sighting };
        lane.thread = thread.thread_id;
        if (question && fields.control_type === 'guidance_request') lane.open.push(question.question_id);
        return;
      }
      const code = answer?.body.code;
      if (code === 'THREAD_CLOSED' || code === 'RUN_CLOSED') {
        Object.assign(lane, { life: lane.life + 1, open: [], ended: [], thread: undefined });
      }
      // Whether the one without an answer was stored is not known, and the question may be open or not.
      if (answer || this.#stopped) return;
      await delay(PAUSE_MS);
    }
  }

  async #send(fields: Record<string, unknown>): Promise<Answer | undefined> {
    const correlation_id = `verify-${this.sent.size + 1}`;
    this.sent.add(correlation_id);
    const begun = performance.now();
    const body = { schema_version: 1, correlation_id, ...fields };
    const answer = await this.#request('POST', '/control-signals', body);
    if (!answer) this.unknown.add(correlation_id);
    if (answer?.status === 201) {
      this.latencies.push(performance.now() - begun);
      const { signal_id, sequence, thread_id } = answer.body.signal as Acknowledged;
      this.acknowledged.push({ signal_id, sequence, thread_id, correlation_id });
      this.#sight(answer.body.thread as Sighting);
    }
    return answer;
  }

  /** Publishes under the key of the lane's events, or under another. */
  async #publish(lane: Lane): Promise<void> {
    const message_id = `verify-message-${this.#next()}`;
    const topics = ['verify.work.a', 'verify.work.a', 'verify.work.b', 'verify.other', STRAY_TOPIC];
    const topic = this.#random.pick(topics);
    const key = this.#random.next() < 0.8 ? { message_key: lane.thread ?? `lane-${lane.number}` } : {};
    const body = { message_id, topic, ...key, payload: { number: this.#next() } };
    for (;;) {
      const answer = await this.#request('POST', '/outbox', body);
      if (answer && answer.status < 300) this.published.push(message_id);
      if (answer || this.#stopped) return;
      await delay(PAUSE_MS);
    }
  }

  async #post(lane: Lane): Promise<void> {
    const thread_id = this.#random.next() < 0.6 ? lane.discussions.at(-1) : lane.thread;
    const body = `Some text with ${this.#word()}.`;
    const actor = this.#random.pick([operator, { type: 'agent', name: 'builder' }]);
    if (thread_id && this.#random.next() < 0.7) {
      const state = this.#random.next() < 0.3 ? { state: this.#random.pick(['answered', 'waiting_human']) } : {};
      const answer = await this.#request('POST', `/threads/${thread_id}/posts`, { body, actor, ...state });
      if (answer?.status !== 201) return;
      this.posted.set(body, thread_id);
      this.#sight(answer.body.thread as Sighting);
      return;
    }
    const id = `verify-thread-${this.#next()}`;
    const title = `About ${this.#word()}`;
    const place = this.#random.next() < 0.5 ? { run_id: `verify-run-${lane.number % 7}`, ticket: 'TCK-9' } : {};
    const answer = await this.#request('POST', '/threads', { thread_id: id, title, body, actor, ...place });
    if (answer?.status !== 201) return;
    this.posted.set(body, id);
    lane.discussions.push(id);
    this.#sight(answer.body as unknown as Sighting);
  }

  async #change(lane: Lane): Promise<void> {
    const thread_id = this.#random.next() < 0.7 ? lane.discussions.at(-1) : lane.thread;
    if (!thread_id) return;
    const changes = [
      { priority: this.#random.pick(PRIORITIES) },
      { assignee: this.#random.pick(['ana', 'ben', null]) },
      { state: this.#random.pick(['triaged', 'waiting_operator', 'closed']) },
    ];
    const change = Object.assign({}, ...changes.filter(() => this.#random.next() < 0.5));
    await this.#patch(thread_id, change);
  }

  async #patch(thread_id: string, change: object): Promise<void> {
    if (Object.keys(change).length === 0) return;
    const answer = await this.#request('PATCH', `/threads/${thread_id}`, { ...change, actor: operator });
    if (answer?.status === 200) this.#sight(answer.body as unknown as Sighting);
  }

  async #markSeen(lane: Lane): Promise<void> {
    const thread_id = this.#random.pick([lane.thread, lane.discussions.at(-1)]);
    if (!thread_id) return;
    const viewer = this.#random.pick(VIEWERS);
    const mark: Mark = { viewer, thread_id, last_sequence: null };
    const answer = await this.#request('PUT', `/threads/${thread_id}/reads/${viewer}`, {});
    if (answer?.status === 200) mark.last_sequence = Number(answer.body.last_sequence);
    this.marks.push(mark);
  }

  async #acknowledge(lane: Lane): Promise<void> {
    if (this.#random.next() < 0.5) return this.#readInbox(lane);
    const question = lane.ended.pop();
    if (question) await this.#request('POST', `/questions/${question}/acknowledge`, {});
  }

  /** Two claim at once and acknowledge, as hooks of one session do; one that is killed in between does not. */
  async #readInbox(lane: Lane): Promise<void> {
    const { run_id, agent_name } = this.#names(lane);
    const inbox = `/control-threads/${run_id}/${agent_name}/inbox`;
    await Promise.all([this.#claim(inbox), this.#claim(inbox)]);
  }

  async #claim(inbox: string): Promise<void> {
    const claimant = `hook-${this.#next()}`;
    const lease_seconds = 1 + this.#random.below(3);
    const claim = { claimant, lease_seconds, limit: 1 + this.#random.below(5) };
    const sent_at = performance.now();
    const answer = await this.#request('POST', `${inbox}/claim`, claim);
    const answered_at = performance.now();
    const items = (answer?.body.items ?? []) as unknown as { item_id: string }[];
    const item_ids = items.map(({ item_id }) => item_id);
    for (const item_id of item_ids)
      this.claimed.push({ item_id, claimant, sent_at, answered_at, lease_ms: lease_seconds * 1000 });
    if (item_ids.length === 0 || this.#random.next() < 0.3) return;
    for (const id of item_ids) this.received.add(id);
    await this.#request('POST', `${inbox}/acknowledge`, { item_ids });
  }

  async #cancel(lane: Lane): Promise<void> {
    const question = lane.open.at(-1);
    if (!question) return;
    end(lane, question);
    await this.#request('POST', `/questions/${question}/cancel`, { actor: operator });
  }

  async #brief(lane: Lane): Promise<void> {
    const { run_id, agent_name } = this.#names(lane);
    const done_criteria = this.#random.pick(['Tests are green.', 'It compiles.']);
    const agents = [agent_name, `absent-${this.#random.below(3)}`];
    const title = `Run of ${this.#word()}`;
    await this.#request('PUT', `/runs/${run_id}`, {
      title,
      done_criteria,
      agents,
      ticket: `TCK-${this.#random.below(5)}`,
    });
  }

  async #nextAttempt(lane: Lane): Promise<void> {
    const { run_id, agent_name } = this.#names(lane);
    if (lane.thread) await this.#request('POST', `/control-threads/${run_id}/${agent_name}/attempts`, {});
  }

  /** A run that is ready is closed while its agent sends signals. */
  async #closeRunInRace(): Promise<void> {
    const names = { run_id: `verify-race-${this.#next()}`, agent_name: 'racer' };
    const validation = { control_type: 'validation', status: 'passed', done_criteria: 'Tests are green.' };
    await this.#send({ ...names, control_type: 'completion', summary: `First ${this.#word()}.` });
    await this.#send({ ...names, ...validation });
    await Promise.all([
      this.#send({ ...names, control_type: 'completion', summary: `Again ${this.#word()}.` }),
      this.#request('POST', `/runs/${names.run_id}/close`, {}, ['RUN_NOT_FOUND']),
      this.#send({ ...names, control_type: 'guidance_request', question: `Still ${this.#word()}?` }),
      this.#send({ ...names, ...validation, status: this.#random.pick(['passed', 'failed']) }),
    ]);
  }

  /** A thread is closed while its question is answered and its agent sends another signal. */
  async #closeThreadInRace(): Promise<void> {
    const names = { run_id: `verify-run-${this.#random.below(7)}`, agent_name: `racer-${this.#next()}` };
    const asked = await this.#send({ ...names, control_type: 'guidance_request', question: `Soon ${this.#word()}?` });
    if (asked?.status !== 201) return;
    const { question_id: question } = asked.body.question as { question_id: string };
    const { thread_id } = asked.body.signal as Acknowledged;
    await Promise.all([
      this.#patch(thread_id, { state: 'closed' }),
      this.#send({ ...names, control_type: 'guidance_answer', in_reply_to: question, answer: `Yes ${this.#word()}.` }),
      this.#request('POST', `/questions/${question}/cancel`, { actor: operator }),
      this.#send({ ...names, control_type: 'completion', summary: `Late ${this.#word()}.` }),
    ]);
    await this.#request('POST', `/questions/${question}/acknowledge`, {});
  }

  #sight({ thread_id, version, last_sequence }: Sighting): void {
    this.sightings.push({ thread_id, version, last_sequence });
  }

  /** The answer to a request; undefined if there was none, or a 503. */
  async #request(method: string, path: string, body: object, alsoBorne: string[] = []): Promise<Answer | undefined> {
    try {
      const service = await this.#fleet.anyUp(up => this.#random.pick(up));
      const response = await fetch(`${service.origin}${path}`, {
        method,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const answer: Answer = { status: response.status, body: (await response.json()) as Answer['body'] };
      const { status } = answer;
      const { code = '', detail } = answer.body;
      if (status === 503) return undefined;
      const lost = status === 409 && LOST_RACES.includes(code);
      if (lost) this.lostRaces += 1;
      if (status >= 300 && !lost && !alsoBorne.includes(code))
        this.wrong.push(`${method} ${path}: ${status} ${code} ${detail}`);
      return answer;
    } catch (error) {
      // The connection broke, and with it the answer. Without any process the run has failed.
      if (this.#fleet.hasFailed) throw error;
      return undefined;
    }
  }
}

/** The question is not open any more, as far as its lane knows. */
function end(lane: Lane, question: string): void {
  lane.open = lane.open.filter(other => other !== question);
  lane.ended.push(question);
}

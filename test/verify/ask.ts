import { setTimeout as delay } from 'node:timers/promises';
import type { Asked, Stored } from './observe.ts';
import { sentCounts } from './projection-proofs.ts';
import type { Random } from './random.ts';
import { recompute } from './recompute.ts';

/** Threads, questions and searches that are asked for, of each at most so many. */
const SAMPLE = 150;
const AT_ONCE = 8;
const PRIORITIES = ['urgent', 'high', 'normal', 'low'];

type Body = Record<string, unknown>;

/** Asks a service at rest what it knows, and sets beside it what the log says. */
export async function ask(origin: string, { events, deliveries, tables }: Stored, random: Random): Promise<Asked[]> {
  const get = async (path: string): Promise<Body> => {
    const patience = AbortSignal.timeout(30_000);
    for (;;) {
      const response = await fetch(`${origin}${path}`, { signal: patience });
      const body = (await response.json()) as Body;
      if (response.ok) return body;
      // A process that was stopped sheds load until its event loop has been in time for a while.
      if (response.status !== 503) throw new Error(`GET ${path}: ${response.status} ${JSON.stringify(body)}`);
      await delay(100, undefined, { signal: patience });
    }
  };
  const log = recompute(events);
  const some = <T>(items: Iterable<T>): T[] => random.shuffle([...items]).slice(0, SAMPLE);
  const counted = (subject: string) =>
    [...log.counts].flatMap(([key, { count }]) =>
      key.startsWith(`${subject} `) ? [[key.slice(subject.length + 1), count]] : [],
    );
  const sorted = (counts: object) => Object.entries(counts).sort();

  const questions: (() => Promise<Asked>)[] = [
    async () => {
      const { threads, signals } = (await get('/stats')) as { threads: Body; signals: Body };
      const got = [threads.by_state, threads.by_priority, signals.by_type].map(counts => sorted(counts as object));
      const wanted = ['thread_state', 'thread_priority', 'signal_type'].map(subject => counted(subject).sort());
      return { what: 'the counts', got, wanted };
    },
    async () => {
      const { items } = (await get('/bus/subscriptions?limit=200')) as { items: Body[] };
      const busy = items.filter(one => one.waiting !== 0 || one.dead !== 0 || (one.served_by as string[]).length === 0);
      return { what: 'subscriptions with something waiting or dead, or without a process', got: busy, wanted: [] };
    },
    async () => {
      const { by_topic } = (await get('/outbox/stats')) as { by_topic: { topic: string; sent: number }[] };
      const got = by_topic.filter(({ sent }) => sent > 0).map(({ topic, sent }) => [topic, sent]);
      return { what: 'deliveries sent by topic', got: got.sort(), wanted: [...sentCounts(deliveries)].sort() };
    },
    ...[...log.runs].slice(0, SAMPLE).map(([id, run]) => async () => {
      const names = ['status', 'ticket', 'agents_count', 'open_questions_count'];
      return compare(`the run ${id}`, await get(`/runs/${id}`), run, names);
    }),
    ...some(log.threads).map(([id, thread]) => async () => {
      const names = [
        'kind',
        'title',
        'state',
        'assignee',
        'ticket',
        'posts_count',
        'last_sequence',
        'priority',
        'unanswered',
      ];
      const answered = Math.max(Number(thread.last_human_post), Number(thread.last_answered));
      const unanswered = thread.state !== 'closed' && Number(thread.last_agent_post) > answered;
      const wanted = { ...thread, priority: PRIORITIES[Number(thread.priority)], unanswered };
      return compare(`the thread ${id}`, await get(`/threads/${id}`), wanted, names);
    }),
    ...some(log.questions).map(([id, question]) => async () => {
      const names = ['state', 'answer', 'thread_id', 'version', 'supersedes'];
      return compare(`the question ${id}`, await get(`/questions/${id}`), question, names);
    }),
    ...some(tables.control_threads).map(({ run_id, agent_name }) => async () => {
      const own = tables.inbox_items.filter(row => row.run_id === run_id && row.agent_name === agent_name);
      const wanted = own.map(({ sequence }) => Number(sequence)).sort((a, b) => a - b);
      const { items } = (await get(`/control-threads/${run_id}/${agent_name}/inbox?limit=200`)) as { items: Body[] };
      const got = items.map(({ item_id }) => item_id);
      return { what: `the inbox of ${agent_name}`, got, wanted: wanted.map(sequence => `item_${sequence}`) };
    }),
    ...some(words(events)).map(([word, thread_id]) => async () => {
      const { items } = (await get(`/threads?q=${word}`)) as { items: Body[] };
      return { what: `a search for ${word}`, got: items?.map(item => item.thread_id), wanted: [thread_id] };
    }),
  ];
  const answers: Asked[] = [];
  const next = questions.values();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const question of next) answers.push(await question());
    }),
  );
  return answers;
}

function compare(what: string, got: Body, wanted: Body, names: string[]): Asked {
  const only = (of: Body) => names.map(name => `${name} ${JSON.stringify(of[name])}`);
  return { what, got: only(got), wanted: only(wanted) };
}

/** The words that only one post has, and its thread. */
function words(events: Stored['events']): Map<string, string> {
  const found = new Map<string, string>();
  for (const { event_type, thread_id, payload } of events) {
    if (thread_id === null || !['forum.post.added', 'forum.control.signal'].includes(event_type)) continue;
    const said = [payload.body, payload.question, payload.answer, payload.summary].join(' ');
    for (const [word] of said.matchAll(/w\d+x[0-9a-z]+/g)) found.set(word, thread_id);
  }
  return found;
}

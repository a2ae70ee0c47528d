import { batch, computed, signal } from '@preact/signals-core';
import type { ControlState, Event, Question, QuestionFilter, RunSummary, Thread } from '../../client/index.ts';
import { busyAgents, currentRuns } from './current.ts';
import { gather } from './gather.ts';
import { changed, now } from './live.ts';
import { inPlaces, placesOf } from './narrowing.ts';
import { allOf, client, isRefusal, present } from './service.ts';
import { hasEnded, myName, ofRun, viewer } from './session.ts';
import { names, read, stored, write } from './settings.ts';

/* The questions of the inbox and what is known around them. Views read the signals; events of the log renew them. */

const OPEN_MOST = 1000;
const ENDED_MOST = 100;
const RECENT_MOST = 20;
const AROUND_MOST = 400;
/** Runs, agents and threads are read again at most once in this time, however much happens. Milliseconds. */
const AROUND_MS = 1000;
/** Events that come together are read together. Milliseconds. */
const GATHER_MS = 25;
/** After a failure. Milliseconds. */
const AGAIN_MS = 1000;
/** Above this number of changed questions the lists are read anew. */
const SINGLE_READS = 20;
/** How long an answer of somebody else stays in the place of its question. Milliseconds. */
const SETTLED_MS = 20_000;

/** How long words that were not sent are kept. Milliseconds. */
const DRAFT_MS = 30 * 86_400_000;

export const loaded = signal(false);
/** By id: all open ones, those that ended and whose agents do not know it, and the last that are done. */
export const questions = signal<ReadonlyMap<string, Question>>(new Map());
export const runs = signal<ReadonlyMap<string, RunSummary>>(new Map());
export const agents = signal<ReadonlyMap<string, ControlState>>(new Map());
/** Those that wait for a person. */
const threads = signal<ReadonlyMap<string, Thread>>(new Map());
/** Ids of all threads of the assignee whose questions are wanted. */
const assigned = signal<ReadonlySet<string>>(new Set());
/** Questions that ended before the eyes of the person, with the time when. */
const settled = signal<ReadonlyMap<string, number>>(new Map());
/** Ids of questions that will get one answer. */
export const selected = signal<ReadonlySet<string>>(new Set());
/** Until when a question is out of sight. Epoch milliseconds. */
const snoozed = stored<Record<string, number>>('snoozed', {});

export const filter = {
  run_id: signal(''),
  ticket: signal(''),
  assignee: signal(''),
  mine: signal(false),
};
/** As an assignee: no name is a space. */
export const NOBODY = ' ';
const wantedAssignee = () => (filter.mine.value ? myName.value : filter.assignee.value);

export const agentKey = ({ run_id, agent_name }: { run_id: string; agent_name: string }) =>
  JSON.stringify([run_id, agent_name]);

/* What cards read of runs and threads, as text first. So cards are drawn again only if just that has changed. */
const briefText = computed(() =>
  JSON.stringify([...runs.value.values()].map(({ run_id, title, ticket }) => [run_id, { title, ticket }])),
);
export const briefs = computed(
  () => new Map<string, Pick<RunSummary, 'title' | 'ticket'>>(JSON.parse(briefText.value)),
);
const assigneeText = computed(() =>
  JSON.stringify([...threads.value.values()].map(({ thread_id, assignee }) => [thread_id, assignee])),
);
/** Of threads that wait for a person; null without one. */
export const assignees = computed(() => new Map<string, string | null>(JSON.parse(assigneeText.value)));
export const assigneeNames = computed(() =>
  [...new Set([...assignees.value.values()].flatMap(name => name ?? []))].sort(),
);

const RANKS = ['urgent', 'high', 'normal', 'low'];

const shown = computed(() => {
  const wanted = wantedAssignee();
  const all = [...questions.value.values()];
  if (wanted === '') return all;
  if (wanted === NOBODY) return all.filter(({ thread_id }) => assignees.value.get(thread_id) === null);
  return all.filter(({ thread_id }) => assignees.value.get(thread_id) === wanted || assigned.value.has(thread_id));
});

const isSettled = ({ question_id }: Question) =>
  (settled.value.get(question_id) ?? Number.NEGATIVE_INFINITY) > now.value - SETTLED_MS;
const isSnoozed = ({ question_id }: Question) => (snoozed.value[question_id] ?? 0) > now.value;

/** An expired question, even with a default, has been answered by nobody: its thread waits for a person. */
function isUnattended({ state, thread_id }: Question): boolean {
  return state === 'expired' && (threads.value.get(thread_id)?.state ?? '').startsWith('waiting');
}

/** Nobody waits for it any more. One that has just ended keeps its place. */
const isOver = (question: Question) => question.state !== 'open' && !isSettled(question);
const needsPerson = (question: Question) => question.state === 'open' || isSettled(question) || isUnattended(question);

export const needsMe = computed(() =>
  shown.value
    .filter(question => needsPerson(question) && !isSnoozed(question))
    .sort(
      (a, b) =>
        Number(isOver(a)) - Number(isOver(b)) ||
        RANKS.indexOf(a.priority) - RANKS.indexOf(b.priority) ||
        a.asked_at.localeCompare(b.asked_at),
    ),
);
export const later = computed(() => shown.value.filter(question => question.state === 'open' && isSnoozed(question)));
const ended = computed(() =>
  shown.value.filter(question => !needsPerson(question)).sort((a, b) => endOf(b).localeCompare(endOf(a))),
);
export const waitingOnAgents = computed(() =>
  ended.value.filter(({ state, acknowledged_at }) => acknowledged_at === null && state !== 'superseded'),
);
export const recentlyDone = computed(() =>
  ended.value.filter(({ acknowledged_at }) => acknowledged_at !== null).slice(0, RECENT_MOST),
);
/** The number in the title: open questions that are in sight. */
export const openCount = computed(() => needsMe.value.filter(({ state }) => state === 'open').length);

function endOf({ answered_at, expires_at, asked_at }: Question): string {
  return answered_at ?? expires_at ?? asked_at;
}

/** Reads everything anew. @throws ForumbusError */
export async function snapshot(): Promise<void> {
  const { run_id, ticket } = wanted();
  const before = questions.value;
  const places = await placesOf(run_id, ticket);
  const all = (query: QuestionFilter, most: number) =>
    inPlaces(places, place => allOf(page => client.questions({ ...query, ...place, ...page }), most));
  const [open, unknown, done] = await Promise.all([
    all({ state: 'open' }, OPEN_MOST),
    all({ unacknowledged: true, order: 'newest' }, ENDED_MOST),
    all({ state: 'answered', order: 'newest' }, RECENT_MOST),
    readAround(),
  ]);
  // Another filter was chosen meanwhile, and reads for itself.
  if (run_id !== wanted().run_id || ticket !== wanted().ticket) return;
  batch(() => {
    ticketRuns = new Set(places.flatMap(place => (place.ticket ? [] : (place.run_id ?? []))));
    const read = new Map([...done, ...unknown, ...open].map(one => [one.question_id, one]));
    // What events have brought meanwhile may be newer than the lists, or missing there.
    for (const [id, question] of questions.value) {
      const known = read.get(id);
      if (known ? known.version < question.version : !before.has(id)) read.set(id, question);
    }
    questions.value = read;
    loaded.value = true;
  });
  tidyStorage();
}

/** Runs of the ticket that is wanted. */
let ticketRuns: ReadonlySet<string> = new Set();
const wanted = () => ({ run_id: filter.run_id.value.trim(), ticket: filter.ticket.value.trim() });

/** Runs, agents and threads: what the rows say beside the question. */
async function readAround(): Promise<void> {
  const assignee = wantedAssignee().trim();
  const control = { ...ofRun(), kind: 'control' as const };
  const [openRuns, busy, asking, talking, ofAssignee] = await Promise.all([
    currentRuns(AROUND_MOST),
    busyAgents(AROUND_MOST),
    allOf(page => client.threads.list({ ...page, ...control, state: 'waiting_operator' }), AROUND_MOST),
    allOf(page => client.threads.list({ ...page, ...control, state: 'waiting_human' }), AROUND_MOST),
    assignee === '' ? [] : allOf(page => client.threads.list({ ...page, ...control, assignee }), AROUND_MOST),
  ]);
  batch(() => {
    runs.value = new Map(openRuns.map(run => [run.run_id, run]));
    agents.value = new Map(busy.map(agent => [agentKey(agent), agent]));
    threads.value = new Map([...asking, ...talking].map(thread => [thread.thread_id, thread]));
    assigned.value = new Set(ofAssignee.map(({ thread_id }) => thread_id));
  });
  // When the run that is wanted has been closed, nothing of it is left to narrow the inbox to.
  const { run_id } = wanted();
  if (run_id === '' || runs.value.has(run_id) || !(await isClosed(run_id)) || run_id !== wanted().run_id) return;
  filter.run_id.value = '';
  await snapshot();
}

async function isClosed(run_id: string): Promise<boolean> {
  try {
    return (await client.runs.get(run_id)).status === 'closed';
  } catch (error) {
    if (isRefusal(error, 'RUN_NOT_FOUND')) return true;
    throw error;
  }
}

const changedIds = new Set<string>();
/** Ids of questions that were asked since the page was loaded, until they are read. */
const openedIds = new Set<string>();
const renewSoon = gather(() => void renewChanged(), GATHER_MS);
const renewLater = gather(() => void renewChanged(), AGAIN_MS);
/** A question that an event has renewed. `isNew`: the event says that it was asked. */
type Renewal = { question: Question; isNew: boolean };
const watchers = new Set<(renewals: Renewal[]) => void>();

export function onRenewal(watcher: (renewals: Renewal[]) => void): void {
  watchers.add(watcher);
}

/** Takes an event of the log. */
export function take({ event_type, payload, run_id, ticket }: Event): void {
  if (!event_type.startsWith('forum.question.')) return;
  const { question_id } = payload as { question_id: string };
  const { run_id: onlyRun, ticket: onlyTicket } = wanted();
  const isForeign =
    (onlyRun && run_id !== onlyRun) || (onlyTicket && ticket !== onlyTicket && !ticketRuns.has(run_id ?? ''));
  if (isForeign && !questions.value.has(question_id)) return;
  changedIds.add(question_id);
  if (event_type === 'forum.question.opened') openedIds.add(question_id);
  renewSoon();
}

async function renewChanged(): Promise<void> {
  const ids = [...changedIds];
  changedIds.clear();
  try {
    if (ids.length > SINGLE_READS) await snapshot();
    else put(await Promise.all(ids.map(id => client.question(id))));
  } catch (error) {
    if (hasEnded(error)) return;
    // The service is away: the changes are read with the next ones.
    for (const id of ids) changedIds.add(id);
    renewLater();
    return;
  }
  const renewals = ids.flatMap(id => {
    const question = questions.value.get(id);
    const isNew = openedIds.delete(id);
    return question ? [{ question, isNew }] : [];
  });
  for (const watcher of watchers) watcher(renewals);
}

/** Puts questions as they are now in the place of those before. */
export function put(renewed: Question[]): void {
  const next = new Map(questions.value);
  const ends = new Map(settled.value);
  for (const question of renewed) {
    const known = next.get(question.question_id);
    if (known && known.version > question.version) continue;
    if (known?.state === 'open' && question.state !== 'open' && !isOwn(question)) {
      ends.set(question.question_id, present());
    }
    next.set(question.question_id, question);
  }
  batch(() => {
    now.value = present();
    settled.value = ends;
    questions.value = forgetful(next);
  });
}

/** Ids of questions to which this tab has sent an answer. */
export const sent = new Set<string>();
/** Whether the person has given the answer here. Where there are no tokens, others may have the same name. */
export const isOwn = ({ question_id, answered_in, answered_by }: Question) =>
  sent.has(question_id) && answered_in === 'page' && answered_by?.name === myName.value;

/** Drops what no section shows, so that a page that is open for weeks stays small. */
function forgetful(all: Map<string, Question>): Map<string, Question> {
  const over = [...all.values()]
    .filter(question => question.state !== 'open' && !isUnattended(question))
    .sort((a, b) => endOf(b).localeCompare(endOf(a)));
  const isKnown = ({ state, acknowledged_at }: Question) => acknowledged_at !== null || state === 'superseded';
  const known = over.filter(isKnown).slice(2 * RECENT_MOST);
  const unknown = over.filter(question => !isKnown(question)).slice(ENDED_MOST);
  for (const { question_id } of [...known, ...unknown]) all.delete(question_id);
  return all;
}

export function toggleSelected(question_id: string): void {
  const next = new Set(selected.value);
  if (!next.delete(question_id)) next.add(question_id);
  selected.value = next;
}

export function snooze(question_id: string, ms: number): void {
  snoozed.value = { ...snoozed.value, [question_id]: present() + ms };
}

export function unsnooze(question_id: string): void {
  const { [question_id]: _, ...others } = snoozed.value;
  snoozed.value = others;
}

export interface Draft {
  text: string;
  selected: string[];
  /** When it was written. Epoch milliseconds. */
  at?: number;
}

export const EMPTY: Draft = { text: '', selected: [] };
/** People who share a browser do not see each other's words. */
const draftName = (question_id: string) => `draft:${viewer.value}:${question_id}`;
export const draftOf = (question_id: string): Draft => read(draftName(question_id), EMPTY);
export function keepDraft(question_id: string, draft: Draft): void {
  write(
    draftName(question_id),
    draft.text === '' && draft.selected.length === 0 ? undefined : { ...draft, at: Date.now() },
  );
}

/** Forgets what was kept for questions long ago. */
function tidyStorage(): void {
  const current = Object.entries(snoozed.value).filter(([, until]) => until > present());
  if (current.length < Object.keys(snoozed.value).length) snoozed.value = Object.fromEntries(current);
  for (const name of names()) {
    if (/^draft:/.test(name) && !((read(name, EMPTY).at ?? 0) > Date.now() - DRAFT_MS)) write(name, undefined);
  }
}

/** Reads the threads and runs again whenever they have changed. */
export function watchAround(): () => void {
  let isResting = false;
  let isStale = false;
  const renew = () => {
    isStale = isResting;
    if (isResting) return;
    isResting = true;
    void readAround().catch(() => {});
    setTimeout(() => {
      isResting = false;
      if (isStale) renew();
    }, AROUND_MS);
  };
  return changed.threads.subscribe(number => {
    if (number > 0) renew();
  });
}

import BetterSqlite from 'better-sqlite3';
import { BIG_RUN, LONG_THREAD, WIDE_RUN } from './seed.ts';
import { Chance, rareWord, Vocabulary } from './vocabulary.ts';

/** A read by its name and address; a list is read further down, too. */
export interface Read {
  name: string;
  url: string;
  isList: boolean;
}

export const BIG_SNAPSHOT = 'run: the big one';
export const WIDE_SNAPSHOT = 'run: as many agents, few signals';

/** All reads, with the values that most rows have, where that says nothing else. */
export function readsOf(file: string): Read[] {
  const db = new BetterSqlite(file, { readonly: true });
  const commonest = (table: string, column: string, where = 'true') => {
    const query = `select ${column} from ${table} where ${column} is not null and ${where}
      group by 1 order by count(*) desc, 1 limit 1`;
    return db.prepare(query).pluck().get() as string;
  };
  const ticket = commonest('threads', 'ticket');
  const agent = commonest('threads', 'agent_name', "agent_name like 'agent-%'");
  const assignee = commonest('threads', 'assignee', "state = 'closed'");
  const asker = commonest('questions', 'agent_name', "state = 'open' and agent_name like 'agent-%'");
  const smallRun = db.prepare('select run_id from runs where agents_count < 10 limit 1').pluck().get() as string;
  const newest = db.prepare('select max(sequence) from events').pluck().get() as number;
  const middle = db.prepare('select place from threads order by place limit 1 offset 500').pluck().get() as number;
  const oldRun = commonest('threads', 'run_id', "run_id not in ('run-big', 'run-wide')");
  db.close();

  const lists = (prefix: string, path: string, queries: Record<string, Record<string, string>>): Read[] =>
    Object.entries(queries).map(([name, query]) => {
      const url = Object.keys(query).length > 0 ? `${path}?${new URLSearchParams(query)}` : path;
      return { name: `${prefix}: ${name}`, url, isList: true };
    });
  const one = (name: string, url: string): Read => ({ name, url, isList: false });
  const each = (column: string, values: readonly string[]) =>
    Object.fromEntries(values.map(value => [`${column}=${value}`, { [column]: value }]));
  const states = ['new', 'triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed'];

  return [
    ...lists('threads', '/threads', {
      all: {},
      'viewer=ana': { viewer: 'human:ana' },
      ticket: { ticket },
      'run_id (big)': { run_id: BIG_RUN },
      'run_id (other)': { run_id: oldRun },
      agent_name: { agent_name: agent },
      assignee: { assignee },
      ...each('state', states),
      ...each('priority', ['urgent', 'high', 'normal', 'low']),
      ...each('kind', ['control', 'discussion']),
      'assignee+state=closed': { assignee, state: 'closed' },
      'assignee+state=waiting_human': { assignee, state: 'waiting_human' },
      'assignee+priority=low': { assignee, priority: 'low' },
      'kind=control+state=waiting_operator': { kind: 'control', state: 'waiting_operator' },
      'kind=discussion+state=closed': { kind: 'discussion', state: 'closed' },
      'kind=control+priority=urgent': { kind: 'control', priority: 'urgent' },
      'kind=discussion+priority=low': { kind: 'discussion', priority: 'low' },
      'agent_name+state=answered': { agent_name: agent, state: 'answered' },
      'run_id+state=answered': { run_id: BIG_RUN, state: 'answered' },
      'run_id+agent_name': { run_id: BIG_RUN, agent_name: 'worker-1' },
      'state=waiting_operator+priority=urgent': { state: 'waiting_operator', priority: 'urgent' },
      'state=closed+priority=low': { state: 'closed', priority: 'low' },
      'ticket+agent_name': { ticket, agent_name: agent },
      'assignee+kind=control': { assignee, kind: 'control' },
      'assignee+agent_name': { assignee, agent_name: agent },
    }),
    // Nothing is written while this runs, so the cursors that a walk has after many writes are made by hand.
    ...[100, 1000, 10_000, 100_000].map(ago => {
      const cursor = Buffer.from(JSON.stringify(['threads', Math.max(1, newest - ago), middle])).toString('base64url');
      return one(`threads: a walk that began ${ago} events ago`, `/threads?cursor=${cursor}`);
    }),
    ...lists('queue', '/threads', queues({ ticket, assignee, agent })),
    ...lists('search', '/threads', searches({ ticket, assignee })),
    { name: 'posts of a long thread', url: `/threads/${LONG_THREAD}/posts`, isList: true },
    one('thread: the long one', `/threads/${LONG_THREAD}?viewer=human:ana`),
    ...lists('runs', '/runs', {
      all: {},
      ...each('status', ['closed', 'awaiting_guidance', 'completed', 'running']),
      ticket: { ticket },
      'ticket+status': { ticket, status: 'awaiting_guidance' },
    }),
    one(BIG_SNAPSHOT, `/runs/${BIG_RUN}`),
    one(WIDE_SNAPSHOT, `/runs/${WIDE_RUN}`),
    one('run: a small one', `/runs/${smallRun}`),
    ...lists('control threads', '/control-threads', {
      'of the big run': { run_id: BIG_RUN },
      'status=working': { status: 'working' },
      'run_id+status': { run_id: BIG_RUN, status: 'awaiting_guidance' },
    }),
    one('control thread: one of the big run', `/control-threads/${BIG_RUN}/worker-1`),
    ...lists('questions', '/questions', {
      all: {},
      open: { state: 'open' },
      'open, priority=urgent': { state: 'open', priority: 'urgent' },
      'open of the big run': { state: 'open', run_id: BIG_RUN },
      'open of an agent': { state: 'open', agent_name: asker },
      'of the big run': { run_id: BIG_RUN },
      'answered of the big run': { state: 'answered', run_id: BIG_RUN },
      'answered, priority=urgent': { state: 'answered', priority: 'urgent' },
      'answered of an agent': { state: 'answered', agent_name: asker },
      'expired of the big run': { state: 'expired', run_id: BIG_RUN },
    }),
    ...lists('events', '/events', {
      all: {},
      'of the big run': { run_id: BIG_RUN },
      'of a type': { event_type: 'forum.control.signal' },
      'of an agent': { agent_name: agent },
      'of the big run, of a type': { run_id: BIG_RUN, event_type: 'forum.control.signal' },
      'of the big run, of a rare type': { run_id: BIG_RUN, event_type: 'forum.assigned' },
      'of the big run, of no type': { run_id: BIG_RUN, event_type: 'forum.question.expired' },
      'of an agent, of a rare type': { agent_name: agent, event_type: 'forum.priority.changed' },
    }),
    one('stats', '/stats'),
  ];
}

type Values = Record<'ticket' | 'assignee' | 'agent', string>;

function queues({ ticket, assignee, agent }: Values): Record<string, Record<string, string>> {
  const unanswered = { queue: 'unanswered' };
  const unseen = (viewer: string) => ({ queue: 'unseen', viewer: `human:${viewer}` });
  return {
    unanswered,
    'unanswered+kind=control': { ...unanswered, kind: 'control' },
    'unanswered+state=waiting_operator': { ...unanswered, state: 'waiting_operator' },
    'unanswered+state=triaged': { ...unanswered, state: 'triaged' },
    'unanswered+assignee': { ...unanswered, assignee },
    'unanswered+ticket': { ...unanswered, ticket },
    'unanswered+run_id': { ...unanswered, run_id: BIG_RUN },
    'unseen of ana (20)': unseen('ana'),
    'unseen of bob (all but 1,000)': unseen('bob'),
    'unseen of nobody (all)': unseen('nobody'),
    'unseen of ana+state=closed': { ...unseen('ana'), state: 'closed' },
    'unseen of bob+state=closed': { ...unseen('bob'), state: 'closed' },
    'unseen of bob+state=new': { ...unseen('bob'), state: 'new' },
    'unseen of ana+kind=control': { ...unseen('ana'), kind: 'control' },
    'unseen of bob+kind=discussion': { ...unseen('bob'), kind: 'discussion' },
    'unseen of eve (all but closed)': unseen('eve'),
    'unseen of eve+state=closed': { ...unseen('eve'), state: 'closed' },
    'unseen of eve+assignee+state=closed': { ...unseen('eve'), assignee, state: 'closed' },
    'unseen of ana+assignee': { ...unseen('ana'), assignee },
    'unseen of ana+agent_name': { ...unseen('ana'), agent_name: agent },
  };
}

/** The vocabulary that the seed was written with. */
function searches({ ticket, assignee }: Omit<Values, 'agent'>): Record<string, Record<string, string>> {
  const { words } = new Vocabulary(new Chance(1));
  const [common = '', second = ''] = words;
  const long = words.find(word => word.length >= 6) ?? common;
  const middling = words[2000] ?? common;
  return {
    'a rare word': { q: rareWord(1) },
    'the commonest word': { q: common },
    'a middling word': { q: middling },
    'a word of all control titles': { q: 'control' },
    'a prefix of 3': { q: long.slice(0, 3) },
    'a prefix of 4': { q: long.slice(0, 4) },
    'a prefix of 5': { q: long.slice(0, 5) },
    'a prefix of 2': { q: long.slice(0, 2) },
    'two common words': { q: `${common} ${second}` },
    'a common and a middling word': { q: `${common} ${middling}` },
    'a common and a rare word': { q: `${common} ${rareWord(1)}` },
    'control and the commonest word': { q: `control ${common}` },
    'common+state=closed': { q: common, state: 'closed' },
    'common+state=waiting_human': { q: common, state: 'waiting_human' },
    'common+priority=urgent': { q: common, priority: 'urgent' },
    'common+ticket': { q: common, ticket },
    'common+assignee': { q: common, assignee },
    'common+unseen of ana': { q: common, queue: 'unseen', viewer: 'human:ana' },
    'control+kind=discussion': { q: 'control', kind: 'discussion' },
    'two words that never meet': { q: `${rareWord(1)} ${rareWord(2)}` },
    'common words that never meet': { q: words.slice(0, 12).join(' ') },
    nonsense: { q: '")( *:^ zzqxqzz' },
  };
}

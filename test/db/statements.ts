import { latestEntry, listEntries, nextEntries } from '../../src/audit/repository.ts';
import {
  countSilent,
  countWaiting,
  eraseAgents,
  listAgents,
  listBlockingAgents,
  listControlThreads,
  listOpenQuestions,
} from '../../src/control/agent-repository.ts';
import { findRun, listClosedBefore } from '../../src/control/run-repository.ts';
import type { Tx } from '../../src/db/database.ts';
import type { Engine } from '../../src/db/engine.ts';
import {
  findEventsAt,
  latestSequence,
  listEvents,
  listOutlines,
  listPosts,
  listStored,
  nextOpened,
} from '../../src/events/repository.ts';
import { eraseStoredAnswers, hasOldKeys } from '../../src/idempotency/repository.ts';
import { countItems, findFirstFree, findItems, listClaimable, listItems } from '../../src/inbox/repository.ts';
import { claimDue, endLeases, pausedTopics, promoteNext, takenLanes } from '../../src/outbox/delivery-repository.ts';
import { deliveriesAt, deliveriesOf, messagesAbout } from '../../src/outbox/erasure-repository.ts';
import {
  blockingOf,
  listLanes,
  overtaking,
  parkedTopics,
  putOldestFirst,
  topicsWithoutConsumer,
  unpark,
} from '../../src/outbox/lane-repository.ts';
import { leaseHolders, leasesOf, reclaimLeasesOf } from '../../src/outbox/lease-repository.ts';
import {
  countBlocked,
  countNext,
  deliveriesOfEvents,
  discardSome,
  findDeliveries,
  findErasedRun,
  hasUnfinished,
  listBlocking,
  listDead,
  listDeliveries,
  listMessagesByNumber,
  listNewest,
} from '../../src/outbox/repository.ts';
import {
  findQuestionsAt,
  listAskedBefore,
  listQuestions,
  type QuestionFilter,
} from '../../src/questions/list-repository.ts';
import {
  countOpen,
  countOpenByPriority,
  findApprovals,
  listOverdue,
  listQuestionsById,
  listToRemind,
} from '../../src/questions/repository.ts';
import { listRuns, listRunsByName } from '../../src/runs/repository.ts';
import { findSubscriptions, firstOfTypes, updatePositions } from '../../src/subscriptions/repository.ts';
import {
  findNewestThreadBefore,
  findThreadsByNumber,
  findWithdrawing,
  hasThreadBetween,
  isRunErased,
  largestCounts,
  listMovedSince,
  listThreads,
  readCounts,
  type ThreadFilter,
} from '../../src/threads/repository.ts';
import { rangeAfter, rangeAtOrBefore, rangeEnds } from '../../src/threads/seen-repository.ts';
import { findWebhook, listWebhooks } from '../../src/webhooks/repository.ts';

/** Each filter of threads by itself. */
const filters: [name: string, filter: ThreadFilter][] = [
  ['run', { run_id: 'r' }],
  ['ticket', { ticket: 't' }],
  ['assignee', { assignee: 'a' }],
  ['agent', { agent_name: 'a' }],
  ['kind', { kind: 'control' }],
];
const handled = {
  status: 'sent' as const,
  attempts: 1,
  queued: 0,
  parked: 0,
  last_error: null,
  history: '[]',
  updated_at: 0,
};
const walk = { after: 0, asOf: 9, limit: 50 };
const threads =
  (...given: ThreadFilter[]) =>
  (tx: Tx) =>
    listThreads(tx, Object.assign({}, ...given), walk);

/** Each combination of the filters of the log, by the index that serves it. */
const eventIndexes: [columns: string[], index: RegExp][] = [
  [[], /events_pkey|PRIMARY KEY/],
  [['run_id'], /events_by_run\b/],
  [['agent_name'], /events_by_agent\b/],
  [['event_type'], /events_by_type\b/],
  [['run_id', 'event_type'], /events_by_run_and_type\b/],
  [['agent_name', 'event_type'], /events_by_agent_and_type\b/],
  [['run_id', 'agent_name'], /events_by_run_and_agent\b/],
  [['run_id', 'agent_name', 'event_type'], /events_by_run_agent_and_type\b/],
  ...[[], ['run_id'], ['agent_name'], ['run_id', 'agent_name']].flatMap((others): [string[], RegExp][] => [
    [['thread_id', ...others], /events_by_thread\b|threads_pkey|sqlite_autoindex_threads_1/],
    [['thread_id', ...others, 'event_type'], /events_by_thread_and_type\b|threads_pkey|sqlite_autoindex_threads_1/],
  ]),
];
const eventFilters = eventIndexes.map(
  ([columns]) => [eventsBy(columns), Object.fromEntries(columns.map(column => [column, 'x']))] as const,
);
function eventsBy(columns: string[]): string {
  return columns.length === 0 ? 'events' : `events by ${columns.join(' and ')}`;
}

/** Each combination of the filters of questions that has an index, and the index. */
const questionIndexes: [filter: QuestionFilter, index: RegExp][] = [
  [{}, /questions_by_phase\b/],
  [{ run_id: 'r' }, /questions_by_run\b/],
  [{ agent_name: 'a' }, /questions_by_name\b/],
  [{ run_id: 'r', agent_name: 'a' }, /questions_by_agent\b/],
  [{ ticket: 't' }, /questions_by_ticket\b/],
  [{ ticket: 't', run_id: 'r' }, /questions_by_ticket_and_run\b/],
  [{ ticket: 't', agent_name: 'a' }, /questions_by_ticket_and_name\b/],
  [{ ticket: 't', run_id: 'r', agent_name: 'a' }, /questions_by_ticket_and_agent\b/],
];
/** What goes on in each of these indexes. */
const questionRanges: [name: string, filter: QuestionFilter][] = [
  ['', {}],
  [', open', { state: 'open' }],
  [', expired', { state: 'expired' }],
  [', unacknowledged', { unacknowledged: true }],
  [', urgent', { priority: 0 }],
];
const questionLists = questionIndexes.flatMap(([filter, index]) =>
  questionRanges.flatMap(([more, range]) => {
    const name = `questions by ${Object.keys(filter).join(' and ') || 'nothing'}${more}`;
    const all = { ...filter, ...range };
    const list = (from: Parameters<typeof listQuestions>[2]) => (tx: Tx) => listQuestions(tx, all, from, 50);
    return [
      { name, index, run: list({ order: 'urgent' }) },
      { name: `${name}, further on`, index, run: list({ order: 'urgent', key: [1, 1] }) },
      { name: `${name}, newest first`, index, run: list({ order: 'newest', key: [9] }) },
    ];
  }),
);

/** The statements of the repositories that must not slow down as tables grow. */
export const statements: Record<string, (tx: Tx) => Promise<unknown>> = {
  'events at their sequences': tx => findEventsAt(tx, [1, 2]),
  'the claim': tx => claimDue(tx, [1, 2], { limit: 16, lease_token: 't', leased_by: 'w', leaseMs: 1000, now: 0 }),
  'the next in a lane': async tx => promoteNext(tx, [1]),
  'messages that were handled': tx =>
    endLeases(
      tx,
      [1, 2].map(position => ({ lease: { position, lease_token: 't' }, row: handled })),
    ),
  'the holders of leases': leaseHolders,
  'the leases of a dead process': tx => reclaimLeasesOf(tx, ['w']),
  'the topics of parked messages': parkedTopics,
  'the topics without a consumer': topicsWithoutConsumer,
  'taking messages out of parking': tx => unpark(tx, 'a.b', 100),
  'the paused topics': pausedTopics,
  'the blocked lanes': tx => listBlocking(tx, 100),
  'the count of blocked lanes': countBlocked,
  'the count of messages': tx =>
    countNext(tx, { pending: 0, processing: 0, failed: 0, dead: 0, discarded: 0, limit: 5000, now: 0 }),
  'dead messages': tx => listDead(tx, { from: 0, upTo: 9 }, 100),
  'the deliveries of an event': tx => findDeliveries(tx, { event_sequence: 1 }),
  'the deliveries of a message': tx => findDeliveries(tx, { message_number: 1 }),
  'published messages': tx => listMessagesByNumber(tx, [1, 2]),
  'lanes that are taken': tx => takenLanes(tx, [{ subscription_id: 1, message_key: 'k' }]),
  'dead messages that block lanes': tx => blockingOf(tx, [1, 2], 200),
  'the next lanes': tx => listLanes(tx, { subscription_id: 0, message_key: '' }, 500),
  'the head of a lane': async tx => putOldestFirst(tx, [1]),
  'the subscriptions of a process': tx => findSubscriptions(tx, [1, 2]),
  'moving subscriptions': async tx => updatePositions(tx, [1, 2], 9),
  'the next events without their content': tx => listOutlines(tx, 0, 500),
  'messages with an older one in their lanes': tx => overtaking(tx, [1, 2]),
  'leases of a claim': tx => leasesOf(tx, 'w', ['t']),
  'the deliveries of a webhook': tx => listNewest(tx, { subscription_id: 1, before: 9 }, 50),
  'the dead deliveries of a webhook': tx => listNewest(tx, { subscription_id: 1, status: 'dead', before: 9 }, 50),
  'the deliveries of some events': tx => deliveriesOfEvents(tx, 1, [1, 2]),
  'whether a subscription has unfinished deliveries': tx => hasUnfinished(tx, 1),
  'discarding deliveries': tx => discardSome(tx, 1, 0, 200),
  'where a changed webhook goes on': tx => firstOfTypes(tx, ['a'], 1, { run_id: 'r' }),
  webhooks: tx => listWebhooks(tx, 'a', 50),
  'a webhook': tx => findWebhook(tx, 'webhook:a'),
  'questions to be called to mind': tx => listToRemind(tx, 9, 50),
  'the count of silent agents': tx => countSilent(tx, { from: 1, until: 9 }),
  'the count of waiting agents': countWaiting,
  'the count of open questions by priority': countOpenByPriority,
  'the count of items': tx => countItems(tx, 100),

  deliveries: tx => listDeliveries(tx, { from: 0 }, 50),
  'deliveries by status': tx => listDeliveries(tx, { from: 0, status: 'dead' }, 50),
  'deliveries by topic': tx => listDeliveries(tx, { from: 0, topic: 'a.b' }, 50),
  'deliveries by key': tx => listDeliveries(tx, { from: 0, message_key: 'k' }, 50),
  'deliveries by subscription': tx => listDeliveries(tx, { from: 0, subscription_id: 1 }, 50),
  ...Object.fromEntries(
    eventFilters.map(([name, filter]) => [name, (tx: Tx) => listEvents(tx, { after: 0, ...filter }, 50)]),
  ),
  ...Object.fromEntries(
    eventFilters.map(([name, filter]) => [
      `${name}, newest first`,
      (tx: Tx) => listEvents(tx, { after: 0, before: 9, ...filter }, 50),
    ]),
  ),
  posts: tx => listPosts(tx, 't', { after: 0 }, 50),
  'posts, newest first': tx => listPosts(tx, 't', { before: 9 }, 50),
  "an agent's open questions": tx => listOpenQuestions(tx, { run_id: 'r', agent_name: 'a' }, 50),
  'the agents that block a run': tx => listBlockingAgents(tx, 'r', 50),
  'a closed thread with open questions': findWithdrawing,
  'control threads': tx => listControlThreads(tx, { from: ['a', 'b'] }, 50),
  'control threads by run': tx => listControlThreads(tx, { run_id: 'r' }, 50),
  'control threads by status': tx => listControlThreads(tx, { status: 'working' }, 50),
  'the agents of a run': tx => listAgents(tx, 'r'),
  'a run': tx => findRun(tx, 'r'),
  threads: threads(),
  'threads by priority': threads({ priority: 1 }),
  'threads by state': threads({ state: 'new' }),
  'threads by priority and state': threads({ priority: 1, state: 'new' }),
  'unanswered threads': threads({ unanswered: true }),
  'unanswered threads by priority': threads({ unanswered: true, priority: 1 }),
  'unanswered threads by state': threads({ unanswered: true, state: 'new' }),
  'unanswered threads by kind': threads({ unanswered: true, kind: 'control' }),
  ...Object.fromEntries(
    filters.flatMap(([name, filter]) => [
      [`threads by ${name}`, threads(filter)],
      [`threads by ${name} and state`, threads(filter, { state: 'new' })],
      [`threads by ${name}, state and priority`, threads(filter, { state: 'new', priority: 1 })],
      [`found threads by ${name}`, (tx: Tx) => findThreadsByNumber(tx, filter, [1, 2, 3])],
    ]),
  ),
  'threads by everything': threads(...filters.map(([, filter]) => filter), { priority: 1 }),
  'unanswered threads by run': threads({ unanswered: true, run_id: 'r' }),
  'the thread to be indexed next': tx => findNewestThreadBefore(tx, 9),
  'found threads': tx => findThreadsByNumber(tx, {}, [1, 2, 3]),
  'found threads that are unanswered': tx => findThreadsByNumber(tx, { unanswered: true }, [1, 2, 3]),
  'the threads that have moved since': tx => listMovedSince(tx, {}, { asOf: 5, after: 0, below: 9, limit: 50 }),
  'the threads of a run that have moved since': tx =>
    listMovedSince(tx, { run_id: 'r' }, { asOf: 5, after: 0, below: 9, limit: 50 }),
  'whether any thread stands between': tx => hasThreadBetween(tx, 1, 2),
  'the newest sequence': latestSequence,
  'what is stored of a run': tx => listStored(tx, { run_id: 'r', after: 1, before: 9 }, 8),
  'the next thread of a run': tx => nextOpened(tx, 'r', 1),
  'whether a run is erased': tx => isRunErased(tx, 'r'),
  'runs that were closed long ago': tx => listClosedBefore(tx, 9, 20),
  'the answers about a run': tx => eraseStoredAnswers(tx, 'r', 100),
  'the erased run of a command': tx => findErasedRun(tx, { run_id: null, thread_id: 't' }),
  'published messages about a run': tx => messagesAbout(tx, 'r', 8),
  'deliveries of erased events': tx => deliveriesAt(tx, [1, 2]),
  'deliveries of erased messages': tx => deliveriesOf(tx, [1, 2]),
  'erasing agents': tx => eraseAgents(tx, 'r', 100),
  runs: tx => listRuns(tx, { before: 9 }, 50),
  'runs by status': tx => listRuns(tx, { before: 9, status: 'running' }, 50),
  'runs by ticket': tx => listRuns(tx, { before: 9, ticket: 't' }, 50),
  'runs by status and ticket': tx => listRuns(tx, { before: 9, status: 'running', ticket: 't' }, 50),
  'the audit trail': tx => listEntries(tx, {}, { before: 9, after: 0 }, 50),
  'the audit trail of a token': tx => listEntries(tx, { token_id: 't' }, { before: 9, after: 0 }, 50),
  'the audit trail of a run': tx => listEntries(tx, { run_id: 'r' }, { before: 9, after: 0 }, 50),
  'the audit trail of an operation': tx => listEntries(tx, { operation: 'o' }, { before: 9, after: 0 }, 50),
  'the audit trail since a time': tx => listEntries(tx, { run_id: 'r' }, { before: 9, after: 3 }, 50),
  'the next entries of the audit trail': tx => nextEntries(tx, 3, 50),
  'the newest entry of the audit trail': latestEntry,
  'runs by name': tx => listRunsByName(tx, { beginning: 'r', after: 'run' }, 50),
  'one run by name': tx => listRunsByName(tx, { beginning: 'r', name: 'r' }, 50),
  'runs by name and status': tx => listRunsByName(tx, { beginning: 'r', status: 'running' }, 50),
  'runs by name and ticket': tx => listRunsByName(tx, { beginning: 'r', ticket: 't' }, 50),
  'runs by name, status and ticket': tx => listRunsByName(tx, { beginning: 'r', status: 'running', ticket: 't' }, 50),
  'questions by their ids': tx => listQuestionsById(tx, ['q', 'p']),
  'approvals of questions': tx => findApprovals(tx, ['q', 'p']),
  'overdue questions': tx => listOverdue(tx, 9, 50),
  'the count of open questions': countOpen,
  ...Object.fromEntries(questionLists.map(({ name, run }) => [name, run])),
  'the first question after a time': tx => listQuestions(tx, { asked_after: 1 }, { order: 'urgent' }, 50),
  'found questions': tx => findQuestionsAt(tx, { run_id: 'r', ticket: 't', priority: 1 }, [1, 2, 3]),
  'the questions to be indexed next': tx => listAskedBefore(tx, 9, 20),
  'whether idempotency keys are old': tx => hasOldKeys(tx, 9),
  'an inbox': tx => listItems(tx, { run_id: 'r', agent_name: 'a', after: 1, limit: 50 }),
  'what can be claimed': tx => listClaimable(tx, { run_id: 'r', agent_name: 'a', claimant: 'c', after: 1, limit: 50 }),
  'items of an inbox': tx => findItems(tx, { run_id: 'r', agent_name: 'a' }, [1, 2]),
  'the first free item': tx => findFirstFree(tx, { run_id: 'r', agent_name: 'a' }),
  'the ends of seen ranges': tx => rangeEnds(tx, 'v', [1, 2, 3]),
  'the range seen up to a place': tx => rangeAtOrBefore(tx, 'v', 1),
  'the range seen after a place': tx => rangeAfter(tx, 'v', 1),
  'counts that have few values': tx => readCounts(tx, ['thread_state', 'thread_priority', 'signal_type']),
  'the largest counts': tx => largestCounts(tx, 'thread_ticket', 50),
};

/** All of the index on a column is used: the threads of one value and one state, from one place on. */
const range = (column: string) =>
  new RegExp(`threads_by_${column}\\b[\\s\\S]*\\b${column} ?=.*\\bstate ?=.*\\bplace ?>`);

/**
 * Where another index would need no scan and no sort either, but would read what other runs or agents have, or what has
 * long been closed: every look into a table goes through these.
 */
export const indexes: Record<string, RegExp> = {
  ...Object.fromEntries(
    filters.flatMap(([name, filter]) =>
      ['', ' and state', ', state and priority'].map(more => [
        `threads by ${name}${more}`,
        range(Object.keys(filter).join()),
      ]),
    ),
  ),
  threads: /threads_by_place/,
  'threads by priority': /threads_by_place/,
  'threads by state': range('kind'),
  'threads by everything': range('run_id'),
  'unanswered threads by run': range('run_id'),
  'unanswered threads': /threads_unanswered/,
  'unanswered threads by priority': /threads_unanswered/,
  'unanswered threads by state': /threads_unanswered/,
  'unanswered threads by kind': /threads_unanswered/,
  ...Object.fromEntries(
    eventIndexes.flatMap(([columns, index]) => ['', ', newest first'].map(order => [eventsBy(columns) + order, index])),
  ),
  "an agent's open questions": /questions_open_by_agent/,
  'the agents that block a run': /control_threads_blocking/,
  'a closed thread with open questions': /threads_withdrawing/,
  // Each thread's own events: the changes of all threads, once per thread, would be a square.
  'the threads that have moved since': /threads_by_place|events_by_thread/,
  'the threads of a run that have moved since': /threads_by_run_id|events_by_thread/,
  'what is stored of a run': /events_by_run\b/,
  'the next thread of a run': /events_by_run_and_type/,
  'runs that were closed long ago': /runs_by_close/,
  'the answers about a run':
    /idempotency_keys_(by_run|by_thread|pkey)|sqlite_autoindex_idempotency_keys|threads_by_run_id/,
  'published messages about a run': /messages_by_(run|thread)|threads_by_run_id/,
  'deliveries of erased events': /deliveries_of_event/,
  'deliveries of erased messages': /deliveries_of_message/,
  'runs by ticket': /runs_by_ticket/,
  'runs by status': /runs_by_status/,
  'the audit trail of a token': /audit_by_token/,
  'the audit trail of a run': /audit_by_run/,
  'the audit trail of an operation': /audit_by_operation/,
  'the audit trail since a time': /audit_by_run/,
  'runs by name': /runs_pkey|PRIMARY KEY|sqlite_autoindex_runs_1/,
  'runs by name and status': /runs_by_status_and_name/,
  'runs by name and ticket': /runs_by_ticket_and_name/,
  'overdue questions': /questions_expiring/,
  ...Object.fromEntries(questionLists.map(({ name, index }) => [name, index])),
  'the first question after a time': /questions_by_time/,
  'found questions': /questions_by_sequence/,
  'an inbox': /inbox_items_by_agent/,
  'what can be claimed': /inbox_items_by_agent/,
  'items of an inbox': /inbox_items_pkey|PRIMARY KEY/,
  'the first free item': /inbox_items_by_lease/,
  'the largest counts': /counts_largest/,
  // Not all that waits, however long the lanes are.
  ...Object.fromEntries(
    ['the next in a lane', 'lanes that are taken', 'messages with an older one in their lanes'].map(name => [
      name,
      /deliveries_(lane|pkey) [\s\S]*(Cond: .*= (ANY|lane|record|deliveries|"|\(|jsonb)|=\?)|PRIMARY KEY/,
    ]),
  ),
  'the head of a lane': /deliveries_(lane|pkey)|PRIMARY KEY/,
  'messages that were handled': /deliveries_pkey|PRIMARY KEY/,
  'the deliveries of a webhook': /deliveries_by_subscription/,
  // What was sent stands in none of these.
  'the dead deliveries of a webhook': /deliveries_ended_unsent/,
  'whether a subscription has unfinished deliveries': /deliveries_(lane|claim|ended_unsent|parked)/,
  'discarding deliveries': /deliveries_(lane|claim|ended_unsent|parked|pkey)|PRIMARY KEY/,
  'where a changed webhook goes on': /events_by_run_and_type/,
};

/** These bring together the rows of a bounded set, which may be sorted for it. */
export const grouped = [
  'the count of messages',
  'the holders of leases',
  'questions by their ids',
  'found questions',
  'items of an inbox',
];

/**
 * These read one range of an index per state (or kind), each no further than a page, and bring the pages together. SQLite
 * sorts each page again for that; it does not see that the sub-query has it in order.
 */
export const merged = [
  'the claim',
  'discarding deliveries',
  ...filters.map(([name]) => `threads by ${name}`),
  'threads by everything',
  'threads by state',
  'threads by priority and state',
  'unanswered threads by run',
  'the threads of a run that have moved since',
  'posts',
  'posts, newest first',
  ...questionLists.map(({ name }) => name),
];

/** SQLite calls it a scan when it takes one row from the end of a table. */
export const fromTheEnd = (name: string, engine: Engine) =>
  (name === 'the newest sequence' || name === 'the newest entry of the audit trail') && engine === 'sqlite';

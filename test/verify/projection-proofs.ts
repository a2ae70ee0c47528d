import type { Observed, StoredDelivery } from './observe.ts';
import type { Proof } from './proof.ts';
import { type Recomputed, recompute } from './recompute.ts';
import type { Row } from './store.ts';

/** The tables beside the log, compared with what the log says of them. */
export function proveProjections(observed: Observed): Proof[] {
  const log = recompute(observed.events);
  const { tables, asked } = observed;
  const keys: Record<keyof Recomputed, (row: Row) => string> = {
    threads: row => String(row.thread_id),
    control_threads: row => `${row.run_id} ${row.agent_name}`,
    runs: row => String(row.run_id),
    questions: row => String(row.question_id),
    inbox_items: row => String(row.sequence),
    counts: row => `${row.subject} ${row.value}`,
  };
  const names = Object.keys(keys) as (keyof Recomputed)[];
  return [
    ...names.map(name => {
      if (name === 'inbox_items') return inbox(observed, log.inbox_items);
      const rows = name === 'counts' ? summedCounts(tables.counts) : tables[name];
      return asLogSays(name, rows, keys[name], log[name]);
    }),
    leases(observed),
    versions(observed),
    seen(observed),
    sentByTopic(observed),
    {
      claim: 'the HTTP API answers what the log says: threads, runs, questions, inboxes, counts, search, subscriptions',
      checked: asked.length,
      faults: asked.flatMap(({ what, got, wanted }) =>
        same(got, wanted) ? [] : [`${what}: ${text(got)} instead of ${text(wanted)}`],
      ),
    },
  ];
}

/** The counts that are not 0, each as the sum of its parts. */
function summedCounts(rows: Row[]): Row[] {
  return [...Map.groupBy(rows, ({ subject, value }) => JSON.stringify([subject, value])).values()]
    .map(parts => ({ ...parts[0], count: parts.reduce((sum, { count }) => sum + Number(count), 0) }))
    .filter(({ count }) => count !== 0);
}

/** A message leaves the inbox without an event, so one may be missing if a client has acknowledged it. */
function inbox({ tables, received }: Observed, log: Map<string, Row>): Proof {
  const stored = new Set(tables.inbox_items.map(row => String(row.sequence)));
  const left = [...log].filter(
    ([sequence, { question_id }]) => stored.has(sequence) || question_id !== null || !received.has(`item_${sequence}`),
  );
  const proof = asLogSays('inbox_items', tables.inbox_items, row => String(row.sequence), new Map(left));
  const items = Map.groupBy(tables.inbox_items, row => `${row.run_id} ${row.agent_name}`);
  for (const { run_id, agent_name, unread } of tables.control_threads) {
    const count = items.get(`${run_id} ${agent_name}`)?.length ?? 0;
    if (Number(unread) !== count) proof.faults.push(`${run_id} ${agent_name} has ${count} items, and ${unread} unread`);
  }
  return { ...proof, claim: 'every ended question and every message of a person is one item until it is acknowledged' };
}

/** Whichever of two claims came first: if both took less time together than the lease, the other one came within it. */
function leases({ claimed }: Observed): Proof {
  const faults: string[] = [];
  for (const [item_id, claims] of Map.groupBy(claimed, one => one.item_id)) {
    const inOrder = claims.toSorted((one, other) => one.sent_at - other.sent_at);
    for (const [index, first] of inOrder.entries()) {
      const other = inOrder.slice(index + 1).find(one => {
        const took = Math.max(first.answered_at, one.answered_at) - first.sent_at;
        return one.claimant !== first.claimant && took < Math.min(first.lease_ms, one.lease_ms);
      });
      if (other) faults.push(`${item_id} was leased to ${first.claimant} and to ${other.claimant} at once`);
    }
  }
  return { claim: 'no item of an inbox was leased to two claimants at once', checked: claimed.length, faults };
}

function asLogSays(table: string, rows: Row[], keyOf: (row: Row) => string, log: Map<string, Row>): Proof {
  const found = new Map(rows.map(row => [keyOf(row), row]));
  const faults = [...log].flatMap(([key, wanted]) => {
    const row = found.get(key);
    if (!row) return [`${key} has no row`];
    const wrong = Object.keys(wanted).filter(column => !isSame(row[column], wanted[column]));
    const list = wrong.map(column => `${column} ${text(row[column])}, by the log ${text(wanted[column])}`);
    return wrong.length > 0 ? [`${key}: ${list.join('; ')}; the row: ${text(row)}`] : [];
  });
  for (const [key, row] of found) if (!log.has(key)) faults.push(`${key} is not in the log: ${text(row)}`);
  return { claim: `every row of ${table} is what the log says`, checked: found.size, faults };
}

/** PostgreSQL gives its eight-byte numbers as text. */
function isSame(got: unknown, wanted: unknown): boolean {
  return typeof wanted === 'number' ? got !== null && Number(got) === wanted : got === wanted;
}

function versions({ sightings, tables, events }: Observed): Proof {
  const faults: string[] = [];
  const rows = new Map(tables.threads.map(row => [String(row.thread_id), row]));
  const sizes = Map.groupBy(events, event => event.thread_id);
  for (const [thread_id, seen] of Map.groupBy(sightings, sighting => sighting.thread_id)) {
    const row = rows.get(thread_id);
    const last = { version: Number(row?.version), last_sequence: Number(row?.last_sequence) };
    const all = [...seen, last].sort((a, b) => a.last_sequence - b.last_sequence || a.version - b.version);
    const wrong = all.findIndex((one, index) => {
      const before = all[index - 1];
      return before && one.version > before.version !== one.last_sequence > before.last_sequence;
    });
    if (wrong > 0) faults.push(`${thread_id}: ${text(all[wrong - 1])} and ${text(all[wrong])}`);
    const most = sizes.get(thread_id)?.length ?? 0;
    if (!(last.version <= most)) faults.push(`${thread_id}: version ${last.version} after ${most} events`);
  }
  return { claim: 'the version of a thread rose with every change, and never fell', checked: sightings.length, faults };
}

/** A thread is seen by whoever has marked its latest event, and by nobody else. */
function seen({ tables, marks }: Observed): Proof {
  const faults: string[] = [];
  const viewers = Map.groupBy(marks, mark => mark.viewer);
  for (const [viewer, given] of viewers) {
    const ranges = tables.seen.filter(row => row.viewer === viewer);
    const byThread = Map.groupBy(given, mark => mark.thread_id);
    for (const { thread_id, place, last_sequence } of tables.threads) {
      const is = ranges.some(
        row => Number(row.first_place) <= Number(place) && Number(place) <= Number(row.last_place),
      );
      const own = byThread.get(String(thread_id)) ?? [];
      const marked = own.some(mark => mark.last_sequence === Number(last_sequence));
      const perhaps = own.some(mark => mark.last_sequence === null);
      if (is ? !marked && !perhaps : marked)
        faults.push(`${thread_id} is ${is ? '' : 'not '}seen by ${viewer} at ${last_sequence}`);
    }
  }
  return {
    claim: 'a viewer has seen the threads whose latest events it has marked, and no others',
    checked: marks.length,
    faults,
  };
}

function sentByTopic({ tables, deliveries }: Observed): Proof {
  const counts = new Map(
    tables.topics.filter(row => Number(row.sent) > 0).map(row => [String(row.topic), Number(row.sent)]),
  );
  const wanted = sentCounts(deliveries);
  const faults = [...new Set([...counts.keys(), ...wanted.keys()])].flatMap(topic =>
    counts.get(topic) === wanted.get(topic) ? [] : [`${topic}: ${counts.get(topic)} instead of ${wanted.get(topic)}`],
  );
  return { claim: 'every topic counts the deliveries that were sent', checked: counts.size, faults };
}

/** How many deliveries of each topic are sent. */
export function sentCounts(deliveries: readonly StoredDelivery[]): Map<string, number> {
  const sent = Map.groupBy(
    deliveries.filter(({ status }) => status === 'sent'),
    ({ topic }) => topic,
  );
  return new Map([...sent].map(([topic, rows]) => [topic, rows.length]));
}

function same(got: unknown, wanted: unknown): boolean {
  return text(got) === text(wanted);
}

function text(value: unknown): string {
  return JSON.stringify(value) ?? 'nothing';
}

import type { Note } from './notes.ts';
import { messageIdOf, type Observed, type StoredDelivery, topicOf } from './observe.ts';
import { type Proof, repeated, signalsOf } from './proof.ts';
import { follows, LATE, STRAY_TOPIC, SUBSCRIPTIONS } from './subscriptions.ts';

/** A delivery, its message and its notes. */
interface Told {
  row: StoredDelivery;
  name: string;
  notes: Note[];
}

/** What is known of each subscription: whether it got what it follows, once, in order, and as the rows say. */
export function proveDeliveries(observed: Observed): Proof[] {
  const told = tell(observed);
  return [
    ...Object.keys(SUBSCRIPTIONS).map(name => complete(observed, name)),
    nothingElse(observed),
    insertedInOrder(observed),
    ended(observed),
    recorded(observed, told),
    inOrder(observed, told),
    neverTwiceAtOnce(observed),
    attempts(observed),
    effectOnce(observed),
    effectsInOrder(observed),
  ];
}

/** Where a subscription starts, as far as anybody can know: nothing up to `none` is its own, all after `all` is. */
function startOf({ joined }: Observed, name: string, of: 'sequence' | 'number'): { none: number; all: number } {
  if (name !== LATE) return { none: 0, all: 0 };
  return joined ? { none: joined.before[of], all: joined.after[of] } : { none: Infinity, all: Infinity };
}

function complete(observed: Observed, name: string): Proof {
  const followed = SUBSCRIPTIONS[name] as { topics: string[] };
  const own = observed.deliveries.filter(({ consumer }) => consumer === name);
  const check = (
    what: string,
    items: { at: number; topic: string }[],
    of: 'event_sequence' | 'message_number',
    { none, all }: { none: number; all: number },
  ): string[] => {
    const rows = Map.groupBy(own, row => row[of]);
    let began = false;
    return items.flatMap(({ at, topic }) => {
      const count = rows.get(at)?.length ?? 0;
      const matches = follows(followed, topic);
      if (count > 1 || (count === 1 && (!matches || at <= none)))
        return [`${what} ${at} (${topic}) was given ${count} times`];
      // In the span of its coming it starts somewhere, and then misses nothing.
      const missing = matches && count === 0 && (at > all || began);
      if (count === 1) began = true;
      return missing ? [`${what} ${at} (${topic}) was not given`] : [];
    });
  };
  const events = observed.events.map(({ sequence, event_type }) => ({ at: sequence, topic: topicOf(event_type) }));
  const messages = observed.messages.map(({ number, topic }) => ({ at: number, topic }));
  return {
    claim: `${name} was given exactly what it follows: ${followed.topics.join(' ')}`,
    checked: own.length,
    faults: [
      ...check('event', events, 'event_sequence', startOf(observed, name, 'sequence')),
      ...check('message', messages, 'message_number', startOf(observed, name, 'number')),
    ],
  };
}

function nothingElse({ deliveries, messages, events }: Observed): Proof {
  const known = {
    events: new Set(events.map(({ sequence }) => sequence)),
    messages: new Set(messages.map(({ number }) => number)),
  };
  const stray = new Map(messages.filter(({ topic }) => topic === STRAY_TOPIC).map(({ number }) => [number, 0]));
  const faults = deliveries.flatMap(row => {
    const { consumer, event_sequence, message_number, status, attempts, queued } = row;
    if (event_sequence !== null && !known.events.has(event_sequence)) return [`${rowText(row)} has no event`];
    if (message_number !== null && !known.messages.has(message_number)) return [`${rowText(row)} has no message`];
    if (consumer !== null) return consumer in SUBSCRIPTIONS ? [] : [`${rowText(row)} is for nobody who follows it`];
    if (message_number === null || !stray.has(message_number)) return [`${rowText(row)} has no consumer`];
    stray.set(message_number, (stray.get(message_number) ?? 0) + 1);
    return status === 'failed' && attempts === 0 && queued === 0 ? [] : [`${rowText(row)} waits for nobody`];
  });
  for (const [number, count] of stray)
    if (count !== 1) faults.push(`the stray message ${number} has ${count} deliveries`);
  return {
    claim: 'nothing else was given; what nobody follows waits once, untouched',
    checked: deliveries.length,
    faults,
  };
}

function insertedInOrder({ deliveries }: Observed): Proof {
  const faults: string[] = [];
  for (const rows of lanes(deliveries).values()) {
    for (const source of ['event_sequence', 'message_number'] as const) {
      const fall = firstFall(rows.map(row => row[source]).filter(at => at !== null));
      if (fall)
        faults.push(`${laneText(rows[0] as StoredDelivery)}: ${source} ${fall.later} stands after ${fall.earlier}`);
    }
  }
  const claim = 'every lane has its events in the order of the log, and its messages in that of publication';
  return { claim, checked: deliveries.length, faults };
}

function ended({ deliveries, servers, mended }: Observed): Proof {
  const faults = deliveries.flatMap(row => {
    if (row.consumer === null) return [];
    const atRest = row.queued === 0 && row.claimable_at === null && row.parked === 0 && row.lease_token === null;
    const end = row.status === 'sent' || (row.status === 'discarded' && SUBSCRIPTIONS[row.consumer]?.blocks);
    return atRest && end ? [] : [rowText(row)];
  });
  if (servers > 0) faults.push(`${servers} processes are said to serve something after they ended`);
  if (mended > 0) faults.push(`${mended} times a lane had no head`);
  const claim = 'every delivery is sent, or was discarded on purpose; no lane ever lacked its head';
  return { claim, checked: deliveries.length, faults };
}

/** The deliveries by subscription and message, each with its notes. */
function tell({ deliveries, events, messages, notes }: Observed): Map<string, Told> {
  const ofEvents = new Map(events.map(event => [event.sequence, messageIdOf(event)]));
  const ofMessages = new Map(messages.map(({ number, message_id }) => [number, message_id]));
  const told = new Map<string, Told>();
  for (const row of deliveries) {
    const id = row.event_sequence === null ? ofMessages.get(row.message_number ?? 0) : ofEvents.get(row.event_sequence);
    const name = `${row.consumer} ${id}`;
    told.set(name, { row, name, notes: [] });
  }
  for (const note of notes) told.get(nameOf(note))?.notes.push(note);
  return told;
}

function recorded({ notes }: Observed, told: Map<string, Told>): Proof {
  const faults = [...new Set(notes.map(nameOf))].flatMap(name =>
    told.has(name) ? [] : [`${name} was handled and has no delivery`],
  );
  for (const { row, name, notes } of told.values()) {
    const followed = SUBSCRIPTIONS[row.consumer ?? ''];
    if (!followed || followed.transactional) continue;
    const has = (phase: Note['phase'], at: { attempt: number; generation: number }) =>
      notes.some(note => note.phase === phase && note.attempt === at.attempt && note.generation === at.generation);
    const last = row.history.at(-1);
    const sent = row.history.filter(({ outcome }) => outcome === 'sent');
    if ((row.status === 'sent') !== (last?.outcome === 'sent') || sent.length > 1)
      faults.push(`${name} is ${row.status}, its attempts say ${last?.outcome}`);
    if (sent.some(at => !has('done', at))) faults.push(`${name} is sent by an attempt that its handler did not end`);
    if (row.status !== 'sent' && notes.some(({ phase }) => phase === 'done'))
      faults.push(`${name} was handled and is ${row.status}`);
    const dead = row.history.filter(({ outcome }) => outcome === 'dead');
    if (dead.some(at => !has('dead', at))) faults.push(`${name} died without its handler`);
  }
  return {
    claim: 'every delivery ended as its handler ended, in the attempt that its history names',
    checked: notes.length,
    faults,
  };
}

/**
 * In each lane a delivery is begun for the first time after the ends of all before it. Where a later one has begun, a repeat
 * is a replay, or the last word of a worker that was stopped: then a newer attempt stands before it.
 */
function inOrder({ notes, deliveries }: Observed, told: Map<string, Told>): Proof {
  const places = new Map<StoredDelivery, { lane: Lane; index: number }>();
  for (const rows of lanes(deliveries).values()) {
    const lane: Lane = { rows, finished: new Set(), done: 0, begun: -1 };
    for (const [index, row] of rows.entries()) places.set(row, { lane, index });
  }
  const newest = new Map<string, number>();
  const faults: string[] = [];
  for (const note of notes) {
    const row = told.get(nameOf(note))?.row;
    const place = row && places.get(row);
    if (!row || !place) continue;
    const { lane, index } = place;
    if (note.phase !== 'begin') {
      if (endsDelivery(note, row)) lane.finished.add(index);
      while (lane.finished.has(lane.done)) lane.done += 1;
      continue;
    }
    const attempt = `${nameOf(note)} ${note.generation}`;
    const before = newest.get(attempt) ?? 0;
    newest.set(attempt, Math.max(before, note.attempt));
    const open = lane.rows[lane.done];
    if (lane.done < index && open)
      faults.push(`${laneText(row)}: ${itemText(row)} was begun before the end of ${itemText(open)}`);
    else if (lane.begun > index && note.generation === 1 && before <= note.attempt) {
      faults.push(`${laneText(row)}: attempt ${note.attempt} of ${itemText(row)} came after a later one`);
    }
    lane.begun = Math.max(lane.begun, index);
  }
  const claim = 'in every lane, across topics, nothing was begun before the end of what stands before it';
  return { claim, checked: notes.length, faults };
}

interface Lane {
  rows: StoredDelivery[];
  finished: Set<number>;
  /** All before this index have come to their ends. */
  done: number;
  /** The highest index that was begun. */
  begun: number;
}

/** Whether the attempt of this note let the lane go on. */
function endsDelivery({ attempt, generation }: Note, row: StoredDelivery): boolean {
  const outcome = row.history.find(at => at.attempt === attempt && at.generation === generation)?.outcome;
  const passes = !SUBSCRIPTIONS[row.consumer ?? '']?.blocks || row.status === 'discarded';
  return outcome === 'sent' || (outcome === 'dead' && passes);
}

/** A worker that could not renew its lease for so long may be in the middle of an attempt when another one begins. */
function neverTwiceAtOnce({ notes, leaseMs }: Observed): Proof {
  const running = new Map<string, Note[]>();
  const faults: string[] = [];
  const ends = new Map(notes.filter(({ phase }) => phase !== 'begin').map(note => [attemptOf(note), note]));
  for (const note of notes) {
    const name = nameOf(note);
    const others = (running.get(name) ?? []).filter(other => attemptOf(other) !== attemptOf(note));
    if (note.phase === 'begin') {
      // One without an end died with its process.
      const doubled = others.filter(other => (ends.get(attemptOf(other))?.took ?? Infinity) < leaseMs / 2);
      for (const other of doubled)
        faults.push(`${name}: attempt ${note.attempt} began during attempt ${other.attempt}`);
      others.push(note);
    }
    running.set(name, others);
  }
  return { claim: 'no two attempts of one delivery ran at once', checked: notes.length, faults };
}

function attempts({ notes }: Observed): Proof {
  const faults: string[] = [];
  const begun = notes.filter(({ phase }) => phase === 'begin');
  const keys = new Map<string, string>();
  for (const [of, lines] of Map.groupBy(begun, note => `${nameOf(note)} ${note.generation}`)) {
    const [key, ...others] = new Set(lines.map(line => line.idempotency_key));
    if (key === undefined || others.length > 0 || keys.has(key)) faults.push(`${of} has no idempotency key of its own`);
    else keys.set(key, of);
  }
  for (const doubled of repeated(begun.map(note => `attempt ${note.attempt} of ${nameOf(note)} ${note.generation}`))) {
    faults.push(`${doubled} was made twice`);
  }
  return {
    claim: 'every repeat is a new attempt under the idempotency key of the first',
    checked: begun.length,
    faults,
  };
}

function effectOnce({ effects, ...observed }: Observed): Proof {
  const signals = signalsOf(observed);
  const bySequence = Map.groupBy(effects, effect => effect.sequence);
  const faults = signals.flatMap(({ sequence, signal_id, thread_id }) => {
    const [effect, ...more] = bySequence.get(sequence) ?? [];
    if (!effect) return [`the effect of ${signal_id} is missing`];
    if (more.length > 0) return [`the effect of ${signal_id} happened ${more.length + 1} times`];
    return effect.signal_id === signal_id && effect.thread_id === thread_id ? [] : [`${sequence} has a foreign effect`];
  });
  const known = new Set(signals.map(signal => signal.sequence));
  for (const { sequence } of effects)
    if (!known.has(sequence)) faults.push(`an effect of ${sequence}, which is not stored`);
  return {
    claim: 'the transactional handler took effect exactly once per stored signal',
    checked: effects.length,
    faults,
  };
}

function effectsInOrder({ effects }: Observed): Proof {
  const faults: string[] = [];
  for (const [lane, rows] of Map.groupBy(effects, effect => effect.thread_id)) {
    const fault = firstFall(rows.map(row => row.sequence));
    if (fault) faults.push(`${lane}: the effect of ${fault.later} came after that of ${fault.earlier}`);
  }
  return { claim: 'in every lane the effects stand in the order of the sequences', checked: effects.length, faults };
}

/** Attempts beyond the first of a delivery. */
export function repeats(notes: readonly Note[]): number {
  const begun = notes.filter(({ phase }) => phase === 'begin');
  return begun.length - new Set(begun.map(nameOf)).size;
}

/** The deliveries of each subscription and key, by position. */
function lanes(deliveries: readonly StoredDelivery[]): Map<string, StoredDelivery[]> {
  return Map.groupBy(
    deliveries.filter(row => row.message_key !== null && row.consumer !== null),
    laneText,
  );
}

function nameOf({ consumer, message_id }: Note): string {
  return `${consumer} ${message_id}`;
}

function attemptOf(note: Note): string {
  return `${nameOf(note)} ${note.pid} ${note.generation} ${note.attempt}`;
}

function laneText({ consumer, message_key }: StoredDelivery): string {
  return `${consumer} ${message_key}`;
}

function itemText({ event_sequence, message_number }: StoredDelivery): string {
  return event_sequence === null ? `message ${message_number}` : `event ${event_sequence}`;
}

function rowText(row: StoredDelivery): string {
  return `the delivery ${row.position} (${row.consumer}, ${row.topic}, ${itemText(row)}) is ${row.status}: ${JSON.stringify(row)}`;
}

/** The first place where a list of numbers does not rise. */
function firstFall(numbers: number[]): { earlier: number; later: number } | undefined {
  const at = numbers.findIndex((number, index) => index > 0 && number <= (numbers[index - 1] as number));
  return at < 0 ? undefined : { earlier: numbers[at - 1] as number, later: numbers[at] as number };
}

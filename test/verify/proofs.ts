import type { Note } from './notes.ts';
import type { Observed } from './observe.ts';

export interface Proof {
  claim: string;
  /** How many things were looked at. */
  checked: number;
  /** What contradicts the claim. */
  faults: string[];
}

/** The handlers of the topic, by their files. */
export const CONSUMERS = ['effect.ts', 'note.ts'];

export function prove(observed: Observed): Proof[] {
  return [
    answers(observed),
    stored(observed),
    onceEach(observed),
    oneThread(observed),
    published(observed),
    allSent(observed),
    effectOnce(observed),
    effectsInOrder(observed),
    handled(observed),
    handledInOrder(observed),
    attempts(observed),
  ];
}

function answers({ sent, wrong, unexpected }: Observed): Proof {
  const claim = 'every answer was 201 or 503, and no process ended by itself';
  return { claim, checked: sent.size, faults: [...wrong, ...unexpected] };
}

function stored({ acknowledged, signals }: Observed): Proof {
  const byId = Map.groupBy(signals, signal => signal.signal_id);
  const faults = acknowledged.flatMap(({ signal_id, sequence, thread_id }) => {
    const [found, ...more] = byId.get(signal_id) ?? [];
    if (!found) return [`${signal_id} was acknowledged and is not stored`];
    if (more.length > 0) return [`${signal_id} is stored ${more.length + 1} times`];
    const same = found.sequence === sequence && found.thread_id === thread_id;
    return same ? [] : [`${signal_id} was acknowledged as ${sequence} and is stored as ${found.sequence}`];
  });
  for (const [lane, answers] of Map.groupBy(acknowledged, signal => signal.thread_id)) {
    const fault = firstFall(answers.map(answer => answer.sequence));
    if (fault) faults.push(`${lane}: ${fault.later} was sent after ${fault.earlier} had been acknowledged`);
  }
  return {
    claim: 'every acknowledged signal is stored once, under its sequence, in the order of its lane',
    checked: acknowledged.length,
    faults,
  };
}

function onceEach({ sent, signals }: Observed): Proof {
  const claim = 'nothing is stored that was not sent, and nothing twice';
  const faults = signals.flatMap(({ correlation_id }) =>
    sent.has(correlation_id) ? [] : [`${correlation_id} was never sent`],
  );
  faults.push(...repeated(signals.map(signal => signal.correlation_id)).map(id => `${id} is stored twice`));
  return { claim, checked: signals.length, faults };
}

function oneThread({ signals }: Observed): Proof {
  const pairs = new Set(signals.map(({ run_id, agent_name, thread_id }) => `${run_id}/${agent_name} = ${thread_id}`));
  const agents = new Set(signals.map(({ run_id, agent_name }) => `${run_id}/${agent_name}`));
  const threads = new Set(signals.map(({ thread_id }) => thread_id));
  const single = pairs.size === agents.size && pairs.size === threads.size;
  return {
    claim: 'every agent has one control thread, and no two share one',
    checked: agents.size,
    faults: single ? [] : [`${agents.size} agents, ${threads.size} threads, ${pairs.size} pairs`],
  };
}

function published({ sequences, signals, messages }: Observed): Proof {
  const isSignal = new Set(signals.map(signal => signal.sequence));
  const byEvent = Map.groupBy(messages, message => message.event_sequence);
  const faults = sequences.flatMap(sequence => {
    const rows = byEvent.get(sequence) ?? [];
    const own = rows.filter(row => row.consumer === null).length;
    if (own !== 1) return [`the event ${sequence} has ${own} messages`];
    const consumers = rows.flatMap(row => row.consumer ?? []).sort();
    const wanted = isSignal.has(sequence) ? CONSUMERS : [];
    return consumers.join() === wanted.join()
      ? []
      : [`the event ${sequence} went to the handlers (${consumers.join()})`];
  });
  const known = new Set<number | null>(sequences);
  for (const { message_id, event_sequence } of messages) {
    if (!known.has(event_sequence)) faults.push(`the message ${message_id} has no event`);
  }
  return {
    claim: 'every event has one message, and a signal one for each of its two handlers',
    checked: sequences.length,
    faults,
  };
}

function allSent({ messages }: Observed): Proof {
  const left = messages.filter(message => message.status !== 'sent');
  return {
    claim: 'every message is sent: none pending, processing, failed or dead',
    checked: messages.length,
    faults: left.map(({ message_id, topic, status }) => `${message_id} (${topic}) is ${status}`),
  };
}

function effectOnce({ signals, effects }: Observed): Proof {
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

function handled({ signals, notes }: Observed): Proof {
  const noted = new Map(notes.map(note => [note.sequence, note.signal_id]));
  const faults = signals
    .filter(({ sequence, signal_id }) => noted.get(sequence) !== signal_id)
    .map(({ signal_id }) => `${signal_id} was never handed to the ordinary handler`);
  const known = new Set(signals.map(signal => signal.sequence));
  for (const sequence of noted.keys())
    if (!known.has(sequence)) faults.push(`${sequence} was handled and is not stored`);
  return { claim: 'the ordinary handler was given every stored signal at least once', checked: signals.length, faults };
}

/**
 * In each lane a signal is handled for the first time after every earlier one. A repeat comes before the next signal,
 * unless a newer attempt of the same message stands before it: then it is the last word of a worker that was stopped
 * while it held the message, and whose lease has passed to another one since.
 */
function handledInOrder({ notes }: Observed): Proof {
  const faults = [...Map.groupBy(notes, note => note.lane)].flatMap(([lane, lines]) => laneFaults(lane, lines));
  return {
    claim: 'in every lane the ordinary handler was given the signals in the order of the sequences',
    checked: notes.length,
    faults,
  };
}

function laneFaults(lane: string, lines: Note[]): string[] {
  const newest = new Map<number, number>();
  let highest = 0;
  return lines.flatMap(({ sequence, attempt }) => {
    const before = newest.get(sequence);
    newest.set(sequence, Math.max(before ?? 0, attempt));
    if (sequence >= highest) {
      highest = sequence;
      return [];
    }
    if (before === undefined) return [`${lane}: ${sequence} was handled after ${highest}`];
    return before > attempt
      ? []
      : [`${lane}: attempt ${attempt} of ${sequence} came after ${highest} had been handled`];
  });
}

/** Repeats that came when their worker had lost the lease and the lane had gone on: harmless, and worth counting. */
export function lateRepeats(notes: Note[]): number {
  const highest = new Map<string, number>();
  return notes.filter(({ lane, sequence }) => {
    const reached = highest.get(lane) ?? 0;
    highest.set(lane, Math.max(reached, sequence));
    return sequence < reached;
  }).length;
}

function attempts({ notes }: Observed): Proof {
  const faults: string[] = [];
  const keys = new Map<string, number>();
  for (const [sequence, lines] of Map.groupBy(notes, note => note.sequence)) {
    const [key, ...others] = new Set(lines.map(line => line.idempotency_key));
    if (key === undefined || others.length > 0 || keys.has(key))
      faults.push(`${sequence} has no idempotency key of its own`);
    else keys.set(key, sequence);
    const doubled = repeated(lines.map(line => line.attempt));
    if (doubled.length > 0) faults.push(`attempt ${doubled.join()} of ${sequence} was made twice`);
  }
  return {
    claim: 'every repeat is a new attempt under the idempotency key of the first',
    checked: notes.length,
    faults,
  };
}

/** The first place where a list of numbers does not rise. */
function firstFall(numbers: number[]): { earlier: number; later: number } | undefined {
  const at = numbers.findIndex((number, index) => index > 0 && number <= (numbers[index - 1] as number));
  return at < 0 ? undefined : { earlier: numbers[at - 1] as number, later: numbers[at] as number };
}

function repeated<T>(items: T[]): T[] {
  const seen = new Set<T>();
  return items.filter(item => seen.size === seen.add(item).size);
}

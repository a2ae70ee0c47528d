import { proveDeliveries } from './delivery-proofs.ts';
import type { Observed } from './observe.ts';
import { proveProjections } from './projection-proofs.ts';
import { type Proof, repeated, signalsOf } from './proof.ts';

export function prove(observed: Observed): Proof[] {
  return [
    answers(observed),
    stored(observed),
    onceEach(observed),
    oneThread(observed),
    kept(observed),
    ...proveDeliveries(observed),
    ...proveProjections(observed),
  ];
}

function answers({ sent, wrong, unexpected }: Observed): Proof {
  const claim = 'every answer was a success, a 503 or a race lost, and no process ended by itself';
  return { claim, checked: sent.size, faults: [...wrong, ...unexpected] };
}

function stored({ acknowledged, ...observed }: Observed): Proof {
  const byId = Map.groupBy(signalsOf(observed), signal => signal.signal_id);
  const faults = acknowledged.flatMap(({ signal_id, sequence, thread_id }) => {
    const [found, ...more] = byId.get(signal_id) ?? [];
    if (!found) return [`${signal_id} was acknowledged and is not stored`];
    if (more.length > 0) return [`${signal_id} is stored ${more.length + 1} times`];
    const same = found.sequence === sequence && found.thread_id === thread_id;
    return same ? [] : [`${signal_id} was acknowledged as ${sequence} and is stored as ${found.sequence}`];
  });
  return {
    claim: 'every acknowledged signal is stored once, under its sequence',
    checked: acknowledged.length,
    faults,
  };
}

function onceEach({ sent, ...observed }: Observed): Proof {
  const claim = 'no signal is stored that was not sent, and none twice';
  const signals = signalsOf(observed);
  const faults = signals.flatMap(({ correlation_id }) =>
    sent.has(correlation_id) ? [] : [`${correlation_id} was never sent`],
  );
  faults.push(...repeated(signals.map(signal => signal.correlation_id)).map(id => `${id} is stored twice`));
  return { claim, checked: signals.length, faults };
}

function oneThread(observed: Observed): Proof {
  const signals = signalsOf(observed);
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

function kept({ posted, published, events, messages }: Observed): Proof {
  const places = new Map(events.map(({ payload, thread_id }) => [payload.body, thread_id]));
  const faults = [...posted].flatMap(([body, thread]) =>
    places.get(body) === thread ? [] : [`the post "${body}" was acknowledged and is not in ${thread}`],
  );
  const ids = new Set(messages.map(({ message_id }) => message_id));
  faults.push(...published.filter(id => !ids.has(id)).map(id => `${id} was acknowledged and is not stored`));
  return {
    claim: 'every acknowledged post and published message is stored',
    checked: posted.size + published.length,
    faults,
  };
}

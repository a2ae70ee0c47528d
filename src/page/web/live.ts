import { signal } from '@preact/signals-core';
import type { Event } from '../../client/index.ts';
import { gather } from './gather.ts';
import { client } from './service.ts';
import { hasEnded, ofRun } from './session.ts';

/** What has changed, for the views that read it: each number rises with a change. */
export const changed = { runs: signal(0), threads: signal(0), tokens: signal(0) };

/** The present, for ages. Epoch milliseconds. */
export const now = signal(Date.now());

const TICK_MS = 5000;
/** Changes that come together are read together. Milliseconds. */
const GATHER_MS = 250;

type Listener = (event: Event) => void;
const listeners = new Set<Listener>();

export function onEvent(listener: Listener): void {
  listeners.add(listener);
}

/**
 * Follows the log from its present end on, for as long as the person is logged in.
 * @param snapshot is called first: what changes while it reads comes again as an event
 */
export async function follow(snapshot: () => Promise<void>, signal: AbortSignal): Promise<void> {
  const timer = setInterval(() => {
    now.value = Date.now();
  }, TICK_MS);
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
  try {
    const latest = await client.log.list({ ...ofRun(), order: 'newest', limit: 1 }, { signal });
    const after = latest.items[0]?.sequence ?? 0;
    await snapshot();
    for await (const event of client.events({ ...ofRun(), after, signal })) {
      for (const listener of listeners) listener(event);
      noteChange(event);
    }
  } catch (error) {
    if (signal.aborted || hasEnded(error)) return;
    throw error;
  }
}

const pending = new Set<keyof typeof changed>();
const tell = gather(() => {
  now.value = Date.now();
  for (const name of pending) changed[name].value += 1;
  pending.clear();
}, GATHER_MS);

function noteChange({ event_type }: Event): void {
  if (event_type.startsWith('forum.token.')) pending.add('tokens');
  else pending.add('threads').add('runs');
  tell();
}

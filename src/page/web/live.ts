import { signal } from '@preact/signals-core';
import type { Event } from '../../client/index.ts';
import { gather } from './gather.ts';
import { base, client, online, present } from './service.ts';
import { hasEnded, me, ofRun } from './session.ts';

/** What has changed, for the views that read it: each number rises with a change. */
export const changed = { runs: signal(0), threads: signal(0), tokens: signal(0) };

/** The present, for ages. Epoch milliseconds. */
export const now = signal(present());
const tick = () => {
  now.value = present();
};

const TICK_MS = 5000;
/** Changes that come together are read together. Milliseconds. */
const GATHER_MS = 250;

type Listener = (event: Event) => void;
const listeners = new Set<Listener>();

export function onEvent(listener: Listener): void {
  listeners.add(listener);
}

/**
 * Follows the log from its present end on, for as long as the person is logged in. A browser has six connections to a host, so
 * tabs that see the same share a stream. One of them reads it and tells the others. When it is closed, the next one goes on.
 * @param snapshot is called first: what changes while it reads comes again as an event
 */
export async function follow(snapshot: () => Promise<void>, signal: AbortSignal): Promise<void> {
  tick();
  const timer = setInterval(tick, TICK_MS);
  const name = JSON.stringify([base.pathname, me.value?.token_id, ofRun()]);
  const tabs = new BroadcastChannel(name);
  let after = 0;
  const pass = (event: Event) => {
    if (event.sequence <= after) return;
    after = event.sequence;
    for (const listener of listeners) listener(event);
    noteChange(event);
  };
  const stream = async (lock?: Lock | null) => {
    const tell = (news: Event | boolean) => lock && tabs.postMessage(news);
    const stop = online.subscribe(tell);
    try {
      for await (const event of client.events({ ...ofRun(), after, signal })) {
        tell(event);
        pass(event);
      }
    } finally {
      stop();
    }
  };
  tabs.onmessage = ({ data }: MessageEvent<Event | boolean>) => {
    if (typeof data === 'boolean') online.value = data;
    else pass(data);
  };
  try {
    const latest = await client.log.list({ ...ofRun(), order: 'newest', limit: 1 }, { signal });
    after = Math.max(after, latest.items[0]?.sequence ?? 0);
    await snapshot();
    // Browsers have no locks over plain HTTP from elsewhere.
    await (navigator.locks ? navigator.locks.request(name, { signal }, stream) : stream());
  } catch (error) {
    if (signal.aborted || hasEnded(error)) return;
    throw error;
  } finally {
    clearInterval(timer);
    tabs.close();
  }
}

const pending = new Set<keyof typeof changed>();
const tell = gather(() => {
  tick();
  for (const name of pending) changed[name].value += 1;
  pending.clear();
}, GATHER_MS);

function noteChange({ event_type }: Event): void {
  if (event_type.startsWith('forum.token.')) pending.add('tokens');
  else pending.add('threads').add('runs');
  tell();
}

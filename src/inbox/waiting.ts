import type { AgentName } from '../control/service.ts';
import type { EventFeed } from '../events/feed.ts';
import { Waiters } from '../events/waiters.ts';
import { newsOf } from '../threads/thread.ts';
import type { FirstFree, Inbox } from './service.ts';

export type InboxWaiters = ReturnType<typeof createInboxWaiters>;

/** Requests that wait for an item that nobody has claimed. */
export function createInboxWaiters(feed: EventFeed, inbox: Inbox, ending: AbortSignal) {
  let reads = 0;
  const waiters = new Waiters<FirstFree & { read: number }>({
    feed,
    ending,
    read: async id => {
      const [run_id, agent_name] = JSON.parse(id) as [string, string];
      reads += 1;
      return { ...(await inbox.firstFree({ run_id, agent_name })), read: reads };
    },
    // Time passes, so that no two reads are the same.
    revisionOf: ({ read }) => read,
    concerns: event => {
      const { run_id, agent_name } = event;
      return run_id !== null && agent_name !== null && newsOf(event) ? idOf({ run_id, agent_name }) : undefined;
    },
  });

  return {
    /** The number of waiters. */
    get size(): number {
      return waiters.size;
    },

    /**
     * Resolves as soon as the agent has an item that nobody holds; on timeout, disconnect or service stop without one. The
     * end of a lease is no event, so each round of the wait lasts up to the next one.
     */
    async wait(agent: AgentName, { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal }): Promise<void> {
      const deadline = performance.now() + timeoutMs;
      let known: FirstFree | undefined;
      for (;;) {
        const round = known?.at ? known.at - known.now : Number.POSITIVE_INFINITY;
        const left = deadline - performance.now();
        const planned = known;
        const found = await waiters.wait(idOf(agent), {
          isNews: now => planned === undefined || isFree(now) || now.at !== planned.at,
          timeoutMs: Math.max(0, Math.min(left, round)),
          signal,
        });
        if (isFree(found) || signal.aborted || ending.aborted || performance.now() >= deadline) return;
        known = found;
      }
    },
  };
}

function isFree({ at, now }: FirstFree): boolean {
  return at !== null && at <= now;
}

function idOf({ run_id, agent_name }: AgentName): string {
  return JSON.stringify([run_id, agent_name]);
}

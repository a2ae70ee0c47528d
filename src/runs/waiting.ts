import type { EventFeed } from '../events/feed.ts';
import { Waiters } from '../events/waiters.ts';
import { revisionOf } from '../revision.ts';
import type { Run } from './schemas.ts';
import type { RunService } from './service.ts';

export type RunWaiters = Waiters<Run>;

/** The long polls on runs. Any event of a run triggers one read of it. */
export function createRunWaiters(feed: EventFeed, runs: RunService, ending: AbortSignal): RunWaiters {
  return new Waiters({
    feed,
    ending,
    read: runId => runs.get(runId),
    revisionOf,
    concerns: ({ run_id }) => run_id ?? undefined,
  });
}

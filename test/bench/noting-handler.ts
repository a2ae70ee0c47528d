import type { Message } from '../../src/outbox/schemas.ts';
import { endWithParent, type Started, sharedNow } from './child.ts';

export const topic = 'forum.events.control.signal';

/** Tells when it was called, and for which signal. */
export function handle({ payload }: Message): void {
  const at = sharedNow();
  const { signal_id } = (payload as { payload: { signal_id: string } }).payload;
  process.send?.({ signal_id, at } satisfies Started);
}

endWithParent();

import { endWithParent, type Progress, STUCK, sharedNow } from './child.ts';

/** How often it is said how many there were. Milliseconds. */
const SAY_EVERY_MS = 10;

export const topic = 'bench.**';

const progress: Progress = { count: 0, at: 0 };
let told: Progress = { ...progress };

/** Counts the messages; those that are to be stuck fail. */
export function handle(message: { topic: string }): void {
  if (message.topic === STUCK) throw new Error('This one is to fail.');
  progress.count += 1;
  progress.at = sharedNow();
  // Not left to the timer: a service that is busy may let it wait.
  if (progress.at - told.at >= SAY_EVERY_MS) tell();
}

function tell(): void {
  if (told.count === progress.count) return;
  told = { ...progress };
  process.send?.(told);
}

setInterval(tell, SAY_EVERY_MS).unref();

endWithParent();

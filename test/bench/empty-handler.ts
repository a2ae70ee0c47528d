import { endWithParent } from './child.ts';

/** Does nothing with any message. */
export const topic = ['forum.events.**', 'bench.**'];

export function handle(): void {}

endWithParent();

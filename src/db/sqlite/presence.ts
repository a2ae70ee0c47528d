import type { Presence } from '../presence.ts';

/** One process per file: whoever holds the file's lock is the only one alive. */
export function soleProcess(): Presence {
  let own: string | undefined;
  return {
    async announce(name) {
      own = name;
    },
    deadAmong: async names => names.filter(name => name !== own),
  };
}

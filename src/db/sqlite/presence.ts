import type { Presence } from '../presence.ts';

/** Presence on SQLite: the lock of the file admits one process, so all other names are dead. */
export function soleProcess(): Presence {
  let own: string | undefined;
  return {
    async register(name) {
      own = name;
    },
    deadAmong: async names => names.filter(name => name !== own),
  };
}

import type { Database } from '../../src/db/database.ts';
import type { NewMessage } from '../../src/outbox/schemas.ts';
import type { Outbox } from '../../src/outbox/service.ts';

/** The outbox with each of its writes in a transaction of its own, as requests make them. */
export function inOwnWrites(db: Pick<Database, 'write'>, outbox: Outbox) {
  return {
    ...outbox,
    publish: (message: NewMessage) => db.write(tx => outbox.publish(tx, message)),
    replay: (messageId: string, consumer?: string) => db.write(tx => outbox.replay(tx, messageId, consumer)),
    replayDead: (which: Parameters<Outbox['replayDead']>[0] = {}) => outbox.replayDead(which, work => db.write(work)),
    discard: (messageId: string, consumer?: string) => db.write(tx => outbox.discard(tx, messageId, consumer)),
    pause: (topic: string) => db.write(tx => outbox.pause(tx, topic)),
  };
}

export type OwnWrites = ReturnType<typeof inOwnWrites>;

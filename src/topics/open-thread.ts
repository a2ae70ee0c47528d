import type { Static } from 'typebox';
import { Actor } from '../actor.ts';
import { Ref, Strict } from '../http/schemas.ts';
import { NewThread } from '../threads/schemas.ts';
import type { ThreadService } from '../threads/service.ts';
import { type CommandHandler, command, type Validator } from './command.ts';

const OpenThread = Strict({ ...NewThread.properties, actor: Ref(Actor) });
export type OpenThread = Static<typeof OpenThread>;

/** As `POST /threads`. */
export function openThread(validator: Validator, threads: ThreadService): CommandHandler {
  return command(validator, {
    name: 'open_thread',
    schema: OpenThread,
    async run(tx, payload) {
      const { thread } = await threads.open(tx, payload, payload.actor);
      return { thread_id: thread.thread_id };
    },
  });
}

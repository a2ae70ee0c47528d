import type { Static } from 'typebox';
import { Actor } from '../actor.ts';
import type { Tx } from '../db/database.ts';
import { Id, Ref, Strict } from '../http/schemas.ts';
import { type ActOf, Assignee, type ThreadChange, ThreadPriority, ThreadStateName } from '../threads/schemas.ts';
import type { ThreadService } from '../threads/service.ts';
import { type CommandHandler, command, type Validator } from './command.ts';

const target = { thread_id: Id, actor: Ref(Actor) };

const AssignThread = Strict({ ...target, assignee: Assignee });
export type AssignThread = Static<typeof AssignThread>;

const ChangeState = Strict({ ...target, state: ThreadStateName });
export type ChangeState = Static<typeof ChangeState>;

const SetPriority = Strict({ ...target, priority: ThreadPriority });
export type SetPriority = Static<typeof SetPriority>;

const CloseThread = Strict(target);
export type CloseThread = Static<typeof CloseThread>;

/** As `PATCH /threads/{thread_id}`, one command per field, and one that closes. */
export function changeThread(validator: Validator, threads: ThreadService): CommandHandler[] {
  const change = async (tx: Tx, threadId: string, changes: ActOf<ThreadChange>) => {
    const { thread_id, version } = await threads.change(tx, threadId, changes);
    return { thread_id, version };
  };
  return [
    command(validator, {
      name: 'assign_thread',
      schema: AssignThread,
      run: (tx, { thread_id, ...changes }) => change(tx, thread_id, changes),
    }),
    command(validator, {
      name: 'change_state',
      schema: ChangeState,
      run: (tx, { thread_id, ...changes }) => change(tx, thread_id, changes),
    }),
    command(validator, {
      name: 'set_priority',
      schema: SetPriority,
      run: (tx, { thread_id, ...changes }) => change(tx, thread_id, changes),
    }),
    command(validator, {
      name: 'close_thread',
      schema: CloseThread,
      run: (tx, { thread_id, actor }) => change(tx, thread_id, { actor, state: 'closed' }),
    }),
  ];
}

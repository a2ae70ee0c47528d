import type { SignalService } from '../signals/service.ts';
import type { ControlSignalV1 } from '../signals/v1.ts';
import type { ThreadService } from '../threads/service.ts';
import type { HandlerDefinition } from '../worker/handler.ts';
import { type AddPost, addPost } from './add-post.ts';
import {
  type AssignThread,
  type ChangeState,
  type CloseThread,
  changeThread,
  type SetPriority,
} from './change-thread.ts';
import type { Validator } from './command.ts';
import { controlSignal } from './control-signal.ts';
import { type OpenThread, openThread } from './open-thread.ts';

/** The payloads of the commands, by name. */
export interface CommandPayloads {
  control_signal: ControlSignalV1;
  open_thread: OpenThread;
  add_post: AddPost;
  assign_thread: AssignThread;
  change_state: ChangeState;
  set_priority: SetPriority;
  close_thread: CloseThread;
}

interface Dependencies {
  threads: ThreadService;
  signals: SignalService;
  validator: Validator;
}

/**
 * The service's own handler: it runs commands that arrive as messages. One handler takes all commands. So commands of
 * one key stay in order even where another handler takes the same topics.
 */
export function createTopics({ threads, signals, validator }: Dependencies): HandlerDefinition {
  const commands = [
    controlSignal(validator, signals),
    openThread(validator, threads),
    addPost(validator, threads),
    ...changeThread(validator, threads),
  ];
  const byTopic = new Map(commands.map(({ topic, handle }) => [topic, handle]));
  return {
    name: 'forumbus',
    topics: [...byTopic.keys()],
    transactional: true,
    handle: (message, context, tx) => byTopic.get(message.topic)?.(message, context, tx),
  };
}

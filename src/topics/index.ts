import type { HandlerDefinition } from '../bus/handler.ts';
import type { Signals } from '../signals/service.ts';
import type { Threads } from '../threads/service.ts';
import { addPost } from './add-post.ts';
import { changeThread } from './change-thread.ts';
import type { Validator } from './command.ts';
import { controlSignal } from './control-signal.ts';
import { openThread } from './open-thread.ts';

interface Dependencies {
  threads: Threads;
  signals: Signals;
  validator: Validator;
}

/** The service's own handlers: what can be done over HTTP can be sent as a message, too. */
export function createTopics({ threads, signals, validator }: Dependencies): HandlerDefinition[] {
  return [
    controlSignal(validator, signals),
    openThread(validator, threads),
    addPost(validator, threads),
    ...changeThread(validator, threads),
  ];
}

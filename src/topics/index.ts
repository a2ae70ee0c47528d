import type { Signals } from '../signals/service.ts';
import type { SignalVersions } from '../signals/versions.ts';
import type { Threads } from '../threads/service.ts';
import type { HandlerDefinition } from '../worker/handler.ts';
import { addPost } from './add-post.ts';
import { changeThread } from './change-thread.ts';
import type { Validator } from './command.ts';
import { controlSignal } from './control-signal.ts';
import { openThread } from './open-thread.ts';

interface Dependencies {
  threads: Threads;
  signals: Signals;
  signalVersions: SignalVersions;
  validator: Validator;
}

/**
 * The service's own handler: what can be done over HTTP can be sent as a message, too. It is one for all commands, so
 * that they keep the order of their keys among each other also where somebody else's handler takes the same topics.
 */
export function createTopics({ threads, signals, signalVersions, validator }: Dependencies): HandlerDefinition {
  const commands = [
    controlSignal(validator, signals, signalVersions),
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

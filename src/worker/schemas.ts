import { type Static, Type } from 'typebox';
import { Strict } from '../http/schemas.ts';
import { Topic } from '../outbox/schemas.ts';

export const Topics = Type.Object(
  {
    handlers: Type.Array(
      Type.Object({
        handler: Type.String({ description: 'Name of its file, without the extension.' }),
        topics: Type.Array(Type.String(), { description: 'Topics or patterns.' }),
        transactional: Type.Boolean(),
      }),
    ),
    topics_without_handler: Type.Array(Type.String(), {
      description: 'Topics with published messages that no subscription matches.',
    }),
    paused: Type.Array(Type.String(), { description: 'Paused topics.' }),
  },
  {
    $id: 'Topics',
    examples: [
      {
        handlers: [{ handler: 'chat', topics: ['forum.integration.chat'], transactional: false }],
        topics_without_handler: [],
        paused: [],
      },
    ],
  },
);
export type Topics = Static<typeof Topics>;

export const TopicParams = Strict({ topic: Topic });

export const TopicState = Type.Object(
  { topic: Topic, paused: Type.Boolean() },
  { $id: 'TopicState', examples: [{ topic: 'forum.integration.chat', paused: true }] },
);

export const ProcessRequest = Strict(
  {
    limit: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1000, description: 'Messages to claim at most; 100 by default.' }),
    ),
  },
  { $id: 'ProcessRequest', examples: [{ limit: 10 }] },
);

export const PassResult = Type.Object(
  { claimed: Type.Integer(), sent: Type.Integer(), failed: Type.Integer(), dead: Type.Integer() },
  { $id: 'PassResult', examples: [{ claimed: 3, sent: 2, failed: 1, dead: 0 }] },
);

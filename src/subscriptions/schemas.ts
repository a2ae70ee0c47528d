import { type Static, Type } from 'typebox';
import { Nullable, PageOf, pageQuery, Sequence, Strict, Timestamp } from '../http/schemas.ts';

const SubscriptionName = Type.String({
  description: 'The file name of its handler, without the extension, or `webhook:` and the name of its webhook.',
});

export const Subscription = Type.Object(
  {
    name: SubscriptionName,
    kind: Type.Enum(['handler', 'webhook'], { description: 'What its messages go to: a handler module, or a URL.' }),
    topics: Type.Array(Type.String(), { description: 'The topics or patterns that it subscribes to.' }),
    dead_policy: Type.Enum(['pass', 'block'], {
      description: '`pass`: a dead message lets the later ones of its key pass. `block`: it holds them back.',
    }),
    position: Type.Integer({ description: 'Events up to this sequence have their deliveries.' }),
    served_by: Type.Array(Type.String(), { description: 'The processes that serve it; empty if none does.' }),
    last_seen_at: Type.Unsafe<string>({
      ...Timestamp,
      description: 'When a process last served it: now, if one does.',
    }),
    waiting: Type.Integer({
      description: 'Messages that are neither handled nor dead, including events without a delivery.',
    }),
    dead: Type.Integer({ description: 'Dead messages: they wait for a replay or a discard.' }),
    lag_seconds: Nullable(
      Type.Number({ description: 'Age of its oldest message that waits and is due; null if there is none.' }),
    ),
  },
  {
    $id: 'Subscription',
    description: 'A named consumer of the messages of some topics.',
    examples: [
      {
        name: 'chat',
        kind: 'handler',
        topics: ['forum.events.question.*'],
        dead_policy: 'pass',
        position: 4711,
        served_by: ['laptop-4711-5c6b'],
        last_seen_at: '2026-11-22T09:30:00.000Z',
        waiting: 2,
        dead: 0,
        lag_seconds: 0.2,
      },
    ],
  },
);
export type Subscription = Static<typeof Subscription>;

export const SubscriptionPage = PageOf(Subscription);

export const SubscriptionQuery = Strict(pageQuery);

export const SubscriptionParams = Strict({
  name: Type.String({ minLength: 1, maxLength: 200, description: 'The name of a subscription.' }),
});

export const SubscriptionDeleted = Type.Object(
  { name: SubscriptionName, deleted: Type.Literal(true) },
  { $id: 'SubscriptionDeleted', examples: [{ name: 'chat', deleted: true }] },
);

export const SubscriptionPosition = Type.Object(
  {
    name: SubscriptionName,
    position: Type.Integer({
      description: 'Events after this sequence follow: `after`, or the position so far if that is lower.',
    }),
  },
  { $id: 'SubscriptionPosition', examples: [{ name: 'chat', position: 0 }] },
);

export const SubscriptionReplay = Strict(
  {
    after: Type.Unsafe<number>({
      ...Sequence,
      description: 'Events with a greater sequence are delivered again; 0 means all.',
    }),
  },
  { $id: 'SubscriptionReplay', examples: [{ after: 0 }] },
);

import { type Static, Type } from 'typebox';
import { Nullable, PageOf, pageQuery, Sequence, Strict, Timestamp } from '../http/schemas.ts';

const SubscriptionName = Type.String({ description: 'The file name of the handler, without its extension.' });

export const Subscription = Type.Object(
  {
    name: SubscriptionName,
    kind: Type.Enum(['handler']),
    topics: Type.Array(Type.String(), { description: 'Topics or patterns.' }),
    dead_policy: Type.Enum(['pass', 'block'], {
      description: 'Whether a dead message blocks the later messages of its key.',
    }),
    position: Type.Integer({ description: 'The sequence up to which the log has been looked through for it.' }),
    served_by: Type.Array(Type.String(), { description: 'The processes that handle its messages now.' }),
    last_seen_at: Type.Unsafe<string>({ ...Timestamp, description: 'When a process last served it.' }),
    waiting: Type.Integer({ description: 'Messages that are not handled yet, and not dead.' }),
    dead: Type.Integer({ description: 'Messages that wait for a replay or a discard.' }),
    lag_seconds: Nullable(
      Type.Number({ description: 'How long its oldest message that is due has waited; null if none waits.' }),
    ),
  },
  {
    $id: 'Subscription',
    description: 'A named consumer of messages.',
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

export const SubscriptionParams = Strict({ name: Type.String({ minLength: 1, maxLength: 200 }) });

export const SubscriptionDeleted = Type.Object(
  { name: SubscriptionName, deleted: Type.Literal(true) },
  { $id: 'SubscriptionDeleted', examples: [{ name: 'chat', deleted: true }] },
);

export const SubscriptionPosition = Type.Object(
  { name: SubscriptionName, position: Type.Integer({ description: 'The sequence after which it goes on.' }) },
  { $id: 'SubscriptionPosition', examples: [{ name: 'chat', position: 0 }] },
);

export const SubscriptionReplay = Strict(
  { after: Type.Unsafe<number>({ ...Sequence, description: 'Events with a greater sequence are delivered again.' }) },
  { $id: 'SubscriptionReplay', examples: [{ after: 0 }] },
);

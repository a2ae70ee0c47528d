import { type Static, Type } from 'typebox';
import { Id, Instant, JsonObject, Nullable, PageOf, pageQuery, Ref, Strict, Timestamp } from '../http/schemas.ts';

export const messageStatuses = ['pending', 'processing', 'failed', 'dead', 'sent', 'discarded'] as const;
export type MessageStatus = (typeof messageStatuses)[number];

export const Topic = Type.String({
  minLength: 1,
  maxLength: 200,
  pattern: '^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$',
  description: 'Dotted name; handlers subscribe to topics.',
});

const MessageKey = Type.String({
  minLength: 1,
  maxLength: 500,
  pattern: '^[^\\u0000\\p{Cs}]*$',
  description: 'Messages with the same key are handled one at a time, in the order of publication.',
});

const Payload = Type.Unsafe<unknown>({
  description:
    'Any JSON value, nested at most 64 levels deep, of at most 100,000 values and 16,384 names. A number that does not fit a double is sent as a string. No name is `__proto__`, or `prototype` in a `constructor`.',
});

const content = {
  message_id: Id,
  topic: Topic,
  message_key: Nullable(MessageKey),
  payload: Payload,
};

const state = {
  status: Type.Enum([...messageStatuses]),
  attempts: Type.Integer(),
  max_attempts: Type.Integer(),
  available_at: Timestamp,
  last_error: Nullable(Type.String()),
  generation: Type.Integer({ description: 'Starts at 1 and rises with every replay.' }),
  consumer: Nullable(Type.String({ description: 'Name of the subscription; null while none matches the topic.' })),
  result: Nullable(JsonObject),
  created_at: Timestamp,
  updated_at: Timestamp,
  sent_at: Nullable(Timestamp),
};

const contentExample = {
  message_id: 'msg_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a',
  topic: 'forum.integration.chat',
  message_key: 'run-7',
  payload: { text: 'builder asks: Which region?' },
};

const stateExample = {
  status: 'sent',
  attempts: 1,
  max_attempts: 12,
  available_at: '2026-11-22T09:30:00.000Z',
  last_error: null,
  generation: 1,
  consumer: 'chat',
  result: null,
  created_at: '2026-11-22T09:30:00.000Z',
  updated_at: '2026-11-22T09:30:00.012Z',
  sent_at: '2026-11-22T09:30:00.012Z',
};

export const Message = Type.Object(
  { ...content, ...state },
  {
    $id: 'Message',
    description: 'A delivery: one message for one subscription.',
    examples: [{ ...contentExample, ...stateExample }],
  },
);
export type Message = Static<typeof Message>;

export const MessagePage = PageOf(Message);

export const Attempt = Type.Object(
  {
    attempt: Type.Integer(),
    generation: Type.Integer(),
    started_at: Timestamp,
    duration_ms: Type.Integer(),
    worker: Type.String(),
    outcome: Type.String({ description: 'Status of the delivery after the attempt.' }),
    error: Nullable(Type.String()),
    http_status: Type.Optional(Nullable(Type.Integer({ description: 'Of a webhook: the status of the answer.' }))),
    response_head: Type.Optional(Nullable(Type.String({ description: 'Of a webhook: the beginning of the answer.' }))),
    next_at: Type.Optional(
      Type.Unsafe<string>({ ...Timestamp, description: 'Of a failed attempt of a webhook: when the next one is due.' }),
    ),
  },
  { $id: 'Attempt', description: 'One attempt to handle a message.' },
);
export type Attempt = Static<typeof Attempt>;

const history = {
  attempt_history: Type.Array(Ref(Attempt), { description: 'The latest attempts, oldest first.' }),
};

export const Delivery = Type.Object(
  { ...state, ...history },
  { $id: 'Delivery', description: 'The state of a message for one subscription.' },
);
export type Delivery = Static<typeof Delivery>;

const deliveryExample = {
  ...stateExample,
  attempt_history: [
    {
      attempt: 1,
      generation: 1,
      started_at: '2026-11-22T09:30:00.002Z',
      duration_ms: 10,
      worker: 'laptop-4711',
      outcome: 'sent',
      error: null,
    },
  ],
};

export const MessageDetail = Type.Object(
  {
    ...content,
    ...state,
    ...history,
    traceparent: Nullable(
      Type.String({ description: 'Trace of the request that published the message (W3C Trace Context).' }),
    ),
    deliveries: Type.Array(Ref(Delivery), { description: 'One for each subscription that gets the message.' }),
  },
  {
    $id: 'MessageDetail',
    description:
      'A message with its deliveries. Its own status, attempts, times and errors are those of the least finished delivery.',
    examples: [
      {
        ...contentExample,
        ...deliveryExample,
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
        deliveries: [deliveryExample],
      },
    ],
  },
);
export type MessageDetail = Static<typeof MessageDetail>;

export const NewMessage = Strict(
  {
    topic: Topic,
    payload: Payload,
    message_key: Type.Optional(MessageKey),
    message_id: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 200,
        pattern: '^(?!(stats|replay|\\.{1,2})$)[A-Za-z0-9._:-]+$',
        description: 'Chosen by the caller; makes the request safe to repeat. Letters, digits and `._:-`.',
      }),
    ),
    available_at: Type.Optional(
      Type.Unsafe<string>({ ...Instant, description: 'The message is not handled before this time.' }),
    ),
  },
  {
    $id: 'NewMessage',
    examples: [
      { topic: 'forum.integration.chat', payload: { text: 'builder asks: Which region?' }, message_key: 'run-7' },
    ],
  },
);
export type NewMessage = Static<typeof NewMessage>;

const ConsumerName = Type.String({
  minLength: 1,
  maxLength: 200,
  description: 'Name of a subscription: only its deliveries.',
});

export const MessageQuery = Strict({
  status: Type.Optional(Type.Enum([...messageStatuses])),
  topic: Type.Optional(Topic),
  message_key: Type.Optional(MessageKey),
  consumer: Type.Optional(ConsumerName),
  ...pageQuery,
});
export type MessageQuery = Static<typeof MessageQuery>;

export const Replay = Strict(
  { status: Type.Literal('dead'), topic: Type.Optional(Topic), consumer: Type.Optional(ConsumerName) },
  { $id: 'Replay', examples: [{ status: 'dead', topic: 'forum.integration.chat' }] },
);

export const Replayed = Type.Object({ replayed: Type.Integer() }, { $id: 'Replayed', examples: [{ replayed: 3 }] });

export const MessageParams = Strict({ message_id: Id });

/** Which deliveries of a message an operator means. */
export const ConsumerQuery = Strict({ consumer: Type.Optional(ConsumerName) });

const counts = Object.fromEntries(messageStatuses.map(status => [status, Type.Integer()])) as Record<
  MessageStatus,
  ReturnType<typeof Type.Integer>
>;

const countsExample = { pending: 0, processing: 1, failed: 0, dead: 0, sent: 1204, discarded: 0 };

export const OutboxStats = Type.Object(
  {
    by_status: Type.Object(counts),
    by_topic: Type.Array(Type.Object({ topic: Type.String(), ...counts })),
    oldest_pending_at: Nullable(Timestamp),
    oldest_pending_age_seconds: Nullable(Type.Number()),
    blocked_lanes: Type.Array(
      Type.Object({
        message_key: Type.String(),
        topic: Type.String(),
        consumer: Nullable(Type.String()),
        message_id: Id,
      }),
      { description: 'The first 100 keys that a dead message blocks, until it is replayed or discarded.' },
    ),
  },
  {
    $id: 'OutboxStats',
    description:
      'Counts of deliveries by status and topic: a message counts once for each subscription. An event is pending for a subscription that has no delivery of it yet. `sent` counts all ever handled, including deleted ones.',
    examples: [
      {
        by_status: countsExample,
        by_topic: [{ topic: 'forum.integration.chat', ...countsExample }],
        oldest_pending_at: null,
        oldest_pending_age_seconds: null,
        blocked_lanes: [],
      },
    ],
  },
);
export type OutboxStats = Static<typeof OutboxStats>;

import { type Static, Type } from 'typebox';
import {
  Id,
  Instant,
  LENGTHS,
  Name,
  Nullable,
  PageOf,
  pageQuery,
  Strict,
  Text,
  Timestamp,
  Version,
} from '../http/schemas.ts';
import { messageStatuses } from '../outbox/schemas.ts';
import { priorities } from '../priority.ts';

/** Event types that one webhook may name. */
const MAX_TYPES = 50;

export const WebhookName = Type.String({
  pattern: '^[a-z0-9][a-z0-9_-]{0,62}$',
  description: 'Lower-case letters, digits, `-` and `_`; unique.',
});

const Url = Type.String({
  ...Text(LENGTHS.reference),
  description:
    'An https URL, for `email` an smtps or smtp one. Its addresses must be public, or in `WEBHOOK_ALLOW_CIDRS`, which also allows http. `ntfy`, `telegram` and the app of `slack` have their own if it is left out.',
});

const EventTypes = Type.Array(
  Type.String({
    maxLength: 200,
    pattern: '^(\\*|forum(\\.[a-z]+)*(\\.\\*)?)$',
    description: 'An event type, or the beginning of some with a trailing `*`, such as `forum.question.*`.',
  }),
  { minItems: 1, maxItems: MAX_TYPES },
);

export const formats = ['standard', 'slack', 'discord', 'teams', 'ntfy', 'telegram', 'email', 'webpush'] as const;
export type Format = (typeof formats)[number];

const Topic = { pattern: '^[-_A-Za-z0-9]{1,64}$' };
const Token = { pattern: '^[!-~]{1,500}$' };
const ADDRESS = '[^\\s\\p{Cc}\\p{Cs}<>()\\[\\],;:"@]{1,64}@[A-Za-z0-9.-]{1,190}';

const SettingsSchema = Strict(
  {
    topic: Type.Optional(Type.String({ ...Topic, description: 'Where messages are published.' })),
    reply_topic: Type.Optional(
      Type.String({
        ...Topic,
        description: 'Buttons publish there, and the service reads it: they then work without `PUBLIC_URL`.',
      }),
    ),
    token: Type.Optional(Type.String({ ...Token, description: 'The access token.' })),
    chat_id: Type.Optional(
      Type.String({
        pattern: '^(-?\\d{1,20}|@\\w{1,64})$',
        description: 'The chat, such as `-1001234`, or `@channel`.',
      }),
    ),
    bot_token: Type.Optional(Type.String({ pattern: '^[\\w:-]{1,200}$', description: 'The token of the bot.' })),
    app_token: Type.Optional(
      Type.String({ pattern: '^[\\w-]{1,200}$', description: 'The token of the app, for Socket Mode.' }),
    ),
    channel: Type.Optional(
      Type.String({ pattern: '^[CDG][A-Z0-9]{1,30}$', description: 'The id of the channel, such as `C0123456789`.' }),
    ),
    from: Type.Optional(Type.String({ pattern: `^${ADDRESS}$`, description: 'The address that mails come from.' })),
    to: Type.Optional(
      Type.String({
        maxLength: LENGTHS.reference,
        pattern: `^${ADDRESS}(, *${ADDRESS}){0,19}$`,
        description: 'The addresses that mails go to, separated by commas.',
      }),
    ),
    p256dh: Type.Optional(
      Type.String({
        pattern: '^[-_A-Za-z0-9]{87}=?$',
        description: 'The key of the browser that messages are encrypted for.',
      }),
    ),
    auth: Type.Optional(
      Type.String({ pattern: '^[-_A-Za-z0-9]{22}(==)?$', description: 'The secret of the browser for its messages.' }),
    ),
  },
  { description: 'Of a channel, as its format needs them. Never shown again.' },
);
export type Settings = Static<typeof SettingsSchema>;

/** What a format takes. */
interface FormatFields {
  /** The URL if it is left out; undefined if it has to be given. */
  url?: string;
  /** That URL goes with the settings of {@link answersWith} only. */
  urlIs?: 'of the buttons';
  /** The settings that it needs, and those that it takes beside them. */
  needs: readonly (keyof Settings)[];
  takes: readonly (keyof Settings)[];
  /** The settings with which buttons answer without `PUBLIC_URL`; undefined if nothing makes them do so. */
  answersWith?: readonly (keyof Settings)[];
}

/** The settings of each format. Of these `token`, `bot_token` and `app_token` are secrets. */
export const formatFields: Record<Format, FormatFields> = {
  standard: { needs: [], takes: [] },
  slack: {
    ...{ url: 'https://slack.com/api/', urlIs: 'of the buttons', needs: [] },
    ...{ takes: ['app_token', 'bot_token', 'channel'], answersWith: ['app_token', 'bot_token', 'channel'] },
  },
  discord: { needs: [], takes: [] },
  teams: { needs: [], takes: [] },
  ntfy: { url: 'https://ntfy.sh/', needs: ['topic'], takes: ['reply_topic', 'token'], answersWith: ['reply_topic'] },
  telegram: {
    ...{ url: 'https://api.telegram.org/', needs: ['chat_id', 'bot_token'], takes: [] },
    answersWith: ['chat_id', 'bot_token'],
  },
  email: { needs: ['from', 'to'], takes: [] },
  webpush: { needs: ['p256dh', 'auth'], takes: [] },
};

const FormatSchema = Type.Enum([...formats], {
  description: '`standard`: signed CloudEvents. The others are messages for people.',
});

const Filter = Strict(
  {
    run_id: Type.Optional(Name),
    agent_name: Type.Optional(Name),
    priority_at_least: Type.Optional(
      Type.Enum([...priorities], {
        description: 'Of the question or the thread that an event is about. Other events are sent all the same.',
      }),
    ),
  },
  { description: 'What an event must have besides its type.' },
);
export type Filter = Static<typeof Filter>;

const Secret = Type.String({
  maxLength: 200,
  description: '`whsec_` and 24 to 64 bytes in base64. Without it the service makes one.',
});

const given = { url: Url, event_types: EventTypes };
const optional = {
  settings: Type.Optional(SettingsSchema),
  filter: Type.Optional(Filter),
  description: Type.Optional(Nullable(Text(LENGTHS.title))),
  answer_links: Type.Optional(
    Type.Boolean({
      description:
        'Whether open questions come with an `answerurl`, at which whoever has it may answer in the name of the webhook. Needs `PUBLIC_URL`, or buttons that work without.',
    }),
  ),
  enabled: Type.Optional(Type.Boolean({ description: 'Whether anything is sent. True if it is left out.' })),
};
const secret = {
  secret: Type.Optional(Secret),
  secret_expires_at: Type.Optional(
    Type.Unsafe<string>({ ...Instant, description: 'From then on the secret signs nothing.' }),
  ),
};

export const NewWebhook = Strict(
  { name: WebhookName, ...given, url: Type.Optional(Url), format: Type.Optional(FormatSchema), ...optional, ...secret },
  {
    $id: 'NewWebhook',
    examples: [{ name: 'chat', url: 'https://chat.example.com/forumbus', event_types: ['forum.question.*'] }],
  },
);
export type NewWebhook = Static<typeof NewWebhook>;

export const WebhookChange = Strict(
  { url: Type.Optional(Url), event_types: Type.Optional(EventTypes), ...optional },
  { $id: 'WebhookChange', minProperties: 1, examples: [{ enabled: true }] },
);
export type WebhookChange = Static<typeof WebhookChange>;

const properties = {
  name: WebhookName,
  ...given,
  url: Type.String({ description: 'Of a channel only its beginning: the rest may be a secret.' }),
  format: FormatSchema,
  filter: Filter,
  description: Nullable(Type.String()),
  answer_links: Type.Boolean(),
  enabled: Type.Boolean(),
  disabled_reason: Nullable(
    Type.Enum(['gone', 'failing', 'secret_expired'], {
      description:
        'Why the service disabled it: it answered 410, it only failed for five days, or its last secret expired. Null if a person did.',
    }),
  ),
  failures: Type.Integer({ description: 'Failed attempts in a row.' }),
  failing_since: Nullable(Timestamp),
  next_probe_at: Nullable(
    Type.Unsafe<string>({
      ...Timestamp,
      description:
        'The circuit is open: one delivery is tried at this time, and the others wait for it. Null if it is closed.',
    }),
  ),
  secrets: Type.Array(Type.Object({ expires_at: Nullable(Timestamp) }), {
    description: 'The secrets that sign, the newest first, without their texts.',
  }),
  created_at: Timestamp,
  updated_at: Timestamp,
  version: Version,
};

const example: Static<ReturnType<typeof Type.Object<typeof properties>>> = {
  name: 'chat',
  url: 'https://chat.example.com/forumbus',
  event_types: ['forum.question.*'],
  format: 'standard',
  filter: {},
  description: null,
  answer_links: false,
  enabled: true,
  disabled_reason: null,
  failures: 0,
  failing_since: null,
  next_probe_at: null,
  secrets: [{ expires_at: null }],
  created_at: '2026-11-22T09:30:00.000Z',
  updated_at: '2026-11-22T09:30:00.000Z',
  version: 1,
};

export const Webhook = Type.Object(properties, {
  $id: 'Webhook',
  description: 'An endpoint that gets events by signed POST requests.',
  examples: [example],
});
export type Webhook = Static<typeof Webhook>;

const SHOWN = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

export const WebhookWithSecret = Type.Object(
  { ...properties, secret: Type.String({ description: 'Shown in this answer only.' }) },
  { $id: 'WebhookWithSecret', examples: [{ ...example, secret: SHOWN }] },
);
export type WebhookWithSecret = Static<typeof WebhookWithSecret>;

export const WebhookPage = PageOf(Webhook);
export const WebhookQuery = Strict(pageQuery);
export const WebhookParams = Strict({ name: WebhookName });

export const WebhookDeleted = Type.Object(
  { name: WebhookName, deleted: Type.Literal(true) },
  { $id: 'WebhookDeleted', examples: [{ name: 'chat', deleted: true }] },
);

export const PushKey = Type.Object(
  { public_key: Type.String({ description: 'base64url, for `PushManager.subscribe()` of a browser.' }) },
  { $id: 'PushKey', examples: [{ public_key: `B${'A'.repeat(86)}` }] },
);
export type PushKey = Static<typeof PushKey>;

export const SecretRotation = Strict(
  {
    grace_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2_592_000,
        default: 86_400,
        description: 'How long the secrets before go on signing beside the new one; at most ten sign, the newest.',
      }),
    ),
    ...secret,
  },
  { $id: 'SecretRotation', examples: [{ grace_seconds: 3600 }] },
);
export type SecretRotation = Static<typeof SecretRotation>;

export const PingResult = Type.Object(
  {
    ok: Type.Boolean(),
    status: Nullable(Type.Integer({ description: 'Of the answer; null without one.' })),
    duration_ms: Type.Integer(),
    error: Nullable(Type.String()),
    response_head: Nullable(Type.String({ description: 'At most 1,024 bytes.' })),
  },
  {
    $id: 'PingResult',
    examples: [{ ok: true, status: 204, duration_ms: 42, error: null, response_head: '' }],
  },
);
export type PingResult = Static<typeof PingResult>;

const WebhookAttempt = Type.Object({
  at: Timestamp,
  status: Nullable(Type.Integer({ description: 'Of the answer; null without one.' })),
  duration_ms: Type.Integer(),
  error: Nullable(Type.String()),
  response_head: Nullable(Type.String({ description: 'At most 1,024 bytes.' })),
  next_at: Nullable(Timestamp),
});

export const WebhookDelivery = Type.Object(
  {
    delivery_id: Id,
    event_id: Id,
    event_type: Type.String(),
    status: Type.Enum([...messageStatuses]),
    reason: Nullable(Type.String({ description: 'The last error, or why it was dropped.' })),
    attempts: Type.Array(WebhookAttempt, { description: 'The latest 20, oldest first.' }),
    next_at: Nullable(Type.Unsafe<string>({ ...Timestamp, description: 'When it is tried next; null if it is not.' })),
    created_at: Timestamp,
  },
  {
    $id: 'WebhookDelivery',
    description: 'One event for one webhook.',
    examples: [
      {
        delivery_id: 'dlv_4711',
        event_id: 'evt_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a',
        event_type: 'forum.question.opened',
        status: 'failed',
        reason: 'The endpoint answered 503.',
        attempts: [
          {
            at: '2026-11-22T09:30:00.000Z',
            status: 503,
            duration_ms: 12,
            error: 'The endpoint answered 503.',
            response_head: 'busy',
            next_at: '2026-11-22T09:30:05.012Z',
          },
        ],
        next_at: '2026-11-22T09:30:05.012Z',
        created_at: '2026-11-22T09:30:00.000Z',
      },
    ],
  },
);
export type WebhookDelivery = Static<typeof WebhookDelivery>;

export const WebhookDeliveryPage = PageOf(WebhookDelivery);
export const WebhookDeliveryQuery = Strict({
  status: Type.Optional(Type.Enum([...messageStatuses])),
  event_type: Type.Optional(Type.String({ maxLength: 200 })),
  ...pageQuery,
});
export type WebhookDeliveryQuery = Static<typeof WebhookDeliveryQuery>;

export const WebhookReplay = Strict(
  {
    delivery_id: Type.Optional(
      Type.String({ pattern: '^dlv_[1-9]\\d{0,15}$', description: 'One delivery that has ended.' }),
    ),
    since: Type.Optional(
      Type.Unsafe<string>({ ...Instant, description: 'All events from this time on, sent ones included.' }),
    ),
    until: Type.Optional(
      Type.Unsafe<string>({ ...Instant, description: 'With `since`: only those before this time.' }),
    ),
    missing_since: Type.Optional(
      Type.Unsafe<string>({ ...Instant, description: 'The events from this time on that were not sent.' }),
    ),
  },
  { $id: 'WebhookReplay', examples: [{ missing_since: '2026-11-22T00:00:00.000Z' }] },
);
export type WebhookReplay = Static<typeof WebhookReplay>;

export const WebhookReplayed = Type.Object(
  {
    name: WebhookName,
    after: Type.Integer({ description: 'Events after this sequence follow, in the background.' }),
    up_to: Type.Integer({ description: 'The last sequence of the replay.' }),
  },
  { $id: 'WebhookReplayed', examples: [{ name: 'chat', after: 4000, up_to: 4711 }] },
);
export type WebhookReplayed = Static<typeof WebhookReplayed>;

/** The body of a webhook, for the document. */
export const CloudEvent = Type.Object(
  {
    specversion: Type.Literal('1.0'),
    id: Id,
    source: Type.String({ description: 'A URI reference of the service.' }),
    type: Type.String({ description: 'The event type.' }),
    time: Timestamp,
    subject: Type.Optional(Type.String({ description: 'The thread of the event, or else its run.' })),
    datacontenttype: Type.Literal('application/json'),
    sequence: Type.String({ description: 'Place in the event log, as text.' }),
    answerurl: Type.Optional(
      Type.String({ description: 'Of an open question, if the webhook has `answer_links`: a page to answer at.' }),
    ),
    data: Type.Unsafe<unknown>({ $ref: 'Event#' }),
  },
  { $id: 'CloudEvent', description: 'An event in the JSON format of CloudEvents 1.0.' },
);

import type { Static } from 'typebox';
import type {
  IssuedToken,
  Me,
  NewToken,
  Token,
  TokenPage as TokenPageSchema,
  TokenRotation,
} from '../access/schemas.ts';
import type { Actor } from '../actor.ts';
import type { AuditEntry, AuditPage as AuditPageSchema, AuditQuery } from '../audit/schemas.ts';
import type { ControlState, ControlStatePage as ControlStatePageSchema, Evidence } from '../control/schemas.ts';
import type { Event, EventPage as EventPageSchema, EventQuery as EventQuerySchema } from '../events/schemas.ts';
import type { InboxClaim, InboxItem, InboxItemPage } from '../inbox/schemas.ts';
import type {
  Message,
  MessageDetail,
  MessagePage as MessagePageSchema,
  MessageQuery as MessageQuerySchema,
  OutboxStats,
} from '../outbox/schemas.ts';
import type {
  Answer,
  Option as OptionSchema,
  Question,
  QuestionPage as QuestionPageSchema,
  QuestionQuery,
  Source,
} from '../questions/schemas.ts';
import type { NewBrief, Run, RunQuery as RunQuerySchema, RunSummary, RunSummaryPage } from '../runs/schemas.ts';
import type { SignalResult } from '../signals/schemas.ts';
import type { CompletionSignal, GuidanceAnswer, GuidanceRequest, ValidationSignal } from '../signals/v1.ts';
import type { Stats } from '../stats/schemas.ts';
import type { Subscription, SubscriptionPage as SubscriptionPageSchema } from '../subscriptions/schemas.ts';
import type {
  NewPost,
  NewThread,
  Post,
  PostAndThread,
  PostPage as PostPageSchema,
  Thread,
  ThreadChange,
  ThreadPage as ThreadPageSchema,
  ThreadQuery as ThreadQuerySchema,
} from '../threads/schemas.ts';
import type {
  NewWebhook,
  PingResult,
  PushKey,
  SecretRotation,
  Webhook,
  WebhookChange,
  WebhookDelivery,
  WebhookDeliveryPage as WebhookDeliveryPageSchema,
  WebhookDeliveryQuery as WebhookDeliveryQuerySchema,
  WebhookPage as WebhookPageSchema,
  WebhookReplay,
  WebhookReplayed,
  WebhookWithSecret,
} from '../webhooks/schemas.ts';
import type { Topics } from '../worker/schemas.ts';

/* The wire types, from the schemas of the service. Each name is that of the OpenAPI document, in snake_case inside. */

export type {
  Actor,
  AuditEntry,
  AuditQuery,
  ControlState,
  Event,
  Evidence,
  InboxClaim,
  InboxItem,
  IssuedToken,
  Me,
  Message,
  MessageDetail,
  NewBrief,
  NewPost,
  NewThread,
  NewToken,
  NewWebhook,
  OutboxStats,
  PingResult,
  Post,
  PostAndThread,
  PushKey,
  Question,
  Run,
  RunSummary,
  SecretRotation,
  SignalResult,
  Source,
  Stats,
  Subscription,
  Thread,
  ThreadChange,
  Token,
  TokenRotation,
  Topics,
  Webhook,
  WebhookChange,
  WebhookDelivery,
  WebhookReplay,
  WebhookReplayed,
  WebhookWithSecret,
};

export type Option = Static<typeof OptionSchema>;
export type AuditPage = Static<typeof AuditPageSchema>;
export type ControlStatePage = Static<typeof ControlStatePageSchema>;
export type EventPage = Static<typeof EventPageSchema>;
export type MessagePage = Static<typeof MessagePageSchema>;
export type PostPage = Static<typeof PostPageSchema>;
export type RunPage = Static<typeof RunSummaryPage>;
export type SubscriptionPage = Static<typeof SubscriptionPageSchema>;
export type ThreadPage = Static<typeof ThreadPageSchema>;
export type TokenPage = Static<typeof TokenPageSchema>;
export type InboxPage = Static<typeof InboxItemPage>;
export type WebhookPage = Static<typeof WebhookPageSchema>;
export type WebhookDeliveryPage = Static<typeof WebhookDeliveryPageSchema>;
export type QuestionPage = Static<typeof QuestionPageSchema>;
export type Gate = Run['gate'] & Pick<Run, 'run_id' | 'status' | 'version'>;

/** What the client adds to a signal; the agent is that of the client unless the call names one. */
type Sent<T> = Omit<T, 'schema_version' | 'control_type' | 'run_id' | 'agent_name'> & {
  run_id?: string;
  agent_name?: string;
};

export type AskRequest = Omit<Sent<GuidanceRequest>, 'options'> & {
  /** A string is the label of an option. */
  options?: (string | Option)[];
};
export type CompletionRequest = Sent<CompletionSignal>;
export type ValidationRequest = Sent<ValidationSignal>;

/** `answer`, `selected` or both. */
export type AnswerRequest = Answer;
export type GuidanceAnswerRequest = Sent<GuidanceAnswer>;

export interface QuestionFilter extends Omit<QuestionQuery, 'limit'> {
  limit?: number;
  /** Search words. */
  q?: string;
  ticket?: string;
  /** RFC 3339. */
  asked_after?: string;
  order?: 'newest';
  /** Only questions whose outcome the agent has not acknowledged. */
  unacknowledged?: true;
}

export interface PageRequest {
  /** Rows; at most 200. */
  limit?: number;
  /** The `next_cursor` of the page before. */
  cursor?: string;
}
type ListOf<Q> = Omit<Q, 'limit' | 'cursor'> & PageRequest;
export type EventQuery = ListOf<EventQuerySchema>;
export type MessageQuery = ListOf<MessageQuerySchema>;
export type RunQuery = ListOf<RunQuerySchema>;
export type ThreadQuery = ListOf<ThreadQuerySchema>;
export type WebhookDeliveryQuery = ListOf<WebhookDeliveryQuerySchema>;

/** A link that logs a browser in, once and within a minute. */
export interface LoggedOut {
  logged_out: true;
  /** Where a person who had logged in by single sign-on can log out at the provider, too. */
  next: string | null;
}

export interface LoginLink {
  /** Follows the address of the service. */
  path: string;
  expires_at: string;
}

/** Options of every call. */
export interface CallOptions {
  signal?: AbortSignal | undefined;
}
export interface WaitOptions extends CallOptions {
  /** Seconds to wait; then the current state is returned. */
  wait_seconds?: number | undefined;
}
export interface WriteOptions extends CallOptions {
  /** Names the act, so that its repeat has no second effect. */
  idempotency_key?: string | undefined;
}

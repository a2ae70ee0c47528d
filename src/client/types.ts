import type { Static } from 'typebox';
import type { Me } from '../access/schemas.ts';
import type { Actor } from '../actor.ts';
import type { ControlState, Evidence } from '../control/schemas.ts';
import type { Event } from '../events/schemas.ts';
import type { InboxClaim, InboxItem, InboxItemPage } from '../inbox/schemas.ts';
import type {
  Answer,
  Option as OptionSchema,
  Question,
  QuestionPage as QuestionPageSchema,
  QuestionQuery,
  Source,
} from '../questions/schemas.ts';
import type { Run } from '../runs/schemas.ts';
import type { SignalResult } from '../signals/schemas.ts';
import type { CompletionSignal, GuidanceAnswer, GuidanceRequest, ValidationSignal } from '../signals/v1.ts';
import type { Post } from '../threads/schemas.ts';

/* The wire types, from the schemas of the service. Each name is that of the OpenAPI document, in snake_case inside. */

export type {
  Actor,
  ControlState,
  Event,
  Evidence,
  InboxClaim,
  InboxItem,
  Me,
  Post,
  Question,
  Run,
  SignalResult,
  Source,
};

export type Option = Static<typeof OptionSchema>;
export type InboxPage = Static<typeof InboxItemPage>;
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

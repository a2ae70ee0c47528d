import type { ColumnType, Generated, Selectable, Updateable } from 'kysely';

/*
 * The rows of the tables, the same on both engines. Times are epoch milliseconds, JSON is text, and actors are
 * `type:name`. Priorities are ranks (0 is the most urgent), and flags are 0 or 1. The migration that adds a column
 * explains it.
 */

interface ThreadsTable {
  thread_id: string;
  kind: 'control' | 'discussion';
  title: string;
  state: string;
  priority: number;
  assignee: string | null;
  ticket: string | null;
  run_id: string | null;
  agent_name: string | null;
  opened_by: string;
  opened_at: number;
  last_actor: string;
  updated_at: number;
  closed_at: number | null;
  posts_count: number;
  last_sequence: number;
  last_agent_post: number;
  last_human_post: number;
  last_answered: number;
  opened_sequence: number;
  place: number;
  open_questions: number;
  awaits_person: number;
  version: number;
}

interface ControlThreadsTable {
  run_id: string;
  agent_name: string;
  thread_id: string;
  attempt: number;
  open_questions_count: number;
  completion_sequence: number | null;
  validation_sequence: number | null;
  validation_status: 'passed' | 'failed' | null;
  status: string;
  criteria_met: number;
  unread: number;
  version: number;
  withdrawn_at: number | null;
  last_seen_at: number | null;
  /** The hours of `last_seen_at` since the epoch, which the database computes. */
  last_seen_hour: ColumnType<number | null, never, never>;
}

interface InboxItemsTable {
  sequence: number;
  run_id: string;
  agent_name: string;
  question_id: string | null;
  created_at: number;
  claimed_by: string | null;
  claimed_until: Generated<number>;
}

interface RunsTable {
  run_id: string;
  opened_sequence: number;
  brief: string | null;
  first_ticket: string | null;
  ticket: string | null;
  title: string | null;
  status: 'closed' | 'awaiting_guidance' | 'completed' | 'running';
  agents_count: number;
  open_questions_count: number;
  clear_count: number;
  absent_count: number;
  updated_at: number;
  closed_at: number | null;
  erased_at: Generated<number | null>;
  version: number;
}

interface ErasuresTable {
  run_id: string;
  erased_sequence: number;
  phase: 'words' | 'events' | 'agents' | 'keys' | 'messages';
  at: number;
  post: number;
  posts: number;
}

interface IdempotencyKeysTable {
  caller: string;
  idempotency_key: string;
  fingerprint: string;
  status: number;
  headers: string;
  body: string;
  reference: string | null;
  created_at: number;
  run_id: string | null;
  thread_id: string | null;
}

interface SeenTable {
  viewer: string;
  first_place: number;
  last_place: number;
}

interface CountsTable {
  subject: string;
  value: string;
  part: Generated<number>;
  count: number;
}

/** A virtual table on SQLite, an ordinary one with a GIN index on PostgreSQL. */
interface SearchTable {
  rowid: number;
  words: string;
}

interface SearchThreadsTable {
  number: Generated<number>;
  opened_sequence: number;
}

interface SearchProgressTable {
  last_sequence: number;
  opened_sequence: number;
  cursor: string | null;
  indexed: number;
}

interface QuestionsTable {
  question_id: string;
  thread_id: string;
  run_id: string;
  agent_name: string;
  state: string;
  priority: number;
  asked_sequence: number;
  asked_at: number;
  expires_at: number | null;
  has_default: number;
  supersedes: string | null;
  answer_sequence: number | null;
  answer: string | null;
  selected: string | null;
  answered_by: string | null;
  answered_at: number | null;
  answered_in: string | null;
  ticket: string | null;
  phase: number;
  default_applied: number;
  acknowledged_at: number | null;
  remind_at: number | null;
  approvals_required: Generated<number>;
  version: number;
}

interface QuestionApprovalsTable {
  question_id: string;
  person: string;
  actor: string;
  answer: string;
  selected: string;
  answered_in: string;
  sequence: number;
  approved_at: number;
}

interface EventsTable {
  sequence: Generated<number>;
  event_id: string;
  event_type: string;
  event_version: number;
  occurred_at: number;
  thread_id: string | null;
  run_id: string | null;
  ticket: string | null;
  agent_name: string | null;
  actor: string;
  correlation_id: string;
  causation_id: string | null;
  payload: string;
  token_id: string | null;
  traceparent: string | null;
}

interface SubscriptionsTable {
  subscription_id: Generated<number>;
  name: string;
  kind: 'handler' | 'webhook';
  topics: string;
  filter: string | null;
  dead_policy: 'pass' | 'block';
  position: number;
  created_at: number;
  last_seen_at: number;
  deleted_at: Generated<number | null>;
}

interface SubscriptionServersTable {
  subscription_id: number;
  process: string;
}

interface WebhooksTable {
  subscription_id: number;
  url: string;
  format: 'standard' | 'slack' | 'discord' | 'teams' | 'ntfy' | 'telegram' | 'email' | 'webpush';
  settings: string;
  event_types: string;
  filter: string;
  secrets: string;
  description: string | null;
  answer_links: number;
  enabled: number;
  disabled_reason: 'gone' | 'failing' | 'secret_expired' | null;
  failures: Generated<number>;
  failing_since: number | null;
  probe_at: number | null;
  created_at: number;
  updated_at: number;
  version: number;
}

interface WebhookMessagesTable {
  number: Generated<number>;
  subscription_id: number;
  question_id: string;
  reference: string;
  told_at: number;
}

interface WebhookSourcesTable {
  source: string;
  process: string | null;
  position: string | null;
}

interface WebhookReplaysTable {
  number: Generated<number>;
  subscription_id: number;
  after_sequence: number;
  up_to: number;
  missing: number;
}

interface MessagesTable {
  number: Generated<number>;
  message_id: string;
  topic: string;
  message_key: string | null;
  payload: string;
  available_at: number | null;
  created_at: number;
  traceparent: string | null;
  token_id: string | null;
  run_id: string | null;
  thread_id: string | null;
}

interface DeliveriesTable {
  position: Generated<number>;
  subscription_id: number | null;
  event_sequence: number | null;
  message_number: number | null;
  topic: string;
  message_key: string | null;
  queued: number;
  status: 'pending' | 'processing' | 'failed' | 'dead' | 'sent' | 'discarded';
  attempts: number;
  generation: number;
  available_at: number;
  claimable_at: number | null;
  parked: Generated<number>;
  lease_token: string | null;
  leased_by: string | null;
  last_error: string | null;
  history: string;
  result: Generated<string | null>;
  created_at: number;
  updated_at: number;
}

interface TokensTable {
  token_id: string;
  secret_hash: string;
  role: 'agent' | 'viewer' | 'operator' | 'admin';
  actor: string | null;
  runs: string | null;
  agents: string | null;
  validates: string | null;
  created_at: number;
  created_by: string;
  expires_at: number | null;
  revoked_at: number | null;
  last_used_at: number | null;
  rotations: Generated<number>;
  rotated_at: number | null;
  former_secrets: string | null;
}

interface AuditTable {
  number: Generated<number>;
  at: number;
  operation: string;
  status: number;
  code: string | null;
  count: number;
  token_id: string | null;
  actor: string | null;
  address: string;
  request_id: string | null;
  run_id: string | null;
  resources: string;
}

interface PageLoginsTable {
  secret_hash: string;
  kind: 'link' | 'session';
  token_id: string;
  secret_number: Generated<number>;
  created_at: number;
  expires_at: number;
}

interface TopicsTable {
  topic: string;
  sent: Generated<number>;
  paused: Generated<number>;
}

/** All tables by name. */
export interface Schema {
  threads: ThreadsTable;
  seen: SeenTable;
  search_titles: SearchTable;
  search_openings: SearchTable;
  search_replies: SearchTable;
  search_questions: SearchTable;
  search_questions_left: { below: number };
  search_threads: SearchThreadsTable;
  search_progress: SearchProgressTable;
  control_threads: ControlThreadsTable;
  runs: RunsTable;
  erasures: ErasuresTable;
  questions: QuestionsTable;
  question_approvals: QuestionApprovalsTable;
  inbox_items: InboxItemsTable;
  events: EventsTable;
  subscriptions: SubscriptionsTable;
  subscription_servers: SubscriptionServersTable;
  webhooks: WebhooksTable;
  webhook_replays: WebhookReplaysTable;
  webhook_messages: WebhookMessagesTable;
  webhook_sources: WebhookSourcesTable;
  link_secrets: { secret: string };
  messages: MessagesTable;
  deliveries: DeliveriesTable;
  topics: TopicsTable;
  counts: CountsTable;
  idempotency_keys: IdempotencyKeysTable;
  tokens: TokensTable;
  audit: AuditTable;
  page_logins: PageLoginsTable;
  push_keys: { public_key: string; private_key: string };
}

/** A row as a query returns it. */
export type Row<T extends keyof Schema> = Selectable<Schema[T]>;
/** The changed columns of an update. */
export type Changes<T extends keyof Schema> = Updateable<Schema[T]>;

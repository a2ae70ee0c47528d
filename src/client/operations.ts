import type { Call } from './transport.ts';
import type {
  AuditPage,
  AuditQuery,
  CallOptions,
  ControlState,
  ControlStatePage,
  Event,
  EventPage,
  EventQuery,
  IssuedToken,
  LoggedOut,
  LoginLink,
  Me,
  MessageDetail,
  MessagePage,
  MessageQuery,
  NewBrief,
  NewPost,
  NewThread,
  NewToken,
  NewWebhook,
  OutboxStats,
  PageRequest,
  PingResult,
  PostAndThread,
  PostPage,
  PushKey,
  Run,
  RunPage,
  RunQuery,
  SecretRotation,
  Stats,
  SubscriptionPage,
  Thread,
  ThreadChange,
  ThreadPage,
  ThreadQuery,
  Token,
  TokenPage,
  TokenRotation,
  Topics,
  Webhook,
  WebhookChange,
  WebhookDeliveryPage,
  WebhookDeliveryQuery,
  WebhookPage,
  WebhookReplay,
  WebhookReplayed,
  WebhookWithSecret,
  WriteOptions,
} from './types.ts';

type Send = <T>(call: Call, options: CallOptions) => Promise<T>;
interface AgentName {
  run_id: string;
  agent_name: string;
}
/** With `version`, the act is refused if the resource has changed since. */
export type VersionedOptions = WriteOptions & { version?: number | undefined };

/** The calls of people who watch and steer runs. Lists are pages; all throw a ForumbusError for a refusal. */
export function operationsOf(send: Send) {
  const get =
    <T>(path: string) =>
    (query: object = {}, options: CallOptions = {}) =>
      send<T>({ method: 'GET', path, query: { ...query } }, options);
  const post = <T>(path: string, body: unknown, options: WriteOptions, more: Partial<Call> = {}) => {
    const { idempotency_key = crypto.randomUUID() } = options;
    return send<T>({ method: 'POST', path, ...(body !== undefined && { body }), idempotency_key, ...more }, options);
  };

  return {
    runs: {
      list: get<RunPage>('/runs') as (query?: RunQuery, options?: CallOptions) => Promise<RunPage>,
      get: (run_id: string, options: CallOptions = {}) => get<Run>(runPath(run_id))({}, options),
      /** Files the brief of a run, or replaces it. */
      brief: (run_id: string, brief: NewBrief, { version, ...options }: VersionedOptions = {}) =>
        send<Run>({ method: 'PUT', path: runPath(run_id), body: brief, headers: ifMatch(version) }, options),
      /**
       * Erases the texts of a closed run. With `up_to` of an export, a run that has gone on since is refused.
       * @returns whether all are gone: if not, repeat the call
       */
      erase: async (run_id: string, { up_to, ...options }: CallOptions & { up_to?: number | undefined } = {}) => {
        const call: Call = { method: 'DELETE', path: runPath(run_id), query: { up_to }, silence: PING };
        return (await send<object | undefined>(call, options)) === undefined;
      },
    },

    agents: {
      list: get<ControlStatePage>('/control-threads') as (
        query?: PageRequest & { run_id?: string; status?: string },
        options?: CallOptions,
      ) => Promise<ControlStatePage>,
      /** Starts the next attempt: completion and validation begin anew. */
      startAttempt: (agent: AgentName, options: WriteOptions = {}) =>
        post<ControlState>(`${agentPath(agent)}/attempts`, {}, options),
      /** Takes an agent out of its run. */
      withdraw: (agent: AgentName, options: WriteOptions = {}) =>
        post<ControlState>(`${agentPath(agent)}/withdraw`, {}, options),
    },

    threads: {
      list: get<ThreadPage>('/threads') as (query?: ThreadQuery, options?: CallOptions) => Promise<ThreadPage>,
      get: (thread_id: string, options: CallOptions = {}) => get<Thread>(threadPath(thread_id))({}, options),
      open: (thread: NewThread, options: WriteOptions = {}) => post<Thread>('/threads', thread, options),
      change: (thread_id: string, change: ThreadChange, { version, ...options }: VersionedOptions = {}) =>
        send<Thread>(
          { method: 'PATCH', path: threadPath(thread_id), body: change, headers: ifMatch(version) },
          options,
        ),
      posts: (thread_id: string, query: PageRequest & { order?: 'newest' } = {}, options: CallOptions = {}) =>
        get<PostPage>(`${threadPath(thread_id)}/posts`)(query, options),
      addPost: (thread_id: string, content: NewPost, options: WriteOptions = {}) =>
        post<PostAndThread>(`${threadPath(thread_id)}/posts`, content, options),
      /** Marks all of a thread as seen by a viewer, such as `human:ana`. */
      seen: (thread_id: string, viewer: string, options: CallOptions = {}) =>
        send<Thread>(
          { method: 'PUT', path: `${threadPath(thread_id)}/reads/${encodeURIComponent(viewer)}`, body: {} },
          options,
        ),
    },

    log: {
      list: get<EventPage>('/events') as (query?: EventQuery, options?: CallOptions) => Promise<EventPage>,
      /** The newest event; undefined in an empty log. */
      latest: async (options: CallOptions = {}): Promise<Event | undefined> =>
        (await get<EventPage>('/events')({ order: 'newest', limit: 1 }, options)).items[0],
    },

    outbox: {
      list: get<MessagePage>('/outbox') as (query?: MessageQuery, options?: CallOptions) => Promise<MessagePage>,
      get: (message_id: string, options: CallOptions = {}) => get<MessageDetail>(messagePath(message_id))({}, options),
      stats: (options: CallOptions = {}) => get<OutboxStats>('/outbox/stats')({}, options),
      replay: (message_id: string, consumer: string | undefined, options: WriteOptions = {}) =>
        post<MessageDetail>(`${messagePath(message_id)}/replay`, undefined, options, { query: { consumer } }),
      discard: (message_id: string, consumer: string | undefined, options: WriteOptions = {}) =>
        post<MessageDetail>(`${messagePath(message_id)}/discard`, undefined, options, { query: { consumer } }),
    },

    bus: {
      subscriptions: get<SubscriptionPage>('/bus/subscriptions') as (
        query?: PageRequest,
        options?: CallOptions,
      ) => Promise<SubscriptionPage>,
      topics: (options: CallOptions = {}) => get<Topics>('/bus/topics')({}, options),
      pause: (topic: string, options: WriteOptions = {}) => post(`${topicPath(topic)}/pause`, undefined, options),
      resume: (topic: string, options: WriteOptions = {}) => post(`${topicPath(topic)}/resume`, undefined, options),
    },

    tokens: {
      list: get<TokenPage>('/tokens') as (query?: PageRequest, options?: CallOptions) => Promise<TokenPage>,
      /** Not repeated after a lost answer, since its secret would be lost with it. */
      create: (token: NewToken, options: CallOptions = {}) =>
        send<IssuedToken>({ method: 'POST', path: '/tokens', body: token, once: true }, options),
      /** Not repeated, as `create`. */
      rotate: (token_id: string, rotation: TokenRotation = {}, options: CallOptions = {}) =>
        send<IssuedToken>(
          { method: 'POST', path: `/tokens/${encodeURIComponent(token_id)}/rotate`, body: rotation, once: true },
          options,
        ),
      revoke: (token_id: string, options: WriteOptions = {}) =>
        post<Token>(`/tokens/${encodeURIComponent(token_id)}/revoke`, undefined, options),
    },

    /** Who did what through which token, newest first. */
    audit: get<AuditPage>('/audit') as (query?: AuditQuery, options?: CallOptions) => Promise<AuditPage>,

    webhooks: {
      list: get<WebhookPage>('/webhooks') as (query?: PageRequest, options?: CallOptions) => Promise<WebhookPage>,
      /** The key with which a browser subscribes to push messages of the service. */
      pushKey: (options: CallOptions = {}) => get<PushKey>('/push-key')({}, options),
      get: (name: string, options: CallOptions = {}) => get<Webhook>(webhookPath(name))({}, options),
      /** Not repeated after a lost answer, since its secret would be lost with it. */
      create: (webhook: NewWebhook, options: CallOptions = {}) =>
        send<WebhookWithSecret>({ method: 'POST', path: '/webhooks', body: webhook, once: true }, options),
      change: (name: string, change: WebhookChange, { version, ...options }: VersionedOptions = {}) =>
        send<Webhook>({ method: 'PATCH', path: webhookPath(name), body: change, headers: ifMatch(version) }, options),
      /** Discards what waits for it, too. */
      remove: (name: string, options: CallOptions = {}) =>
        send<{ name: string; deleted: true }>({ method: 'DELETE', path: webhookPath(name) }, options),
      /** Not repeated, as `create`. */
      rotateSecret: (name: string, rotation: SecretRotation = {}, options: CallOptions = {}) =>
        send<WebhookWithSecret>(
          { method: 'POST', path: `${webhookPath(name)}/rotate-secret`, body: rotation, once: true },
          options,
        ),
      /** Sends a test. */
      ping: (name: string, options: CallOptions = {}) =>
        send<PingResult>({ method: 'POST', path: `${webhookPath(name)}/ping`, once: true, silence: PING }, options),
      deliveries: (name: string, query: WebhookDeliveryQuery = {}, options: CallOptions = {}) =>
        get<WebhookDeliveryPage>(`${webhookPath(name)}/deliveries`)(query, options),
      /** Sends a delivery, or the events of a time, again. */
      replay: (name: string, range: WebhookReplay, options: WriteOptions = {}) =>
        post<WebhookReplayed>(`${webhookPath(name)}/replay`, range, options),
    },

    /** Logins of browsers, by a cookie. */
    logins: {
      /** A link that logs a browser in as the caller, once and within a minute; `path` follows the address. */
      link: (options: CallOptions = {}) =>
        send<LoginLink>({ method: 'POST', path: '/page/links', once: true }, options),
      redeem: (code: string, options: CallOptions = {}) =>
        send<Me>({ method: 'POST', path: '/page/login', body: { code }, once: true }, options),
      /** By the token of this client. */
      open: (options: CallOptions = {}) => send<Me>({ method: 'POST', path: '/page/session', once: true }, options),
      close: (options: CallOptions = {}) => send<LoggedOut>({ method: 'DELETE', path: '/page/session' }, options),
    },

    stats: (options: CallOptions = {}) => get<Stats>('/stats')({}, options),
  };
}

/** The header that refuses an act on a resource that has changed. */
export function ifMatch(version: number | undefined): Record<string, string> {
  return version === undefined ? {} : { 'if-match': `"${version}"` };
}

/** The endpoint has 15 seconds for its answer. Seconds. */
const PING = 30;

export const runPath = (run_id: string) => `/runs/${encodeURIComponent(run_id)}`;
const agentPath = ({ run_id, agent_name }: AgentName) =>
  `/control-threads/${encodeURIComponent(run_id)}/${encodeURIComponent(agent_name)}`;
const threadPath = (thread_id: string) => `/threads/${encodeURIComponent(thread_id)}`;
const messagePath = (message_id: string) => `/outbox/${encodeURIComponent(message_id)}`;
const topicPath = (topic: string) => `/bus/topics/${encodeURIComponent(topic)}`;
const webhookPath = (name: string) => `/webhooks/${encodeURIComponent(name)}`;

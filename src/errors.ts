/**
 * Every error code of the API, with its HTTP status and title.
 * Services throw `new Refusal(code, detail)`; http/problems.ts turns it into a problem document (RFC 9457).
 * docs/errors.md prints this table; a test compares the two.
 */
export const problemTable = {
  MALFORMED_URL: { status: 400, title: 'The URL is malformed' },
  MALFORMED_REQUEST: { status: 400, title: 'The HTTP request is malformed' },
  MALFORMED_JSON: { status: 400, title: 'The body is not valid JSON' },
  NUMBER_NOT_EXACT: { status: 400, title: 'A number would change when stored' },
  VALIDATION_FAILED: { status: 400, title: 'The request does not fit its schema' },
  INVALID_CURSOR: { status: 400, title: 'The cursor does not belong to this list' },
  UNAUTHORIZED: { status: 401, title: 'The request needs a valid token' },
  FORBIDDEN: { status: 403, title: 'The token does not allow this' },
  ACTOR_MISMATCH: { status: 403, title: 'The token belongs to another actor' },
  SELF_VALIDATION: { status: 403, title: 'Agents may not validate their own work' },
  HOST_NOT_ALLOWED: { status: 403, title: 'The host name is not allowed' },
  ORIGIN_NOT_ALLOWED: { status: 403, title: 'The origin is not allowed' },
  NOT_FOUND: { status: 404, title: 'No such path' },
  SIGNAL_NOT_FOUND: { status: 404, title: 'No such control signal' },
  QUESTION_NOT_FOUND: { status: 404, title: 'No such question' },
  CONTROL_THREAD_NOT_FOUND: { status: 404, title: 'The agent has sent no signal in this run' },
  THREAD_NOT_FOUND: { status: 404, title: 'No such thread' },
  RUN_NOT_FOUND: { status: 404, title: 'No such run' },
  MESSAGE_NOT_FOUND: { status: 404, title: 'No such message' },
  SUBSCRIPTION_NOT_FOUND: { status: 404, title: 'No such subscription' },
  WEBHOOK_NOT_FOUND: { status: 404, title: 'No such webhook' },
  DELIVERY_NOT_FOUND: { status: 404, title: 'No such delivery' },
  TOKEN_NOT_FOUND: { status: 404, title: 'No such token' },
  METHOD_NOT_ALLOWED: { status: 405, title: 'The path does not take this method' },
  REQUEST_TIMEOUT: { status: 408, title: 'The request took too long to arrive' },
  THREAD_CLOSED: { status: 409, title: 'The thread is closed' },
  THREAD_EXISTS: { status: 409, title: 'The thread exists with different content' },
  TRANSITION_NOT_ALLOWED: { status: 409, title: 'The thread cannot move to this state' },
  RUN_CLOSED: { status: 409, title: 'The run is closed' },
  RUN_OPEN: { status: 409, title: 'The run is not closed' },
  RUN_CHANGED: { status: 409, title: 'The run has later events' },
  GATE_BLOCKED: { status: 409, title: 'The run cannot be closed yet' },
  STALE_ATTEMPT: { status: 409, title: 'The signal does not name the current attempt' },
  NO_OPEN_QUESTION: { status: 409, title: 'The agent has no open question' },
  AMBIGUOUS_ANSWER: { status: 409, title: 'The agent has several open questions' },
  ALREADY_ANSWERED: { status: 409, title: 'The question already has a different answer' },
  TOO_MANY_OPEN_QUESTIONS: { status: 409, title: 'The agent has too many open questions' },
  QUESTION_OPEN: { status: 409, title: 'The question has no answer yet' },
  QUESTION_CLOSED: { status: 409, title: 'The question is closed' },
  MESSAGE_EXISTS: { status: 409, title: 'The message exists with different content' },
  MESSAGE_STATUS_CONFLICT: { status: 409, title: 'The message status does not allow this' },
  TOKEN_ENDED: { status: 409, title: 'The token is revoked or has expired' },
  WEBHOOK_EXISTS: { status: 409, title: 'A webhook has this name' },
  WEBHOOK_DISABLED: { status: 409, title: 'The webhook is disabled' },
  TOO_MANY_WEBHOOKS: { status: 409, title: 'There are too many webhooks' },
  SUBSCRIPTION_SERVED: { status: 409, title: 'A process serves the subscription' },
  RUN_ERASED: { status: 410, title: 'The run was erased' },
  PRECONDITION_FAILED: { status: 412, title: 'The resource has changed' },
  PAYLOAD_TOO_LARGE: { status: 413, title: 'The body is too large' },
  URI_TOO_LONG: { status: 414, title: 'The URL is too long' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, title: 'The body must be application/json' },
  UNSUPPORTED_SCHEMA_VERSION: { status: 422, title: 'The schema version is not supported' },
  IDEMPOTENCY_KEY_REUSED: { status: 422, title: 'The idempotency key belongs to another request' },
  QUESTION_MISMATCH: { status: 422, title: 'The question belongs to another agent' },
  INVALID_SELECTION: { status: 422, title: 'The selected options do not fit the question' },
  RESERVED_THREAD_ID: { status: 422, title: 'The thread id is reserved' },
  RESERVED_TOPIC: { status: 422, title: 'The topic is reserved' },
  RATE_LIMITED: { status: 429, title: 'Too many requests' },
  TOO_MANY_STREAMS: { status: 429, title: 'The caller has too many open streams' },
  TOO_MANY_WAITS: { status: 429, title: 'The caller has too many waiting requests' },
  HEADERS_TOO_LARGE: { status: 431, title: 'The request headers are too large' },
  INTERNAL_ERROR: { status: 500, title: 'The service failed' },
  SERVICE_UNAVAILABLE: { status: 503, title: 'The service cannot answer now' },
} as const;

export type ProblemCode = keyof typeof problemTable;

/** One fault of a request and its place. `pointer` is a JSON Pointer (RFC 6901). */
export interface ProblemItem {
  in: 'body' | 'query' | 'params' | 'headers';
  pointer: string;
  code: string;
  detail: string;
}

/**
 * An expected error, answered as a problem document. `detail` is one sentence for the caller. `extensions` are further
 * members of the document, such as the ids of the open questions.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: ProblemCode;
  readonly extensions: Record<string, unknown>;

  constructor(code: ProblemCode, detail: string, extensions: Record<string, unknown> = {}) {
    super(detail);
    this.code = code;
    this.extensions = extensions;
  }
}

/** The process or command cannot start. `message` is one sentence for the operator, logged without a stack. */
export class StartError extends Error {
  override readonly name = 'StartError';
}

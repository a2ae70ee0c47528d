import { type Static, type TProperties, type TSchema, Type } from 'typebox';
import { Token } from '../access/schemas.ts';
import { Actor } from '../actor.ts';
import { componentName, Id, Name, Nullable, Ref, Timestamp } from '../http/schemas.ts';
import { priorities } from '../priority.ts';
import { Event } from './schemas.ts';

/*
 * Every event type with the schema of its payload. Events are never rewritten, and `event_version` stays 1. A field
 * that is added later is optional, since stored events of older versions lack it.
 */

const builder: Actor = { type: 'agent', name: 'builder' };
const ana: Actor = { type: 'operator', name: 'ana' };
const service: Actor = { type: 'system', name: 'forumbus' };

const QUESTION_ID = 'q_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a';
const SIGNAL_ID = 'sig_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a';

/** The envelope of all examples. */
const envelope = {
  event_id: 'evt_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a',
  sequence: 2,
  event_version: 1,
  occurred_at: '2026-11-22T09:30:00.000Z',
  thread_id: 'fctrl-run-7-builder-e0a6c3f1b2d49587',
  run_id: 'run-7',
  ticket: null,
  agent_name: 'builder',
  correlation_id: 'sig_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a',
  causation_id: null,
  token_id: '5f0c1d2e3b4a5968',
};

const Erased = Type.Optional(
  Type.Literal(true, { description: 'The run was erased: texts are empty, and optional ones are missing.' }),
);
const Truncated = Type.Optional(Type.Literal(true, { description: 'The text is longer; this is its head.' }));
const Priority = Type.Enum([...priorities]);
// The states of `threads/thread.ts`, which stands above this room.
const ThreadState = Type.Enum(['new', 'triaged', 'waiting_operator', 'waiting_human', 'answered', 'closed']);
const Option = Type.Object({ label: Name, description: Type.Optional(Type.String()) });
const OptionHead = Type.Object({ ...Option.properties, description_truncated: Truncated });
/** Where a question was asked, such as the session of a coding agent. */
const Source = Type.Object({
  host: Type.String(),
  session_id: Type.Optional(Type.String()),
  prompt_id: Type.Optional(Type.String()),
  tool_use_id: Type.Optional(Type.String()),
  cwd: Type.Optional(Type.String()),
  url: Type.Optional(Type.String()),
});
const source = { host: 'claude', session_id: '6f1c2a', cwd: '/home/ana/shop' };
const Evidence = Type.Object({ kind: Name, ref: Type.String(), note: Type.Optional(Type.String()) });
const options = [{ label: 'eu-west-1', description: 'Where staging runs.' }, { label: 'us-east-1' }];

/** What all control signals have in their payload. */
const signal = { signal_id: Id, schema_version: Type.Integer(), attempt: Type.Integer(), erased: Erased };
const evidence = Type.Optional(Type.Array(Evidence));

const ControlSignal = Type.Union(
  [
    Type.Object({
      ...signal,
      control_type: Type.Literal('guidance_request'),
      question_id: Id,
      question: Type.String(),
      context: Type.Optional(Type.String()),
      options: Type.Optional(Type.Array(Option)),
      multi_select: Type.Optional(Type.Boolean()),
      priority: Type.Optional(Priority),
      expires_in_seconds: Type.Optional(Type.Integer()),
      remind_after_seconds: Type.Optional(Type.Integer()),
      default_answer: Type.Optional(Type.String()),
      default_selected: Type.Optional(Type.Array(Name)),
      supersedes: Type.Optional(Id),
      approvals: Type.Optional(Type.Integer()),
      source: Type.Optional(Source),
    }),
    Type.Object({
      ...signal,
      control_type: Type.Literal('guidance_answer'),
      question_id: Id,
      answer: Type.String(),
      in_reply_to: Type.Optional(Id),
      selected: Type.Optional(Type.Array(Name)),
      answered_in: Type.Optional(Type.String()),
    }),
    Type.Object({
      ...signal,
      control_type: Type.Literal('completion'),
      summary: Type.Optional(Type.String()),
      evidence,
    }),
    Type.Object({
      ...signal,
      control_type: Type.Literal('validation'),
      status: Type.Enum(['passed', 'failed']),
      done_criteria: Type.String(),
      evidence,
    }),
  ],
  {
    examples: [{ signal_id: SIGNAL_ID, schema_version: 1, control_type: 'completion', attempt: 1, summary: 'Done.' }],
  },
);

/** Added later: events of older versions have the `question_id` and the outcome only. */
const RunTitle = Type.Optional(
  Type.Unsafe<string | null>({ ...Nullable(Type.String()), description: 'Of the brief.' }),
);

const ApprovalsRequired = Type.Integer({ minimum: 1, description: 'How many people must give the same answer.' });

/** The question of an event that ends it. All but the id were added later, as `run_title` was. */
const ended = {
  question_id: Id,
  question: Type.Optional(Type.String()),
  question_truncated: Truncated,
  options: Type.Optional(Type.Array(OptionHead)),
  source: Type.Optional(Nullable(Source)),
  run_title: RunTitle,
};
const endedExample = {
  question_id: QUESTION_ID,
  question: 'Which region?',
  options,
  source,
  run_title: 'Move to Europe',
};

const { token_id, role, actor, runs, agents, validates, expires_at } = Token.properties;
const token = { token_id, role, actor, runs, agents, validates, expires_at };
const tokenExample = {
  ...{ token_id: '5f0c1d2e3b4a5968', role: 'agent' as const, actor: null, runs: 'run-7', agents: 'builder' },
  ...{ validates: null, expires_at: '2026-12-23T08:00:00.000Z' },
};

const definitions = {
  'forum.thread.opened': define(
    'A thread was opened.',
    builder,
    { kind: Type.Enum(['control', 'discussion']), title: Type.String(), priority: Priority },
    { kind: 'control', title: 'Control: builder in run-7', priority: 'normal' },
  ),
  'forum.post.added': define(
    'A post was added to a thread.',
    ana,
    { body: Type.String() },
    { body: 'Staging is in Europe.' },
  ),
  'forum.control.signal': {
    description: 'An agent or a person sent a control signal.',
    by: builder,
    payload: ControlSignal,
  },
  'forum.assigned': define(
    'A thread was assigned, or its assignee was removed.',
    ana,
    { from: Nullable(Name), to: Nullable(Name) },
    { from: null, to: 'ana' },
  ),
  'forum.state.changed': define(
    'A thread changed its state.',
    builder,
    { from: ThreadState, to: ThreadState },
    { from: 'new', to: 'waiting_operator' },
  ),
  'forum.priority.changed': define(
    'A thread changed its priority.',
    ana,
    { from: Priority, to: Priority },
    { from: 'normal', to: 'urgent' },
  ),
  'forum.thread.closed': define('A thread was closed.', ana, {}, {}),
  'forum.question.opened': define(
    'An agent asked a question.',
    builder,
    {
      question_id: Id,
      // All others were added later.
      question: Type.Optional(Type.String()),
      context: Type.Optional(Nullable(Type.String())),
      options: Type.Optional(Type.Array(Option)),
      multi_select: Type.Optional(Type.Boolean()),
      priority: Type.Optional(Priority),
      expires_at: Type.Optional(Nullable(Timestamp)),
      default_answer: Type.Optional(Nullable(Type.String())),
      default_selected: Type.Optional(Type.Array(Name)),
      supersedes: Type.Optional(Nullable(Id)),
      source: Type.Optional(Nullable(Source)),
      approvals_required: Type.Optional(ApprovalsRequired),
      run_title: RunTitle,
    },
    {
      ...{ question_id: QUESTION_ID, question: 'Which region?', context: null, options, multi_select: false },
      ...{ priority: 'normal', expires_at: null, default_answer: null, default_selected: [], supersedes: null },
      ...{ source, approvals_required: 1 },
      run_title: 'Move to Europe',
    },
  ),
  'forum.question.approved': define(
    'A person answered a question that two people must answer; another one is missing.',
    ana,
    {
      ...ended,
      answer: Type.String(),
      selected: Type.Optional(Type.Array(Name)),
      answered_in: Type.String(),
      approvals_required: ApprovalsRequired,
      missing: Type.Integer({
        minimum: 1,
        description: 'How many people must still give an answer that another one gave.',
      }),
    },
    {
      ...{ ...endedExample, answer: 'Europe.', selected: ['eu-west-1'], answered_in: 'cli' },
      ...{ approvals_required: 2, missing: 1 },
    },
  ),
  'forum.question.answered': define(
    'A question was answered.',
    ana,
    // All others were added later.
    {
      ...ended,
      answer: Type.Optional(Type.String()),
      selected: Type.Optional(Type.Array(Name)),
      answered_in: Type.Optional(Type.String({ description: 'Where the answer was given, such as `cli`.' })),
      approved_by: Type.Optional(
        Type.Array(Ref(Actor), { description: 'Both people, if two had to give the same answer.' }),
      ),
    },
    { ...endedExample, answer: 'Europe.', selected: ['eu-west-1'], answered_in: 'cli' },
  ),
  'forum.question.cancelled': define('A question was cancelled.', ana, ended, endedExample),
  'forum.question.superseded': define(
    'An agent replaced its question by another one.',
    builder,
    { ...ended, superseded_by: Id },
    { ...endedExample, superseded_by: 'q_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6b' },
  ),
  'forum.question.expired': define(
    'A question expired without an answer.',
    service,
    {
      ...ended,
      default_applied: Type.Boolean({ description: 'The default stands in for an answer.' }),
      // The default was added later.
      default_answer: Type.Optional(Nullable(Type.String())),
      default_answer_truncated: Truncated,
      default_selected: Type.Optional(Type.Array(Name)),
    },
    { ...endedExample, default_applied: true, default_answer: 'Europe.', default_selected: ['eu-west-1'] },
  ),
  'forum.question.reminded': define(
    'A question has been open for long.',
    service,
    { ...ended, priority: Priority, asked_at: Timestamp },
    { ...endedExample, priority: 'high', asked_at: '2026-11-22T09:00:00.000Z' },
  ),
  'forum.question.acknowledged': define(
    'An agent received the end of its question.',
    builder,
    { question_id: Id },
    { question_id: QUESTION_ID },
  ),
  'forum.attempt.started': define(
    'An agent started another attempt.',
    ana,
    { attempt: Type.Integer({ minimum: 2 }) },
    { attempt: 2 },
  ),
  'forum.agent.withdrawn': define('An agent was withdrawn from its run.', ana, {}, {}),
  'forum.run.briefed': define(
    'A run got a brief, or another one.',
    ana,
    {
      ticket: Nullable(Name),
      title: Nullable(Type.String()),
      done_criteria: Nullable(Type.String()),
      agents: Type.Array(Name),
    },
    { ticket: 'TCK-1', title: 'Move to Europe', done_criteria: 'Tests are green.', agents: ['builder'] },
  ),
  'forum.run.closed': define('A run was closed.', ana, {}, {}),
  'forum.run.erased': define(
    'The texts of a run were erased.',
    ana,
    { reason: Type.Enum(['request', 'retention'], { description: 'An admin asked for it, or its time was over.' }) },
    { reason: 'request' },
  ),
  'forum.webhook.disabled': define(
    'The service disabled a webhook.',
    service,
    { name: Type.String(), reason: Type.Enum(['gone', 'failing', 'secret_expired']) },
    { name: 'chat', reason: 'failing' },
  ),
  'forum.webhook.recovered': define(
    'A webhook whose circuit was open works again.',
    service,
    { name: Type.String() },
    { name: 'chat' },
  ),
  'forum.token.created': define('A token was created.', ana, token, tokenExample),
  'forum.token.rotated': define(
    'A token got another secret.',
    ana,
    { ...token, overlap_ends_at: Nullable(Timestamp) },
    { ...tokenExample, overlap_ends_at: '2026-11-22T10:30:00.000Z' },
  ),
  'forum.token.revoked': define('A token was revoked.', ana, token, tokenExample),
};

export type EventType = keyof typeof definitions;

/** All event types. */
export const eventTypes = Object.keys(definitions) as EventType[];

/** The events by type, each with the payload of its type. */
export type EventByType = {
  [T in EventType]: Omit<Event, 'event_type' | 'payload'> & {
    event_type: T;
    payload: Static<(typeof definitions)[T]['payload']>;
  };
};

/**
 * One schema per event type, named after it: `QuestionOpenedEvent` for `forum.question.opened`. They are for readers of
 * the document; the service serializes all events with `Event`, since unions are slow to serialize.
 */
export const eventSchemas = eventTypes.map(type => {
  const { description, payload } = definitions[type];
  const properties = { ...Event.properties, event_type: Type.Literal(type), payload };
  return Type.Object(properties, { $id: schemaName(type), description, examples: [sampleEvent(type)] });
});

/** Any event, for the document. */
export const AnyEvent: TSchema = Type.Unsafe({
  $id: componentName(Event),
  type: 'object',
  description: 'An entry of the append-only log.',
  discriminator: { propertyName: 'event_type' },
  oneOf: eventTypes.map(type => ({ $ref: `${schemaName(type)}#` })),
  'x-tags': Object.fromEntries(eventTypes.map(type => [type, schemaName(type)])),
  examples: [sampleEvent('forum.question.opened')],
});

/** The example of an event type: an event as the log has it. */
export function sampleEvent<T extends EventType>(type: T): EventByType[T] {
  const { by: actor, payload } = definitions[type];
  const [example] = (payload as { examples?: unknown[] }).examples ?? [];
  const thread = /^forum\.(token|webhook)\./.test(type)
    ? { thread_id: null, run_id: null, agent_name: null }
    : type.startsWith('forum.run.')
      ? { thread_id: null, agent_name: null }
      : {};
  return { ...envelope, ...thread, event_type: type, actor, payload: example } as EventByType[T];
}

function schemaName(type: EventType): string {
  const words = type.split('.').slice(1);
  return `${words.map(word => word.charAt(0).toUpperCase() + word.slice(1)).join('')}Event`;
}

/** @param by the actor of the example */
function define<P extends TProperties>(
  description: string,
  by: Actor,
  properties: P,
  example: Static<ReturnType<typeof Type.Object<P>>>,
) {
  return { description, by, payload: Type.Object({ ...properties, erased: Erased }, { examples: [example] }) };
}

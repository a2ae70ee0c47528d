import { type Static, Type } from 'typebox';
import { Actor } from '../actor.ts';
import { Truncated } from '../control/schemas.ts';
import {
  Erased,
  Id,
  Instant,
  LENGTHS,
  Name,
  Nullable,
  PageOf,
  pageQuery,
  Ref,
  Strict,
  Text,
  Timestamp,
  Version,
  versionQuery,
  waitQuery,
} from '../http/schemas.ts';
import { priorities } from '../priority.ts';

export const questionStates = ['open', 'answered', 'expired', 'cancelled', 'superseded'] as const;
export type QuestionState = (typeof questionStates)[number];

export const Option = Strict(
  { label: Name, description: Type.Optional(Text(LENGTHS.description)) },
  { $id: 'Option', examples: [{ label: 'eu-west-1', description: 'Where staging runs.' }] },
);

const Place = Text(500);

export const Source = Strict(
  {
    host: Type.String({ ...Place, description: 'The program that runs the agent, such as `claude`.' }),
    session_id: Type.Optional(Type.String({ ...Place, description: "The host's session that the agent works in." })),
    prompt_id: Type.Optional(Place),
    tool_use_id: Type.Optional(Place),
    cwd: Type.Optional(Type.String({ ...Place, description: 'The folder that the agent works in.' })),
    url: Type.Optional(Type.String({ ...Place, description: 'Where a person can see the session.' })),
  },
  {
    $id: 'Source',
    description: 'Where a question was asked.',
    examples: [{ host: 'claude', session_id: '6f1c2a', cwd: '/home/ana/shop' }],
  },
);
export type Source = Static<typeof Source>;

/** Where an answer may have been given, as its sender says. */
const answerPlaces = ['api', 'cli', 'mcp', 'page', 'link', 'terminal'] as const;
/** The channels whose buttons answer. No sender may name one: the service heard the press itself. */
export type AnswerChannel = 'ntfy' | 'slack' | 'telegram';
export type AnswerPlace = (typeof answerPlaces)[number] | AnswerChannel;
/** Those that prove nobody: anyone who has the link, or sees the button, may use it. */
export const unprovenPlaces: readonly (AnswerPlace | undefined)[] = ['link', 'ntfy', 'slack', 'telegram'];

/** Where a person gave an answer, as its sender says. */
export const AnsweredIn = Type.Enum([...answerPlaces], {
  description:
    'Where the answer was given; `api` if left out. An agent may send `terminal` only: see the documentation.',
});

const answeredIn = { description: 'Where the answer was given, such as `cli`.' };

export const Approval = Type.Object(
  {
    answered_by: Ref(Actor),
    answer: Type.String(),
    selected: Type.Array(Type.String()),
    answered_in: Type.String(answeredIn),
    approved_at: Timestamp,
  },
  {
    $id: 'Approval',
    description: 'What a person has answered to a question that two people must answer.',
    examples: [
      {
        answered_by: { type: 'operator', name: 'ana' },
        answer: 'Yes',
        selected: ['Yes'],
        answered_in: 'page',
        approved_at: '2026-11-22T09:31:00.000Z',
      },
    ],
  },
);
export type Approval = Static<typeof Approval>;

export const Question = Type.Object(
  {
    question_id: Id,
    run_id: Name,
    agent_name: Name,
    thread_id: Id,
    state: Type.Enum([...questionStates]),
    version: Version,
    question: Type.String(),
    context: Nullable(Type.String()),
    options: Type.Array(Ref(Option)),
    multi_select: Type.Boolean(),
    priority: Type.Enum([...priorities]),
    asked_at: Timestamp,
    expires_at: Nullable(Timestamp),
    default_answer: Nullable(Type.String()),
    default_selected: Type.Array(Name, { description: 'The labels that the default selects.' }),
    default_applied: Type.Boolean({
      description: 'True if the question expired and its default replaces an answer.',
    }),
    answer: Nullable(Type.String()),
    selected: Type.Array(Type.String()),
    answered_by: Nullable(Ref(Actor)),
    answered_at: Nullable(Timestamp),
    answered_in: Nullable(Type.String(answeredIn)),
    approvals_required: Type.Integer({
      minimum: 1,
      maximum: 2,
      description: 'How many people must give the same answer; the last of them is in `answered_by`.',
    }),
    approvals: Type.Array(Ref(Approval), {
      description:
        'What each person has answered so far, oldest first, if `approvals_required` is 2; otherwise empty. At most 10.',
    }),
    acknowledged_at: Nullable(Timestamp),
    supersedes: Nullable(Id),
    source: Nullable(Ref(Source)),
    erased: Erased,
  },
  {
    $id: 'Question',
    description: 'A guidance request and its outcome.',
    examples: [
      {
        question_id: 'q_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a',
        run_id: 'run-7',
        agent_name: 'builder',
        thread_id: 'fctrl-run-7-builder-e0a6c3f1b2d49587',
        state: 'answered',
        version: 2,
        question: 'Which region?',
        context: null,
        options: [{ label: 'eu-west-1' }, { label: 'us-east-1' }],
        multi_select: false,
        priority: 'normal',
        asked_at: '2026-11-22T09:30:00.000Z',
        expires_at: null,
        default_answer: null,
        default_selected: [],
        default_applied: false,
        answer: 'Europe.',
        selected: ['eu-west-1'],
        answered_by: { type: 'operator', name: 'ana' },
        answered_at: '2026-11-22T09:31:00.000Z',
        answered_in: 'cli',
        approvals_required: 1,
        approvals: [],
        acknowledged_at: null,
        supersedes: null,
        source: null,
      },
    ],
  },
);
export type Question = Static<typeof Question>;

const { description: _option, ...option } = Option.properties;

export const QuestionHead = Type.Object(
  {
    ...Question.properties,
    options: Type.Array(
      Type.Object({ ...option, description: Type.Optional(Type.String()), description_truncated: Truncated }),
    ),
    question_truncated: Truncated,
    context_truncated: Truncated,
    default_answer_truncated: Truncated,
    approvals: Type.Array(Type.Object({ ...Approval.properties, answer_truncated: Truncated })),
  },
  {
    $id: 'QuestionHead',
    description: 'An open question, its texts cut to 500 characters.',
    examples: (Question as { examples?: unknown[] }).examples ?? [],
  },
);
export type QuestionHead = Static<typeof QuestionHead>;

export const QuestionPage = PageOf(Question);

export const QuestionParams = Strict({ question_id: Id });
export const QuestionWaitQuery = Strict(versionQuery);

export const QuestionQuery = Strict({
  state: Type.Optional(Type.Enum([...questionStates])),
  run_id: Type.Optional(Name),
  agent_name: Type.Optional(Name),
  ticket: Type.Optional(Name),
  priority: Type.Optional(Type.Enum([...priorities])),
  unacknowledged: Type.Optional(
    Type.Literal(true, { description: 'Only questions that ended and that their agents have not acknowledged.' }),
  ),
  asked_after: Type.Optional(
    Type.Unsafe<string>({
      ...Instant,
      maxLength: 40,
      description:
        'Only questions asked after this time. Of those asked before a clock was set back by more than a minute, some may be missing.',
    }),
  ),
  q: Type.Optional(
    Type.String({
      ...Text(LENGTHS.title),
      description: 'Only questions that contain all these words in text, options or context; newest first.',
    }),
  ),
  order: Type.Optional(
    Type.Enum(['urgent', 'newest'], { description: '`urgent` if left out: most urgent first, then oldest first.' }),
  ),
  ...pageQuery,
});
export type QuestionQuery = Static<typeof QuestionQuery>;

/** The fields of an answer, by whatever way it comes. */
export const answerFields = {
  answer: Type.Optional(
    Type.String({
      ...Text(LENGTHS.text),
      description: 'Required without `selected`; left out, it is the selected labels, joined by ", ".',
    }),
  ),
  selected: Type.Optional(Type.Array(Name, { maxItems: 10 })),
  answered_in: Type.Optional(AnsweredIn),
};

export const QuestionListWaitQuery = Strict({
  ...QuestionQuery.properties,
  wait: Type.Optional(
    Type.Integer({ ...waitQuery.wait, description: 'Seconds to wait for a question, if the page has none.' }),
  ),
});

export const Answer = Strict(
  {
    ...answerFields,
    actor: Type.Optional(Ref(Actor)),
  },
  {
    $id: 'Answer',
    examples: [{ answer: 'Europe.', selected: ['eu-west-1'], actor: { type: 'operator', name: 'ana' } }],
  },
);
export type Answer = Static<typeof Answer>;

export const Acknowledgement = Strict(
  { actor: Type.Optional(Ref(Actor)) },
  { $id: 'Acknowledgement', examples: [{ actor: { type: 'agent', name: 'builder' } }] },
);

export const Cancellation = Strict(
  { actor: Type.Optional(Ref(Actor)) },
  { $id: 'Cancellation', examples: [{ actor: { type: 'operator', name: 'ana' } }] },
);
export type Cancellation = Static<typeof Cancellation>;

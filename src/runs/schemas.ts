import { type Static, Type } from 'typebox';
import { Actor } from '../actor.ts';
import { ControlState } from '../control/schemas.ts';
import {
  Id,
  LENGTHS,
  Name,
  Nullable,
  PageOf,
  pageQuery,
  Ref,
  Strict,
  Text,
  Timestamp,
  Title,
  Version,
  versionQuery,
} from '../http/schemas.ts';
import { QuestionHead } from '../questions/schemas.ts';

export const runStatuses = ['closed', 'awaiting_guidance', 'completed', 'running'] as const;

export const gateCodes = [
  'NO_AGENTS',
  'AGENT_NOT_SEEN',
  'OPEN_QUESTION',
  'MISSING_COMPLETION',
  'MISSING_VALIDATION',
  'VALIDATION_FAILED',
  'DONE_CRITERIA_MISMATCH',
] as const;

export const Brief = Type.Object(
  {
    ticket: Nullable(Name),
    title: Nullable(Type.String()),
    done_criteria: Nullable(Type.String()),
    agents: Type.Array(Name),
  },
  { $id: 'Brief', description: 'The plan for a run: ticket, title, criteria and agents.' },
);

export const NewBrief = Strict(
  {
    ticket: Type.Optional(Name),
    title: Type.Optional(Title),
    done_criteria: Type.Optional(
      Type.String({
        ...Text(LENGTHS.text),
        description: 'Every validation must name these criteria. Surrounding white space is ignored.',
      }),
    ),
    agents: Type.Optional(Type.Array(Name, { maxItems: 1000, description: 'The agents that must take part.' })),
    actor: Type.Optional(Ref(Actor)),
  },
  {
    $id: 'NewBrief',
    examples: [{ ticket: 'TCK-1', title: 'Move to Europe', done_criteria: 'Tests are green.', agents: ['builder'] }],
  },
);
export type NewBrief = Static<typeof NewBrief>;

export const GateReason = Type.Object(
  {
    code: Type.Enum([...gateCodes]),
    agent_name: Type.Optional(Name),
    question_id: Type.Optional(Id),
    detail: Type.String(),
  },
  {
    $id: 'GateReason',
    description: 'One reason that blocks the close of a run.',
    examples: [{ code: 'MISSING_COMPLETION', agent_name: 'builder', detail: 'builder has not reported completion.' }],
  },
);
export type GateReason = Static<typeof GateReason>;

export const Run = Type.Object(
  {
    run_id: Name,
    status: Type.Enum([...runStatuses]),
    ticket: Nullable(Name),
    brief: Nullable(Ref(Brief)),
    agents: Type.Array(Ref(ControlState), {
      description:
        'The agents that have sent a signal, by name, then those that the brief names and that have sent none; at most 100.',
    }),
    agents_count: Type.Integer({ minimum: 0, description: 'The number of all agents that have sent a signal.' }),
    absent_count: Type.Integer({
      minimum: 0,
      description: 'The number of agents that the brief names and that have sent no signal.',
    }),
    agents_url: Type.String({ description: 'The list of all agents that have sent a signal.' }),
    open_questions: Type.Array(Ref(QuestionHead), {
      description: 'Most urgent first, then oldest first; at most 100.',
    }),
    open_questions_count: Type.Integer({ minimum: 0, description: 'The number of all open questions.' }),
    open_questions_url: Type.String({ description: 'The list of all open questions.' }),
    gate: Type.Object({
      ready: Type.Boolean({ description: 'Whether the run may be closed.' }),
      reasons: Type.Array(Ref(GateReason), {
        description: 'The first 100 reasons that block the close; empty if `ready`.',
      }),
      blocking_count: Type.Integer({
        minimum: 0,
        description: 'The number of agents that block the close, those without a signal included.',
      }),
    }),
    erased_at: Nullable(
      Type.Unsafe<string>({ ...Timestamp, description: 'When its texts were erased; null if they were not.' }),
    ),
    version: Version,
  },
  {
    $id: 'Run',
    description: 'The current state of a run.',
    examples: [
      {
        run_id: 'run-7',
        status: 'running',
        ticket: 'TCK-1',
        brief: { ticket: 'TCK-1', title: 'Move to Europe', done_criteria: null, agents: ['builder'] },
        agents: [],
        agents_count: 0,
        absent_count: 1,
        agents_url: '/control-threads?run_id=run-7',
        open_questions: [],
        open_questions_count: 0,
        open_questions_url: '/questions?state=open&run_id=run-7',
        gate: {
          ready: false,
          reasons: [{ code: 'AGENT_NOT_SEEN', agent_name: 'builder', detail: 'builder has sent no signal yet.' }],
          blocking_count: 1,
        },
        erased_at: null,
        version: 1,
      },
    ],
  },
);
export type Run = Static<typeof Run>;

export const RunSummary = Type.Object(
  {
    run_id: Name,
    status: Type.Enum([...runStatuses]),
    ticket: Nullable(Name),
    title: Nullable(Type.String()),
    agents_count: Type.Integer({ minimum: 0 }),
    open_questions_count: Type.Integer({ minimum: 0 }),
    ready: Type.Boolean(),
    updated_at: Timestamp,
    version: Version,
  },
  {
    $id: 'RunSummary',
    description: 'The short form of a run, for lists.',
    examples: [
      {
        run_id: 'run-7',
        status: 'awaiting_guidance',
        ticket: 'TCK-1',
        title: 'Move to Europe',
        agents_count: 2,
        open_questions_count: 1,
        ready: false,
        updated_at: '2026-11-22T09:30:00.000Z',
        version: 4,
      },
    ],
  },
);
export type RunSummary = Static<typeof RunSummary>;

export const RunSummaryPage = PageOf(RunSummary);

export const RunParams = Strict({ run_id: Name });
export const WaitingRunQuery = Strict(versionQuery);

export const RunQuery = Strict({
  status: Type.Optional(Type.Enum([...runStatuses])),
  ticket: Type.Optional(Name),
  ...pageQuery,
});
export type RunQuery = Static<typeof RunQuery>;

export const RunClosing = Strict(
  { actor: Type.Optional(Ref(Actor)) },
  { $id: 'RunClosing', examples: [{ actor: { type: 'operator', name: 'ana' } }] },
);

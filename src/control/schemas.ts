import { type Static, Type } from 'typebox';
import { Actor } from '../actor.ts';
import {
  Id,
  LENGTHS,
  Name,
  Nullable,
  PageOf,
  pageQuery,
  Ref,
  Sequence,
  Strict,
  Text,
  Timestamp,
  Version,
} from '../http/schemas.ts';

export const controlStatuses = ['awaiting_guidance', 'validated', 'validation_failed', 'completed', 'working'] as const;
export type ControlStatus = (typeof controlStatuses)[number];

export const Evidence = Strict(
  {
    kind: Type.String({ ...Name, description: 'Kind of evidence, such as `test_report` or `commit`.' }),
    ref: Type.String({ ...Text(LENGTHS.reference), description: 'Reference: a path, a URL or a hash.' }),
    note: Type.Optional(Text(LENGTHS.text)),
  },
  { $id: 'Evidence', examples: [{ kind: 'test_report', ref: 'reports/unit.xml' }] },
);

export type Evidence = Static<typeof Evidence>;

const stated = { signal_id: Id, sequence: Sequence, occurred_at: Timestamp, actor: Ref(Actor) };

export const Completion = Type.Object(
  { ...stated, summary: Nullable(Type.String()), evidence: Type.Array(Ref(Evidence)) },
  { $id: 'Completion', description: 'The latest completion of the current attempt.' },
);
export type Completion = Static<typeof Completion>;

export const Validation = Type.Object(
  {
    ...stated,
    status: Type.Enum(['passed', 'failed']),
    done_criteria: Type.String(),
    evidence: Type.Array(Ref(Evidence)),
  },
  { $id: 'Validation', description: 'The latest validation of the current attempt.' },
);
export type Validation = Static<typeof Validation>;

export const ControlState = Type.Object(
  {
    run_id: Name,
    agent_name: Name,
    thread_id: Id,
    attempt: Type.Integer({ minimum: 1 }),
    status: Type.Enum([...controlStatuses]),
    open_questions: Type.Array(Id, { description: 'Ids of open questions, oldest first.' }),
    completion: Nullable(Ref(Completion)),
    validation: Nullable(Ref(Validation)),
    version: Version,
  },
  {
    $id: 'ControlState',
    description: 'The state of an agent in its run.',
    examples: [
      {
        run_id: 'run-7',
        agent_name: 'builder',
        thread_id: 'fctrl-run-7-builder-e0a6c3f1b2d49587',
        attempt: 1,
        status: 'awaiting_guidance',
        open_questions: ['q_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a'],
        completion: null,
        validation: null,
        version: 1,
      },
    ],
  },
);
export type ControlState = Static<typeof ControlState>;

export const ControlStatePage = PageOf(ControlState);

export const ControlThreadParams = Strict({ run_id: Name, agent_name: Name });

export const ControlThreadQuery = Strict({
  run_id: Type.Optional(Name),
  status: Type.Optional(Type.Enum([...controlStatuses])),
  ...pageQuery,
});
export type ControlThreadQuery = Static<typeof ControlThreadQuery>;

export const NewAttempt = Strict(
  { actor: Type.Optional(Ref(Actor)) },
  { $id: 'NewAttempt', examples: [{ actor: { type: 'operator', name: 'ana' } }] },
);
export type NewAttempt = Static<typeof NewAttempt>;

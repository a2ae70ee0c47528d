import { type Static, Type } from 'typebox';
import { Actor } from '../actor.ts';
import {
  Erased,
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

export const controlStatuses = [
  'awaiting_guidance',
  'validated',
  'validation_failed',
  'completed',
  'working',
  'withdrawn',
] as const;
/** `absent`: named by the brief, and has sent no signal. */
export type ControlStatus = (typeof controlStatuses)[number] | 'absent';

export const Evidence = Strict(
  {
    kind: Type.String({ ...Name, description: 'Kind of evidence, such as `test_report` or `commit`.' }),
    ref: Type.String({ ...Text(LENGTHS.reference), description: 'Reference: a path, a URL or a hash.' }),
    note: Type.Optional(Text(LENGTHS.text)),
  },
  { $id: 'Evidence', examples: [{ kind: 'test_report', ref: 'reports/unit.xml' }] },
);

export type Evidence = Static<typeof Evidence>;

/** Stands beside a text of which only the first 500 characters are embedded. */
export const Truncated = Type.Optional(Type.Literal(true, { description: 'The text is longer; this is its head.' }));

export const EvidenceHead = Type.Object(
  { ...Evidence.properties, ref_truncated: Truncated, note_truncated: Truncated },
  {
    $id: 'EvidenceHead',
    description: 'A piece of evidence, its texts cut to 500 characters.',
    examples: [{ kind: 'test_report', ref: 'reports/unit.xml' }],
  },
);

const evidenceHeads = {
  evidence: Type.Array(Ref(EvidenceHead), { description: 'The first 10 pieces.' }),
  evidence_count: Type.Integer({ minimum: 0, description: 'The number of all pieces.' }),
};

const stated = { signal_id: Id, sequence: Sequence, occurred_at: Timestamp, actor: Ref(Actor) };

export const Completion = Type.Object(
  {
    ...stated,
    summary: Nullable(Type.String({ description: 'At most its first 500 characters.' })),
    summary_truncated: Truncated,
    ...evidenceHeads,
  },
  { $id: 'Completion', description: 'The head of the latest completion of the current attempt; its signal has all.' },
);
export type Completion = Static<typeof Completion>;

export const Validation = Type.Object(
  {
    ...stated,
    status: Type.Enum(['passed', 'failed']),
    done_criteria: Type.String({ description: 'At most their first 500 characters.' }),
    done_criteria_truncated: Truncated,
    ...evidenceHeads,
  },
  { $id: 'Validation', description: 'The head of the latest validation of the current attempt; its signal has all.' },
);
export type Validation = Static<typeof Validation>;

export const ControlState = Type.Object(
  {
    run_id: Name,
    agent_name: Name,
    thread_id: Id,
    attempt: Type.Integer({ minimum: 1 }),
    status: Type.Enum([...controlStatuses, 'absent'], {
      description: '`absent`, only in a run: the brief names the agent, and it has sent no signal.',
    }),
    open_questions: Type.Array(Id, { description: 'Ids of open questions, oldest first; at most 100.' }),
    open_questions_count: Type.Integer({ minimum: 0, description: 'The number of all open questions.' }),
    open_questions_url: Type.String({ description: 'The list of all open questions.' }),
    completion: Nullable(Ref(Completion)),
    validation: Nullable(Ref(Validation)),
    last_seen_at: Nullable({
      ...Timestamp,
      description: 'The latest act or wait of the agent, about 30 seconds exact. It changes without the version.',
    }),
    version: Type.Integer({ ...Version, minimum: 0, description: 'Rises with every change; 0 for an absent agent.' }),
    erased: Erased,
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
        open_questions_count: 1,
        open_questions_url: '/questions?state=open&run_id=run-7&agent_name=builder',
        completion: null,
        validation: null,
        last_seen_at: '2026-11-22T09:30:00.000Z',
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

export const Withdrawal = Strict(
  { actor: Type.Optional(Ref(Actor)) },
  { $id: 'Withdrawal', examples: [{ actor: { type: 'operator', name: 'ana' } }] },
);

import { type Static, Type } from 'typebox';
import { Nullable, Timestamp } from '../http/schemas.ts';

const count = Type.Integer({ minimum: 0 });
const counts = (description: string) =>
  Type.Unsafe<Record<string, number>>({ type: 'object', additionalProperties: count, description });

export const Stats = Type.Object(
  {
    threads: Type.Object({
      total: count,
      by_state: counts('Threads per state; states without threads are left out.'),
      by_priority: counts('Threads per priority; priorities without threads are left out.'),
      by_ticket: Type.Array(Type.Object({ ticket: Type.String(), count }), {
        description: 'The 50 tickets with the most threads.',
      }),
      by_run: Type.Array(Type.Object({ run_id: Type.String(), count }), {
        description: 'The 50 runs with the most threads.',
      }),
    }),
    open_questions: Type.Object({
      count,
      oldest_asked_at: Nullable(Timestamp),
      oldest_age_seconds: Nullable(Type.Number()),
    }),
    signals: Type.Object({
      total: count,
      by_type: counts('All control signals ever stored, per `control_type`.'),
    }),
  },
  {
    $id: 'Stats',
    description: 'The numbers of threads, open questions and signals.',
    examples: [
      {
        threads: {
          total: 3,
          by_state: { waiting_operator: 1, answered: 2 },
          by_priority: { normal: 3 },
          by_ticket: [{ ticket: 'TCK-1', count: 2 }],
          by_run: [{ run_id: 'run-7', count: 3 }],
        },
        open_questions: { count: 1, oldest_asked_at: '2026-11-22T09:30:00.000Z', oldest_age_seconds: 12.5 },
        signals: { total: 5, by_type: { guidance_request: 2, guidance_answer: 1, completion: 2 } },
      },
    ],
  },
);
export type Stats = Static<typeof Stats>;

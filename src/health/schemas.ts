import { type Static, Type } from 'typebox';
import { Nullable, Timestamp } from '../http/schemas.ts';

const HealthReason = Type.Object({
  code: Type.Enum(
    [
      'DRAINING',
      'DATABASE_UNREACHABLE',
      'DATABASE_NOT_WRITABLE',
      'MIGRATIONS_MISSING',
      'SCHEMA_NEWER',
      'WORKER_STOPPED',
      'WORKER_ERRORS',
      'BACKLOG',
      'DEAD_MESSAGES',
      'LANES_BLOCKED',
      'NO_HANDLER',
      'NOT_SERVED',
      'WEBHOOK_DISABLED',
    ],
    { description: 'Stable code for programs. The first five mean `down`, the others `degraded`.' },
  ),
  detail: Type.String({ description: 'The fault and the advice, for people.' }),
});
export type HealthReason = Static<typeof HealthReason>;

export const Health = Type.Object(
  {
    status: Type.Enum(['ok', 'degraded', 'down']),
    reasons: Type.Array(HealthReason, { description: 'Why the status is not `ok`; empty if it is.' }),
    access: Type.Enum(['open', 'tokens'], {
      description: '`open`: no token has ever been created, and every program on the machine may do everything.',
    }),
    database: Type.Enum(['ok', 'down']),
    worker: Type.Object({
      running: Type.Boolean(),
      last_tick_at: Nullable(Timestamp),
      last_processed_at: Nullable(Timestamp),
      processed_total: Type.Integer(),
      consecutive_errors: Type.Integer(),
      last_error: Nullable(Type.String({ description: 'Shown to callers with a token for all runs only.' })),
      stale_acks: Type.Integer({ description: 'Outcomes dropped because their lease was lost.' }),
    }),
    outbox: Type.Object({
      pending: Type.Integer(),
      processing: Type.Integer(),
      failed: Type.Integer(),
      dead: Type.Integer(),
      oldest_pending_at: Nullable(Timestamp),
      oldest_pending_age_seconds: Nullable(Type.Number()),
    }),
    topics_without_handler: Nullable(Type.Array(Type.String())),
  },
  {
    $id: 'Health',
    description:
      '`down` (503): the service cannot serve. `degraded` (200): it serves but needs attention. The database is checked at most once a second. While it cannot be read, `outbox` and `topics_without_handler` keep their last values. Names of topics and subscriptions and texts of errors are shown only with a token for all runs, or by a service without tokens: otherwise `topics_without_handler` and `last_error` are null.',
    examples: [
      {
        status: 'degraded',
        reasons: [
          {
            code: 'NO_HANDLER',
            detail:
              'Topics with messages but no handler: forum.integration.chat. Add their handlers to HANDLERS_DIR and restart, or discard the messages.',
          },
        ],
        access: 'tokens',
        database: 'ok',
        worker: {
          running: true,
          last_tick_at: '2026-11-22T09:30:00.000Z',
          last_processed_at: null,
          processed_total: 0,
          consecutive_errors: 0,
          last_error: null,
          stale_acks: 0,
        },
        outbox: {
          pending: 0,
          processing: 0,
          failed: 1,
          dead: 0,
          oldest_pending_at: null,
          oldest_pending_age_seconds: null,
        },
        topics_without_handler: ['forum.integration.chat'],
      },
    ],
  },
);
export type Health = Static<typeof Health>;

export const Version = Type.Object(
  { version: Type.String(), node: Type.String({ description: 'The version of Node.js that runs the service.' }) },
  { $id: 'Version', examples: [{ version: '0.2.0', node: '24.11.1' }] },
);

export const Probe = Type.Object({ status: Type.Literal('ok') }, { $id: 'Probe', examples: [{ status: 'ok' }] });

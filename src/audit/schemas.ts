import { type Static, Type } from 'typebox';
import { Actor } from '../actor.ts';
import { Id, Instant, Name, Nullable, PageOf, pageQuery, Ref, Strict, Timestamp } from '../http/schemas.ts';

export const AuditEntry = Type.Object(
  {
    number: Type.Integer({ minimum: 1, description: 'Rises in the order of the entries.' }),
    at: Timestamp,
    operation: Type.String({
      description:
        'The operation id of this document; `POST /a/:token` for an answer link, `GET /page/login/oidc/callback` for single sign-on.',
    }),
    status: Type.Integer({ description: 'The status of the answer.' }),
    code: Nullable(Type.String({ description: 'Why the request was refused; null if it was not.' })),
    count: Type.Integer({
      minimum: 1,
      description: 'The number of equal requests, if refused ones were put together.',
    }),
    token_id: Nullable({ ...Id, description: 'Null without a token.' }),
    actor: Nullable(Ref(Actor)),
    address: Type.String({ description: 'The address that the request came from.' }),
    request_id: Nullable({
      ...Type.String(),
      description: 'The id in the X-Request-Id header and in the logs; null for several requests.',
    }),
    run_id: Nullable(Name),
    resources: Type.Record(Type.String(), Type.String(), {
      description:
        'The ids of what the request was about, such as `question_id`, `thread_id`, `agent_name` or `webhook`.',
    }),
  },
  {
    $id: 'AuditEntry',
    description: 'A request that has changed something, or that was refused to a token.',
    examples: [
      {
        number: 7,
        at: '2026-11-22T09:31:00.000Z',
        operation: 'answerQuestion',
        status: 200,
        code: null,
        count: 1,
        token_id: '5f0c1d2e3b4a5968',
        actor: { type: 'operator', name: 'ana' },
        address: '192.0.2.7',
        request_id: '019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a',
        run_id: 'run-7',
        resources: { question_id: 'q_019a3f6e2b7c7d0f8a4c1f2e3d4c5b6a', agent_name: 'builder' },
      },
    ],
  },
);
export type AuditEntry = Static<typeof AuditEntry>;

export const AuditPage = PageOf(AuditEntry);

export const AuditQuery = Strict({
  token_id: Type.Optional(Id),
  run_id: Type.Optional(Name),
  operation: Type.Optional(Type.String({ maxLength: 100, description: 'An operation id.' })),
  since: Type.Optional(
    Type.Unsafe<string>({
      ...Instant,
      maxLength: 40,
      description: 'Only entries from this time on.',
    }),
  ),
  ...pageQuery,
});
export type AuditQuery = Static<typeof AuditQuery>;

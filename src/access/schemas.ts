import { type Static, Type } from 'typebox';
import { Actor } from '../actor.ts';
import { Id, Name, Nullable, PageOf, pageQuery, Ref, Strict, Timestamp } from '../http/schemas.ts';
import { roles } from './permissions.ts';

const Pattern = Type.String({
  ...Name,
  description: 'A name, or a pattern in which `*` stands for zero or more characters; `\\*` is an asterisk.',
});

const shared = {
  role: Type.Enum([...roles], { description: 'Decides which operations the token allows.' }),
  actor: Nullable(Ref(Actor)),
  runs: Nullable(Pattern),
  agents: Nullable(Pattern),
  validates: Nullable(Pattern),
};

const stored = {
  token_id: Id,
  ...shared,
  created_at: Timestamp,
  created_by: Type.String({
    description:
      'The id of the creating token, `command`, `file`, or `oidc:` and the subject at the provider for a login by single sign-on.',
  }),
  expires_at: Nullable(Timestamp),
  revoked_at: Nullable(Timestamp),
  last_used_at: Nullable({ ...Timestamp, description: 'The latest use, stored about once a minute.' }),
  rotated_at: Nullable({ ...Timestamp, description: 'When it got its present secret, if that is not its first.' }),
  overlap_ends_at: Nullable({ ...Timestamp, description: 'Until when a former secret is valid; null if none is.' }),
};

const example = {
  token_id: '5f0c1d2e3b4a5968',
  role: 'agent',
  actor: null,
  runs: 'run-7',
  agents: 'builder',
  validates: null,
  created_at: '2026-11-23T08:00:00.000Z',
  created_by: 'command',
  expires_at: '2026-12-23T08:00:00.000Z',
  revoked_at: null,
  last_used_at: '2026-11-23T08:05:00.000Z',
  rotated_at: null,
  overlap_ends_at: null,
};

export const Token = Type.Object(stored, {
  $id: 'Token',
  description:
    'A token without its secret. The role `agent` has runs and agents, every other role has an actor. A viewer or operator with runs sees these alone.',
  examples: [example],
});
export type Token = Static<typeof Token>;

export const IssuedToken = Type.Object(
  {
    ...stored,
    token: Type.String({ description: 'The token with its secret, which is stored nowhere and shown only here.' }),
  },
  {
    $id: 'IssuedToken',
    examples: [{ ...example, token: `fbt_${example.token_id}_${'0123456789abcdef'.repeat(4)}` }],
  },
);
export type IssuedToken = Static<typeof IssuedToken>;

export const NewToken = Strict(
  {
    role: shared.role,
    actor: Type.Optional({
      ...Ref(Actor),
      description: 'The actor of its writes; required for every role but `agent`.',
    }),
    runs: Type.Optional({
      ...Pattern,
      description:
        'The run, or a pattern of runs; required for the role `agent`. A viewer or operator with it sees these runs alone, and `*` may stand at its end only.',
    }),
    agents: Type.Optional({
      ...Pattern,
      description: 'The agent, or a pattern of agents; required for the role `agent`.',
    }),
    validates: Type.Optional({
      ...Pattern,
      description:
        'Further agents, or a pattern of them, whose work the agent may validate; for the role `agent` only.',
    }),
    expires_in_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 315_360_000 })),
  },
  { $id: 'NewToken', examples: [{ role: 'agent', runs: 'run-7', agents: 'builder', expires_in_seconds: 2_592_000 }] },
);
export type NewToken = Static<typeof NewToken>;

export const TokenRotation = Strict(
  {
    overlap_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 2_592_000,
        description: 'How long the former secrets stay valid; an hour if left out.',
      }),
    ),
  },
  { $id: 'TokenRotation', examples: [{ overlap_seconds: 86_400 }] },
);
export type TokenRotation = Static<typeof TokenRotation>;

export const Me = Type.Object(
  {
    access: Type.Enum(['open', 'token'], {
      description: '`open`: the service has no tokens, so anybody may do everything.',
    }),
    role: shared.role,
    token_id: Nullable(Id),
    name: Nullable({ ...Name, description: 'The actor, or the one agent, of the token.' }),
    actor: shared.actor,
    runs: shared.runs,
    run_id: Nullable({ ...Name, description: 'The run, if `runs` names one only.' }),
    agents: shared.agents,
  },
  {
    $id: 'Me',
    description: 'The caller of a request, as the service sees it.',
    examples: [
      {
        access: 'token',
        role: 'agent',
        token_id: example.token_id,
        name: 'builder',
        actor: null,
        runs: 'run-7',
        run_id: 'run-7',
        agents: 'builder',
      },
    ],
  },
);
export type Me = Static<typeof Me>;

export const TokenPage = PageOf(Token);

export const TokenParams = Strict({ token_id: Id });

export const TokenQuery = Strict(pageQuery);
export type TokenQuery = Static<typeof TokenQuery>;

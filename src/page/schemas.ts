import { type Static, Type } from 'typebox';
import { Nullable, Strict, Timestamp } from '../http/schemas.ts';

export const LoginLink = Type.Object(
  {
    path: Type.String({
      description: 'Follows the address of the service. Its fragment has the code, which no server log shows.',
    }),
    expires_at: Timestamp,
  },
  {
    $id: 'LoginLink',
    description: 'A link that logs a browser in, once and within a minute.',
    examples: [{ path: '/#login=0Yc3…', expires_at: '2026-11-22T09:31:00.000Z' }],
  },
);
export type LoginLink = Static<typeof LoginLink>;

export const Login = Strict(
  { code: Type.String({ minLength: 1, maxLength: 200, description: 'The code of a login link.' }) },
  { $id: 'Login', examples: [{ code: '0Yc3…' }] },
);

export const LoggedOut = Type.Object(
  {
    logged_out: Type.Literal(true),
    next: Nullable(
      Type.String({
        description: 'Where a person who had logged in by single sign-on can log out at the provider, too.',
      }),
    ),
  },
  { $id: 'LoggedOut', examples: [{ logged_out: true, next: null }] },
);

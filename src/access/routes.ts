import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { Refusal } from '../errors.ts';
import { IdempotentHeaders, type IdempotentWrites } from '../http/idempotent-writes.ts';
import { badHeader, bodyProblems, problemResponses, writeProblems } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { callOf } from '../invocation.ts';
import type { Caller } from './caller.ts';
import { IssuedToken, Me, NewToken, Token, TokenPage, TokenParams, TokenQuery, TokenRotation } from './schemas.ts';
import type { Access, TokenAdmin } from './service.ts';

interface Dependencies {
  access: Access;
  writes: IdempotentWrites;
}

export function tokenRoutes({ access, writes }: Dependencies): FastifyPluginAsyncTypebox {
  const { write } = writes;
  const tags = ['tokens'];
  return async app => {
    app.post(
      '/tokens',
      {
        schema: {
          operationId: 'createToken',
          summary: 'Create a token; takes no idempotency key, since its secret is stored nowhere',
          description:
            'The answer shows the token, which is stored nowhere. The first token of a service is made by its command line.',
          tags,
          body: Ref(NewToken),
          response: { 201: Ref(IssuedToken), ...bodyProblems() },
        },
      },
      async (request, reply) => {
        assertNoKey(request.headers);
        if (!request.caller.grant) throw firstByCommand();
        reply.header('cache-control', 'no-store');
        return write(request, reply, async tx => ({
          status: 201,
          body: await access.issue(tx, request.body, adminOf(request.caller)),
        }));
      },
    );

    app.get(
      '/me',
      {
        schema: {
          operationId: 'getMe',
          summary: 'Read what the token of the request stands for',
          tags,
          response: { 200: Ref(Me), ...problemResponses() },
        },
      },
      async ({ caller }) => caller.me,
    );

    app.get(
      '/tokens',
      {
        schema: {
          operationId: 'listTokens',
          summary: 'List tokens without their secrets, oldest first',
          tags,
          querystring: TokenQuery,
          response: { 200: Ref(TokenPage), ...problemResponses('INVALID_CURSOR') },
        },
      },
      request => access.list(request.query),
    );

    app.post(
      '/tokens/:token_id/rotate',
      {
        schema: {
          operationId: 'rotateToken',
          summary: 'Give a token another secret; takes no idempotency key, since it is stored nowhere',
          tags,
          params: TokenParams,
          body: Ref(TokenRotation),
          response: { 200: Ref(IssuedToken), ...bodyProblems('TOKEN_NOT_FOUND', 'TOKEN_ENDED') },
        },
      },
      async (request, reply) => {
        assertNoKey(request.headers);
        reply.header('cache-control', 'no-store');
        const { params, body, caller } = request;
        return write(request, reply, async tx => ({
          status: 200,
          body: await access.rotate(tx, params.token_id, body, adminOf(caller)),
        }));
      },
    );

    app.post(
      '/tokens/:token_id/revoke',
      {
        schema: {
          operationId: 'revokeToken',
          summary: 'Revoke a token; every process refuses it from the next request on',
          tags,
          params: TokenParams,
          headers: IdempotentHeaders,
          response: { 200: Ref(Token), ...writeProblems('TOKEN_NOT_FOUND') },
        },
      },
      (request, reply) =>
        write(request, reply, async tx => ({
          status: 200,
          body: await access.revoke(tx, request.params.token_id, adminOf(request.caller)),
        })),
    );
  };
}

/** @throws Refusal VALIDATION_FAILED */
function assertNoKey(headers: Record<string, unknown>): void {
  if (headers['idempotency-key'] === undefined) return;
  throw badHeader('idempotency-key', 'is not accepted here: the answer holds a secret that is stored nowhere');
}

function adminOf(caller: Caller): TokenAdmin {
  return { id: caller.id, actor: caller.actor(undefined) ?? { type: 'operator', name: 'operator' } };
}

/** On an open service, any program on the machine could otherwise make itself the only admin. */
function firstByCommand(): Refusal {
  return new Refusal(
    'FORBIDDEN',
    `The first token is made by the command \`${callOf('token', 'create --role admin --actor operator:<your name>')}\`.`,
  );
}

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { problemResponses } from '../http/problems.ts';
import { Ref } from '../http/schemas.ts';
import { AuditPage, AuditQuery } from './schemas.ts';
import type { Audit } from './service.ts';

interface Dependencies {
  audit: Audit;
}

export function auditRoutes({ audit }: Dependencies): FastifyPluginAsyncTypebox {
  return async app => {
    app.get(
      '/audit',
      {
        schema: {
          operationId: 'listAudit',
          summary: 'List who did what through which token, newest first',
          tags: ['tokens'],
          querystring: AuditQuery,
          response: { 200: Ref(AuditPage), ...problemResponses('INVALID_CURSOR') },
        },
      },
      request => audit.list(request.query),
    );
  };
}

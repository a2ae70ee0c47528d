import { isUtf8 } from 'node:buffer';
import type { FastifyInstance } from 'fastify';
import { Refusal } from '../errors.ts';

/** Bodies are JSON in UTF-8 and nothing else; a byte that is not would be stored as something the caller did not send. */
export function useJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    if (isUtf8(body)) parse(request, body.toString('utf8'), done);
    else done(new Refusal('MALFORMED_JSON', 'The body is not UTF-8.'), undefined);
  });
}

import { isUtf8 } from 'node:buffer';
import type { FastifyInstance } from 'fastify';
import { Refusal } from '../errors.ts';

/** Accepts only JSON bodies in UTF-8: decoding any other byte would store text that the caller did not send. */
export function useJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    if (isUtf8(body)) parse(request, body.toString('utf8'), done);
    else done(new Refusal('MALFORMED_JSON', 'The body is not UTF-8.'), undefined);
  });
}
